//! What is compared: `fstrim -v`, and the agent at each pace.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
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

    /// Begins a trim, with this agent.
    pub(super) fn start(self, agent: &Path, ground: &Path) -> Result<Trim> {
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
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Trim { child, before })
    }
}

/// A trim under way.
pub(super) struct Trim {
    child: Child,
    before: Duration,
}

impl Trim {
    /// The processor time that it and its processes took, once it has ended.
    pub(super) fn ended(&mut self) -> Result<Option<Duration>> {
        let Some(status) = self.child.try_wait()? else { return Ok(None) };
        ensure!(status.success(), "a trim failed: {status}");
        Ok(Some(children_cpu()?.saturating_sub(self.before)))
    }
}

impl Drop for Trim {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of all processes that have ended and were waited for.
fn children_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds().saturating_add(usage.system_time().num_microseconds());
    Ok(Duration::from_micros(u64::try_from(micros)?))
}
