//! Campaigns over several hosts: real workers, a real PostgreSQL.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "helpers of tests, which clippy takes for code of a program; an overflow fails the test, and a failed one shows \
              what was printed"
)]

mod guests;
mod simulated;
