//! The controller on a virtualization host: follows what a guest trimmed down to its image, and says what came back.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

mod blocking;
pub mod campaign;
pub mod cli;
pub mod config;
pub mod guest;
pub mod host;
pub mod image;
pub mod inventory;
pub mod layers;
pub mod ledger;
pub mod libvirt;
pub mod model;
pub mod render;
mod same_file;
mod toml_text;
pub mod trim;
pub mod vmm;
