//! The turn of one VM.
//!
//! ```text
//! look ──> guard ──> before ──> call ──> settle ──> after ──> outcome
//!   │         │                  │
//!   │         └ a disk that is   ├ pause, cancel: Steer; after a cancel the stream's end
//!   │           guarded or cut   └ connection lost: fetch the run, or attach to it with a higher fence
//!   │           has its verdict
//!   └ a VM that cannot be looked at ends here with a Trouble
//! ```
//!
//! [`turn`] speaks to guest, hypervisor and files through [`ports`] alone; `cli/trim` and campaigns call it. It holds no
//! state beyond the turn; what outlives one is its caller's ([`resume`]).

mod books;
pub mod call;
pub mod choose;
pub mod diagnosis;
pub mod event;
mod extent;
mod harm;
pub mod look;
pub mod many;
pub mod mended;
pub mod neighbours;
pub mod options;
pub mod outcome;
pub mod ports;
pub mod probe;
mod readings;
pub mod resume;
pub mod settle;
pub mod turn;
pub mod wish;

#[cfg(test)]
pub(crate) mod fakes;
