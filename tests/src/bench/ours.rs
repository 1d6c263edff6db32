//! trimtab-agent: it listens on vsock, answers a survey, and trims the filesystem slowly, as the host asks it to.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use trimtab_controller::guest::{AgentClient, Limits};
use trimtab_controller::model::run::{RunEvent, RunReport, Target, TrimOrder};
use trimtab_controller::trim::ports::{Guest as _, RunStream};
use trimtab_proto::words::Pace;

use super::memory::{Memory, Process};
use super::{Figures, MOUNT, file_bytes};
use crate::guest::Guest;

/// Where the guest keeps its process id.
pub(super) const PID_FILE: &str = "/run/agent.pid";

/// Ten thousand ranges, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(3600);

/// By then the threads that asked the disks have ended.
const THREADS_END: Duration = Duration::from_secs(12);

pub(super) fn measure(guest: &Guest, program: &Path) -> Result<Figures> {
    let runtime = runtime()?;
    let agent = start(guest)?;
    let process = Process { guest, pid_file: PID_FILE };
    thread::sleep(Duration::from_secs(1));
    let idle = process.memory()?;
    let (survey_peak_kib, order) = process.peak_while(|| order(&runtime, &agent, Pace::Gentle, 0))?;
    let (run_peak_kib, worker) = process.peak_while(|| {
        let run = runtime.spawn(async move { trim(&agent, &order).await });
        let mut worker = None;
        while !run.is_finished() {
            worker = worker_memory(guest)?.or(worker);
        }
        runtime.block_on(run)??;
        Ok(worker)
    })?;
    thread::sleep(THREADS_END);
    let after = process.memory()?;
    guest.stop_agent()?;
    Ok(Figures {
        name: "trimtab-agent",
        version: guest
            .sh("trimtab-agent --version")?
            .trim()
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .to_owned(),
        disk_bytes: file_bytes(program)?,
        libraries_bytes: 0,
        idle,
        survey_peak_kib,
        // Noting the run's end comes after the caller has been told.
        run_peak_kib: run_peak_kib.max(after.peak),
        worker: Some(worker.context("no worker was seen: the run was over too soon")?),
        after,
    })
}

/// What the client runs on.
pub(super) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// Starts it. Not `start_agent`, which calls to see whether it answers: here nobody has called yet.
pub(super) fn start(guest: &Guest) -> Result<AgentClient> {
    guest.sh(&format!(
        "trimtab-agent serve </dev/null >/run/agent.log 2>&1 & echo $! >{PID_FILE}
         until grep -q '^listening on' /run/agent.log; do sleep 0.1; done"
    ))?;
    Ok(AgentClient::new(guest.agent_endpoint().parse()?, Limits::default()))
}

/// Surveys, for the order to trim what is mounted. The agent knows a run by its number, and does none twice.
pub(super) fn order(runtime: &Runtime, agent: &AgentClient, pace: Pace, number: u32) -> Result<TrimOrder> {
    let survey = runtime.block_on(agent.survey()).context("the survey failed")?;
    let filesystem = survey.filesystems.iter().find(|fs| fs.mount == MOUNT).context("it was not surveyed")?;
    Ok(TrimOrder {
        run_id: format!("00000000-0000-4000-8000-{number:012}"),
        fence: 1,
        boot_id: String::new(),
        targets: vec![Target { filesystem_id: filesystem.id.clone(), min_extent_bytes: 0 }],
        pace: Some(pace),
        deadline: DEADLINE,
        linger: Duration::from_secs(10),
        again: false,
        also_types: Vec::new(),
    })
}

/// To its end, whatever that is.
pub(super) async fn trim(agent: &AgentClient, order: &TrimOrder) -> Result<RunReport> {
    let mut run = agent.trim(order).await?;
    while let Some(event) = run.next().await {
        if let RunEvent::End(report) = event? {
            return Ok(report);
        }
    }
    anyhow::bail!("the run's stream broke off")
}

/// The process that is in FITRIM, if there is one now: its id. It is the agent's only child.
pub(super) fn worker(guest: &Guest) -> Result<Option<String>> {
    let pids = guest.sh(&format!("cat /proc/$(cat {PID_FILE})/task/*/children"))?;
    Ok(pids.split_whitespace().next().map(str::to_owned))
}

/// And its memory.
pub(super) fn worker_memory(guest: &Guest) -> Result<Option<Memory>> {
    let Some(pid) = worker(guest)? else { return Ok(None) };
    let status = guest.sh(&format!("dir=/proc/{pid}; {} 2>/dev/null || true", Memory::READ))?;
    // One that is just ending has no memory any more.
    Ok(Memory::parse(&status).ok())
}
