//! trimtab-agent: it listens on vsock, answers a survey, and trims the filesystem slowly, as the host asks it to.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use trimtab_controller::guest::{AgentClient, Limits};
use trimtab_controller::model::run::{RunEvent, Target, TrimOrder};
use trimtab_controller::trim::ports::{Guest as _, RunStream};
use trimtab_proto::words::Pace;

use super::memory::{Memory, Process};
use super::{Figures, MOUNT, file_bytes};
use crate::guest::Guest;

/// By then the threads that asked the disks have ended.
const THREADS_END: Duration = Duration::from_secs(12);

pub(super) fn measure(guest: &Guest, program: &Path) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let agent = AgentClient::new(guest.agent_endpoint().parse()?, Limits::default());
    // Not `start_agent`, which calls to see whether it answers: here nobody has called yet.
    guest.sh("trimtab-agent serve </dev/null >/run/agent.log 2>&1 & echo $! >/run/agent.pid
         until grep -q '^listening on' /run/agent.log; do sleep 0.1; done")?;
    let process = Process { guest, pid_file: "/run/agent.pid" };
    thread::sleep(Duration::from_secs(1));
    let idle = process.memory()?;
    let (survey_peak_kib, survey) =
        process.peak_while(|| runtime.block_on(agent.survey()).context("the survey failed"))?;
    let filesystem = survey.filesystems.iter().find(|fs| fs.mount == MOUNT).context("it was not surveyed")?;
    let order = order(&filesystem.id);
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

fn order(filesystem_id: &str) -> TrimOrder {
    TrimOrder {
        run_id: "00000000-0000-4000-8000-000000000000".to_owned(),
        fence: 1,
        boot_id: String::new(),
        targets: vec![Target { filesystem_id: filesystem_id.to_owned(), min_extent_bytes: 0 }],
        pace: Some(Pace::Gentle),
        deadline: Duration::from_secs(300),
        linger: Duration::from_secs(10),
        again: false,
        also_types: Vec::new(),
    }
}

async fn trim(agent: &AgentClient, order: &TrimOrder) -> Result<()> {
    let mut run = agent.trim(order).await?;
    while let Some(event) = run.next().await {
        if let RunEvent::End(_) = event? {
            return Ok(());
        }
    }
    anyhow::bail!("the run's stream broke off")
}

/// The process that is in FITRIM, if there is one now.
fn worker_memory(guest: &Guest) -> Result<Option<Memory>> {
    let read = Memory::READ;
    let status = guest.sh(&format!(
        "for dir in /proc/[0-9]*; do
            case $(tr '\\0' ' ' <$dir/cmdline 2>/dev/null) in
            'trimtab-agent worker '*) {read} 2>/dev/null || true ;;
            esac
        done"
    ))?;
    // One that is just ending has no memory any more.
    Ok(Memory::parse(&status).ok())
}
