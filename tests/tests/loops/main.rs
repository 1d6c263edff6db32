//! What needs real filesystems of the host's own: loop devices over sparse files. Runs as root.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "helpers of tests, which clippy takes for code of a program; an overflow fails the test"
)]

mod clones;
#[path = "../common/mod.rs"]
mod common;
mod datastore;
mod pace;
mod rig;
mod storage;
mod store;
mod survey;
mod two_hosts;
mod worker;
