//! What needs no guest, no loop device and no root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "helpers of tests, which clippy takes for code of a program"
)]

mod campaign;
#[path = "../common/mod.rs"]
mod common;
mod fake_agent;
mod hostile;
mod memory;
mod program;
mod store;
