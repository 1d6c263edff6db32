//! What is compared: `fstrim -v`, and the agent at each pace.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// One way to trim a mount point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tool {
    Fstrim,
    Agent(&'static str),
}

impl Tool {
    pub(super) const ALL: [Self; 4] =
        [Self::Fstrim, Self::Agent("full"), Self::Agent("steady"), Self::Agent("gentle")];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fstrim => "fstrim",
            Self::Agent(pace) => pace,
        }
    }

    /// Trims with this agent; the processor time that it and its processes took.
    pub(super) fn trim(self, agent: &Path, ground: &Path) -> Result<Duration> {
        let before = children_cpu()?;
        let mut command = match self {
            Self::Fstrim => Command::new("/usr/sbin/fstrim"),
            Self::Agent(_) => Command::new(agent),
        };
        match self {
            Self::Fstrim => command.arg("-v"),
            Self::Agent(pace) => {
                let run = ground.with_file_name("run");
                command.arg("--run-dir").arg(run).args(["--quiet", "trim", "--json", "--pace", pace])
            }
        };
        let log = File::create(ground.with_file_name("log"))?;
        command.arg(ground).stdin(Stdio::null()).stdout(log);
        let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
        ensure!(status.success(), "{command:?}: {status}");
        Ok(children_cpu()?.saturating_sub(before))
    }
}

/// Of all processes that have ended and were waited for.
fn children_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds().saturating_add(usage.system_time().num_microseconds());
    Ok(Duration::from_micros(u64::try_from(micros)?))
}
