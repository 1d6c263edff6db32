//! Builders for the suites, the demo and the benchmark: a real guest in QEMU or in a libvirt of its own, its disks, a loop disk;
//! and agents without a guest, an honest one by script and hostile ones.
//!
//! A test reads like what it does: `Guest::boot`, `add_disk`, `sh`, `allocated_bytes`. How the rig works, and how to
//! boot a guest by hand, is in `docs/development/testing.md`.

pub mod bench;
pub mod campaigns;
pub mod demo;
pub mod disguise;
pub mod fake_agent;
pub mod faketime;
pub mod guest;
pub mod hold;
pub mod hostile;
pub mod hybrid;
pub mod keeper;
pub mod libvirt;
pub mod loop_disk;
pub mod netns;
pub mod postgres;
pub mod programs;
pub mod sim;
pub mod trimtab;
pub mod walk;
pub mod way;

/// A mebibyte, in bytes.
pub const MIB: u64 = 1024 * 1024;

/// A gibibyte, in bytes.
pub const GIB: u64 = 1024 * MIB;
