//! Campaigns over several hosts: real workers, a real PostgreSQL, and what breaks between them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "helpers of tests, which clippy takes for code of a program; an overflow fails the test, and a failed one shows \
              what was printed"
)]

mod cut_off;
mod database;
mod faults;
mod guests;
mod migrates;
mod pair;
mod rig;
mod screens;
mod shared;
mod simulated;
mod steps;
mod workers;
