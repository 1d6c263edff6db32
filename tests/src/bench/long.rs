//! What the agent takes of a long run: of a processor while it leaves the disk alone and while it is paused, and of memory
//! with few ranges and with many.
//!
//! On ext4 in block groups of 128 MiB: at `steady` and `gentle` a range is one group of these filesystems, so that their size
//! says how many ranges there are.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::runtime::Runtime;
use trimtab_controller::guest::AgentClient;
use trimtab_controller::model::run::SteerOrder;
use trimtab_controller::trim::ports::Guest as _;
use trimtab_proto::words::{Action, Pace, StopReason, Wire};

use super::memory::{Memory, Process};
use super::{MOUNT, cpu, ours};
use crate::MIB;
use crate::guest::{Disk, DiskSpec, Guest};

/// A block group of ext4 with blocks of 4 KiB.
const GROUP_BYTES: u64 = 128 * MIB;

/// Ranges of a short run, and of a long one.
const FEW: u64 = 10;
const MANY: u64 = 10_000;

/// How long a processor's time is counted.
const COUNTED: Duration = Duration::from_secs(10);

/// mke2fs of a terabyte in software emulation.
const MAKE_LIMIT: Duration = Duration::from_secs(600);

/// Shares of one processor, in percent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Shares {
    /// The agent's.
    pub(super) agent: f64,
    /// Its process's that is in FITRIM.
    pub(super) worker: f64,
}

/// The most KiB that were resident in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peaks {
    /// Of how many ranges.
    pub(super) ranges: u64,
    pub(super) agent_kib: u64,
    pub(super) worker_kib: u64,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Long {
    /// At `gentle`, ranges and rests alike.
    pub(super) gentle: Shares,
    /// Paused by Steer.
    pub(super) paused: Shares,
    pub(super) few: Peaks,
    pub(super) many: Peaks,
}

/// Measures it, on disks of its own.
pub(super) fn measure(guest: &Guest) -> Result<Long> {
    let runtime = ours::runtime()?;
    let agent = ours::start(guest)?;
    let slow = mount(guest, DiskSpec::new("few", bytes(FEW)).throttled())?;
    // Ten ranges would be over before their worker was looked at.
    guest.limit_writes(&slow, 4)?;
    let few = peaks(guest, &runtime, &agent, 1, FEW)?;
    guest.limit_writes(&slow, 0)?;
    mount(guest, DiskSpec::new("many", bytes(MANY)))?;
    let (gentle, paused) = shares(guest, &runtime, &agent)?;
    let many = peaks(guest, &runtime, &agent, 3, MANY)?;
    guest.stop_agent()?;
    Ok(Long { gentle, paused, few, many })
}

/// In the place of what was mounted.
fn mount(guest: &Guest, disk: DiskSpec) -> Result<Disk> {
    let disk = guest.add_disk(disk)?;
    let device = &disk.device;
    guest.sh_within(
        &format!(
            "umount {MOUNT}
             mke2fs -q -F -t ext4 -O ^has_journal -N 4096 -E lazy_itable_init=0,nodiscard {device}
             mount {device} {MOUNT}"
        ),
        MAKE_LIMIT,
    )?;
    Ok(disk)
}

/// Of so many ranges.
fn bytes(groups: u64) -> u64 {
    groups.saturating_mul(GROUP_BYTES)
}

fn peaks(guest: &Guest, runtime: &Runtime, agent: &AgentClient, number: u32, ranges: u64) -> Result<Peaks> {
    let process = Process { guest, pid_file: ours::PID_FILE };
    let order = ours::order(runtime, agent, Pace::Steady, number)?;
    let (agent_kib, worker_kib) = process.peak_while(|| {
        let (agent, mut worker_kib) = (agent.clone(), 0);
        let run = runtime.spawn(async move { ours::trim(&agent, &order).await });
        while !run.is_finished() {
            worker_kib = ours::worker_memory(guest)?.map_or(worker_kib, |memory: Memory| memory.peak);
        }
        let report = runtime.block_on(run)??;
        let is_done = report.stop == Some(Wire::Known(StopReason::Done));
        ensure!(is_done && worker_kib > 0, "{ranges} ranges: not done, or no worker was seen: {report:?}");
        Ok(worker_kib)
    })?;
    Ok(Peaks { ranges, agent_kib, worker_kib })
}

/// At `gentle`, then paused.
fn shares(guest: &Guest, runtime: &Runtime, agent: &AgentClient) -> Result<(Shares, Shares)> {
    let order = ours::order(runtime, agent, Pace::Gentle, 2)?;
    let steer = |action| SteerOrder { run_id: order.run_id.clone(), fence: order.fence, action };
    let run = runtime.spawn({
        let (agent, order) = (agent.clone(), order.clone());
        async move { ours::trim(&agent, &order).await }
    });
    let worker = loop {
        match ours::worker(guest)? {
            Some(pid) => break pid,
            None if run.is_finished() => bail!("the run was over before its worker was seen"),
            None => {}
        }
    };
    let gentle = counted(guest, &worker)?;
    runtime.block_on(agent.steer(&steer(Action::Pause)))?;
    // The call that is under way comes to its end.
    sleep(Duration::from_secs(1));
    let paused = counted(guest, &worker)?;
    runtime.block_on(agent.steer(&steer(Action::Cancel)))?;
    runtime.block_on(run)??;
    Ok((gentle, paused))
}

/// What both take for a while.
fn counted(guest: &Guest, worker: &str) -> Result<Shares> {
    let agent = format!("$(cat {})", ours::PID_FILE);
    let read = || -> Result<(f64, Duration, Duration)> {
        let files = format!("cat /proc/uptime /proc/{agent}/stat /proc/{worker}/stat");
        let text = guest.sh(&files)?;
        let lines: Vec<&str> = text.lines().collect();
        let [uptime, agent, worker] = lines.as_slice() else { bail!("not three lines: {text}") };
        let uptime = uptime.split(' ').next().context("no uptime")?.parse()?;
        Ok((uptime, cpu::of_process(agent)?, cpu::of_process(worker)?))
    };
    let (begin, agent_before, worker_before) = read()?;
    sleep(COUNTED);
    let (end, agent, worker) = read()?;
    let share =
        |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() * 100.0 / (end - begin);
    Ok(Shares { agent: share(agent, agent_before), worker: share(worker, worker_before) })
}
