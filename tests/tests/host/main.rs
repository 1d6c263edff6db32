//! What needs a real libvirtd, one of the tests' own, with real guests in it. Runs as root.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "helpers of tests, which clippy takes for code of a program; an overflow fails the test"
)]

mod doctor;
mod domain;
mod domains;
mod healthy;
mod rig;
