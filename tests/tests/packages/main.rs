//! What the packages install, in a real Debian with systemd as PID 1. Needs root, to make its image, and the packages.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "helpers of tests, which clippy takes for code of a program; an overflow fails the test"
)]

mod boot;
#[path = "../common/mod.rs"]
mod common;
mod config;
mod contact;
mod debian;
mod host;
mod host_package;
mod install;
mod mounts;
mod no_vsock;
mod packages;
mod rpm;
mod security;
mod texts;
mod timer;
mod token;
mod upgrade;
mod worker;
