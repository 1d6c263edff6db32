//! What needs a real libvirtd, one of the tests' own, with real guests in it. Runs as root.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "helpers of tests, which clippy takes for code of a program; an overflow fails the test, and a failed one shows \
              what was printed"
)]

mod campaign;
mod doctor;
mod domain;
mod domains;
mod healthy;
mod rig;
