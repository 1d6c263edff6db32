//! What the process itself takes; of a simulation that is worker, store client, and the simulated guests beside them.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike as _},
};

/// What it has used of a CPU. See getrusage(2).
///
/// # Errors
/// The kernel does not say.
pub fn cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = |time: TimeVal| time.num_microseconds();
    let used = micros(usage.user_time()).saturating_add(micros(usage.system_time()));
    Ok(Duration::from_micros(u64::try_from(used)?))
}

/// The most that was resident, in KiB: VmHWM, see proc_pid_status(5).
///
/// # Errors
/// The kernel does not say.
pub fn peak_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
