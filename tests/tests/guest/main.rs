//! What needs a real Linux in a real QEMU.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "helpers of tests, which clippy takes for code of a program; an overflow fails the test"
)]

mod accused;
#[path = "../common/mod.rs"]
mod common;
mod ends;
mod frozen;
mod images;
mod inside;
mod matrix;
mod mounts;
mod pause;
mod probe;
mod rig;
mod token;
mod volumes;
