//! Real trims without a guest: filesystems on loop devices over sparse files, where a discard punches a hole and the
//! file shrinks. Needs root. One test at a time: loop devices are few, and timings matter.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod by_hand;
mod calls;
mod client;
mod ends;
mod handed;
mod old_kernel;
mod probe;
mod rig;
mod token;
mod trouble;
