//! The agent of a guest: reads what its disks can discard, runs FITRIM on each mounted filesystem, and says what it
//! did, to the host over vsock or to a person in the guest.

pub mod cli;
pub mod config;
pub mod kernel;
pub mod kernels;
pub mod listen;
pub mod lock;
pub mod log;
pub mod model;
pub mod notify;
pub mod pace;
pub mod privilege;
pub mod probe;
pub mod ranges;
pub mod runs;
pub mod schedule;
pub mod select;
pub mod service;
pub mod surveyor;
pub mod sys;
pub mod text;
pub mod token;
pub mod trim;
pub mod wire;
pub mod worker;
