//! The controller's nouns: VMs, disks, images, and what a guest said of itself after it was checked. No I/O.
//!
//! All sizes are bytes; `None` is "not known", never 0.

pub mod baseline;
pub mod disk;
pub mod endpoint;
pub mod guest;
pub mod image;
pub mod probe;
pub mod run;
pub mod token;
pub mod trouble;
pub mod uri;
pub mod vm;
pub mod volume;
