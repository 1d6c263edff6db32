//! Every ioctl of the agent, and all of its `unsafe`. Each file owns one: its argument as the kernel's header has it,
//! and what each errno means. Nothing here decides anything.
#![allow(unsafe_code, reason = "these calls have no safe form; nothing outside this folder is unsafe")]

pub mod chunks;
pub mod fiemap;
pub mod fitrim;
pub mod fsmap;
pub mod geometry;
pub mod process;
