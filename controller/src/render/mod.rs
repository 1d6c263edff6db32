//! What a person or a program reads. Sees model, layers, ledger and outcomes only, and decides nothing.
//!
//! Text of a guest passes [`crate::guest::text::safe`] on its way to a terminal; in JSON it is data.

pub mod campaign;
pub mod doctor;
pub mod error;
pub mod events;
mod fix;
pub mod json;
pub mod ledger;
pub mod list;
pub mod mended;
pub mod progress;
mod rate;
pub mod size;
pub mod skips;
mod style;
pub mod survey;
mod wrap;

/// The width that every table and line fits, in columns.
pub const COLUMNS: usize = 100;
