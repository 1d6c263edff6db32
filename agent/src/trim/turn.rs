//! One filesystem's turn: open it, start its worker, hand it one range after the other (`calls.rs`). To stop, the worker is
//! killed.
//!
//! ```text
//! opening -> syncing -> Ready -> range, range, ... -> Over(Done | Failed)
//!    any of them --Stop--> Stopping (killed, not yet reaped) -> Over(Partial)
//! ```

use std::{os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use nix::errno::Errno;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task, time,
};
use trimtab_proto::words::{FailureKind, Pace};

use super::{
    child::{self, Worker},
    open,
    report::Failure,
};
use crate::{
    kernel::{fitrim, geometry::Groups},
    kernels::Release,
    model::DevNum,
    sys::Roots,
};

/// Opening a mount point takes longer only where its disk does not answer.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// A worker that is killed together with the agent (a service manager signals all of a unit's processes at once) may
/// be gone a moment before the agent hears of it itself.
const GRACE: Duration = Duration::from_millis(100);

/// All that a turn needs to know.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: DevNum,
    pub(super) mount: PathBuf,
    pub(super) fs_type: String,
    pub(super) device: Option<DevNum>,
    pub(super) size: u64,
    /// What FITRIM is asked for.
    pub(super) min_extent: u64,
    /// What it keeps to: no less than the device's granularity.
    pub(super) least_extent: u64,
    pub(super) pace: Pace,
    pub(super) again: bool,
}

/// What is the same for all turns.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) roots: Roots,
    /// The program whose `worker` verb is the worker: /proc/self/exe.
    pub(crate) worker: PathBuf,
    pub(crate) kernel: Release,
}

/// What the run tells a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Control {
    Go,
    Pause,
    Stop,
    /// Stop, since nothing moves any more.
    GiveUp,
}

/// What a turn tells the run.
#[derive(Debug)]
pub(super) enum Note {
    /// Synced: its disks' counters may be read. `total` is what its ranges cover; `None` where one call does it all.
    /// No range is handed out before `counted` says that they were: the discards of the first one count too.
    Ready { total: Option<u64>, counted: oneshot::Sender<()> },
    /// A range is done.
    Passed { bytes: u64, claimed: u64, took: Duration },
    /// The worker was killed.
    Stopping,
    /// The worker is gone; nothing follows.
    Over(Ended),
}

/// How a turn ended.
#[derive(Debug)]
pub(super) enum Ended {
    Done,
    Partial,
    Failed(Failure),
}

/// Why no further range is handed out.
pub(super) enum Leave {
    Finished,
    Stopped,
    GivenUp,
    Failed(Failure),
    WorkerDied,
}

pub(super) struct Turn {
    pub(super) house: Arc<House>,
    pub(super) job: Job,
    pub(super) control: watch::Receiver<Control>,
    pub(super) notes: mpsc::UnboundedSender<(DevNum, Note)>,
}

impl Turn {
    /// The whole turn; its last note is `Over`.
    pub(super) async fn run(mut self) {
        let ended = self.work().await;
        self.tell(Note::Over(ended));
    }

    pub(super) fn tell(&self, note: Note) {
        // The run hears until its last turn is over; where it is gone, so is the agent.
        let _ = self.notes.send((self.job.id, note));
    }

    async fn work(&mut self) -> Ended {
        let (filesystem, groups) = match self.open().await {
            Ok(opened) => opened,
            Err(Leave::Failed(failure)) => return Ended::Failed(failure),
            Err(_) => return Ended::Partial,
        };
        let mut worker = match self.start(filesystem) {
            Ok(worker) => worker,
            Err(failure) => return Ended::Failed(failure),
        };
        let mut control = self.control.clone();
        let leave = tokio::select! {
            biased;
            leave = stopped(&mut control) => leave,
            leave = self.hand_out(&mut worker, groups) => leave,
        };
        match leave {
            Leave::Finished => {
                let _ = worker.reap().await;
                Ended::Done
            }
            Leave::Failed(failure) => {
                let _ = worker.reap().await;
                Ended::Failed(failure)
            }
            Leave::Stopped | Leave::GivenUp => {
                worker.kill();
                self.tell(Note::Stopping);
                let _ = worker.reap().await;
                match leave {
                    Leave::GivenUp => Ended::Failed(stuck()),
                    _ => Ended::Partial,
                }
            }
            Leave::WorkerDied => {
                worker.kill();
                let status = worker.reap().await;
                if time::timeout(GRACE, stopped(&mut control)).await.is_ok() {
                    return Ended::Partial;
                }
                let text = format!("its worker process {}", child::describe(&status));
                Ended::Failed(Failure { kind: FailureKind::Worker, errno: 0, text })
            }
        }
    }

    pub(super) fn start(&self, filesystem: OwnedFd) -> Result<Worker, Failure> {
        Worker::start(&self.house.worker, filesystem).map_err(|source| {
            let text = format!("cannot start a worker process: {source}");
            let errno = source.raw_os_error().unwrap_or_default();
            Failure { kind: FailureKind::Worker, errno, text }
        })
    }

    /// The filesystem's directory and its division; on a thread that may hang without harm.
    pub(super) async fn open(&mut self) -> Result<(OwnedFd, Option<Groups>), Leave> {
        let (house, job) = (self.house.clone(), self.job.clone());
        let opening = task::spawn_blocking(move || {
            let directory = open::open(&house.roots, &job.mount, job.id)?;
            let groups = open::groups(&house.roots, &job.fs_type, &directory, job.device);
            Ok((directory, groups))
        });
        tokio::select! {
            biased;
            leave = stopped(&mut self.control) => Err(leave),
            opened = time::timeout(OPEN_LIMIT, opening) => match opened {
                Ok(Ok(opened)) => opened.map_err(Leave::Failed),
                Ok(Err(_)) | Err(_) => Err(Leave::Failed(Failure {
                    kind: FailureKind::Stuck,
                    errno: 0,
                    text: format!(
                        "{} did not open within {} s; its disk does not answer",
                        self.job.mount.display(),
                        OPEN_LIMIT.as_secs()
                    ),
                })),
            },
        }
    }
}

/// Waits until the run wants this turn to end. A run that is gone wants that too.
async fn stopped(control: &mut watch::Receiver<Control>) -> Leave {
    match control.wait_for(|c| matches!(c, Control::Stop | Control::GiveUp)).await {
        Ok(wanted) if *wanted == Control::GiveUp => Leave::GivenUp,
        _ => Leave::Stopped,
    }
}

pub(crate) fn refused(what: &str, errno: Errno) -> Failure {
    let (kind, meaning) = fitrim::explain(errno);
    let source = std::io::Error::from(errno);
    let errno = source.raw_os_error().unwrap_or_default();
    Failure { kind, errno, text: format!("{what}: {source}: {meaning}") }
}

fn stuck() -> Failure {
    Failure {
        kind: FailureKind::Stuck,
        errno: 0,
        text:
            "no answer from the kernel, and no counter of its disks moved; the guest's kernel log may say why"
                .to_owned(),
    }
}
