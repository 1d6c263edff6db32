//! How large the agent is: on disk, and in the memory of a real guest while it waits, surveys and trims. qemu-ga of
//! Debian does the same work beside it, in the same guest.
//!
//! Peaks are the kernel's own (`VmHWM`, set back before each step), so nothing is missed between two samples.

mod cpu;
mod discards;
mod figures;
pub mod fleet;
pub mod guest;
mod long;
mod memory;
mod ours;
pub mod own;
pub mod pace;
mod qemu_ga;
mod report;
mod room;
pub mod store;
mod writer;

use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::guest::qemu_ga::Package;
use crate::guest::{Disk, DiskSpec, Guest, GuestSpec};
use crate::{GIB, programs};
use memory::Memory;
use report::Report;

/// Where the filesystem is mounted that both work on.
const MOUNT: &str = "/mnt";

/// What one agent takes.
#[derive(Clone, Debug)]
struct Figures {
    name: &'static str,
    version: String,
    /// Bytes of the program.
    disk_bytes: u64,
    /// Bytes of the shared libraries that it loads; most systems have them anyway.
    libraries_bytes: u64,
    /// Started, and nobody has called yet.
    idle: Memory,
    /// KiB at the most while it says what there is.
    survey_peak_kib: u64,
    /// KiB at the most while it trims.
    run_peak_kib: u64,
    /// Its process that is in FITRIM, where it has one.
    worker: Option<Memory>,
    /// Again idle, after both.
    after: Memory,
}

/// Measures, prints the table, and writes the same as JSON to `json`.
///
/// # Errors
/// A program or a package is missing, or the guest does not do what it should.
pub fn run(json: Option<&Path>) -> Result<ExitCode> {
    let agent = programs::shipped_agent()?;
    let package = Package::unpack()?;
    say("booting a guest")?;
    let mut spec = GuestSpec::new("bench").without_agent().disk(DiskSpec::new("data", 64 * GIB));
    spec = spec.file(&agent, "/usr/bin/trimtab-agent");
    for (host, guest) in &package.files {
        spec = spec.file(host, guest);
    }
    let guest = Guest::boot(spec)?;
    let disk = guest.disk("data")?;
    // Large, with next to nothing on it: a trim of it lasts, and making it does not.
    guest.sh(&format!(
        "mke2fs -q -F -t ext4 -O ^has_journal -N 4096 -E lazy_itable_init=0,nodiscard {}",
        disk.device
    ))?;
    say("measuring trimtab-agent")?;
    mount(&guest, &disk)?;
    let ours = ours::measure(&guest, &agent)?;
    say("measuring qemu-ga")?;
    mount(&guest, &disk)?;
    let theirs = qemu_ga::measure(&guest, &package)?;

    say("measuring trimtab-agent in a run of 10,000 ranges (minutes)")?;
    let long = long::measure(&guest)?;

    let report = Report { machine: report::machine(&guest)?, agents: [ours, theirs], long };
    stdout().write_all(report.markdown().as_bytes())?;
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report.json())?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if report.within_budget() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Mounts it anew: ext4 then remembers no trim, so that each agent has the same to do.
fn mount(guest: &Guest, disk: &Disk) -> Result<()> {
    guest.sh(&format!("umount {MOUNT} 2>/dev/null || true; mount {} {MOUNT}", disk.device))?;
    Ok(())
}

fn file_bytes(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?.len())
}

/// To stderr: stdout is for the table.
fn say(what: &str) -> Result<()> {
    Ok(writeln!(stderr(), "bench: {what}")?)
}
