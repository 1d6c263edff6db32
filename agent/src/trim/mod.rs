//! Runs: one at a time in a guest. [`Engine`] knows the one that is active and those that ended; it starts, attaches,
//! replays, steers or refuses, by the rules of the contract. The run itself is in `run.rs`, a filesystem's turn in
//! `turn.rs`; this file holds no trim in its hands.
//!
//! A call for run R with fence F:
//! ```text
//! R is active:  F lower -> STALE_FENCE   other order -> RUN_ID_REUSED   else attach; the older stream is superseded
//! R has ended:  F lower -> STALE_FENCE   other order -> RUN_ID_REUSED   else replay its end, nothing is trimmed
//! R is new:     another is active, or holds the guest's lock -> BUSY    else start
//! ```

mod calls;
pub(crate) mod child;
mod claim;
pub(crate) mod disks;
mod feed;
pub(crate) mod open;
pub(crate) mod plan;
pub mod report;
mod rhythm;
mod run;
mod slot;
mod turn;

use std::{
    fmt,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, oneshot, watch};
use trimtab_proto::words::{Action, RunState, StopReason};

pub(crate) use self::turn::refused;
pub use self::{claim::Claim, feed::Feed};
use self::{
    disks::Disks,
    report::{Event, Order, RunReport, What},
    run::{Command, Run, Start},
    turn::House,
};
use crate::{
    kernels::Release,
    lock::{self, LockError, TrimLock},
    model::{DevNum, Survey},
    privilege,
    runs::{Record, Runs},
    sys::{self, Roots},
};

/// What an engine needs to know of its guest.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Where the kernel's trees and /run are.
    pub roots: Roots,
    /// The program whose `worker` verb is the worker; /proc/self/exe, which an upgrade does not disturb.
    pub worker: PathBuf,
    /// This boot.
    pub boot_id: String,
    /// This kernel.
    pub kernel: Release,
}

/// All runs of this agent.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    house: Arc<House>,
    boot_id: String,
    state: Mutex<State>,
    /// Held while a run is being started, so that two callers do not start two.
    starting: tokio::sync::Mutex<()>,
    /// A run is active, or somebody else has the guest's disks by a [`Claim`].
    active: watch::Sender<bool>,
    /// The agent is about to end.
    stop: watch::Sender<bool>,
}

struct State {
    active: Option<Active>,
    runs: Runs,
    stopping: bool,
}

struct Active {
    order: Order,
    fence: u64,
    since_unix_secs: u64,
    commands: mpsc::UnboundedSender<Command>,
    report: watch::Receiver<RunReport>,
}

/// Why a call is refused. Nothing was started or changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A caller with a higher fence has this run.
    #[error("this run was called with fence {highest} already; take a higher one")]
    StaleFence {
        /// The highest seen.
        highest: u64,
    },
    /// The same run id with other parameters.
    #[error("this run id was used with other parameters; take a new one")]
    RunIdReused,
    /// Another trim is under way.
    #[error("another trim of this guest is under way; try again when it has ended")]
    Busy {
        /// Since when, seconds since 1970, as far as that is known.
        since_unix_secs: Option<u64>,
    },
    /// A target that this guest does not have.
    #[error("this guest has no filesystem {0}; survey it again")]
    NoSuchFilesystem(DevNum),
    /// No run with this id in this boot.
    #[error("no run with this id among the last {} of this boot", crate::runs::KEPT)]
    NoSuchRun,
    /// The agent may not call FITRIM.
    #[error("the agent lacks CAP_SYS_ADMIN; it must run as root, outside of containers")]
    NotPrivileged,
    /// A probe of a filesystem that a trim would leave out.
    #[error("{mount} cannot be probed: {text}")]
    Skipped {
        /// Where it is mounted.
        mount: String,
        /// Why.
        text: String,
    },
    /// The agent is about to end.
    #[error("the agent is stopping")]
    Stopping,
    /// The guest could not be surveyed.
    #[error("{0}")]
    Survey(String),
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(LockError),
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("boot_id", &self.inner.boot_id).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine that knows `runs`.
    pub fn new(guest: Guest, runs: Runs) -> Self {
        let house = House { roots: guest.roots, worker: guest.worker, kernel: guest.kernel };
        Self {
            inner: Arc::new(Inner {
                house: Arc::new(house),
                boot_id: guest.boot_id,
                state: Mutex::new(State { active: None, runs, stopping: false }),
                starting: tokio::sync::Mutex::new(()),
                active: watch::channel(false).0,
                stop: watch::channel(false).0,
            }),
        }
    }

    /// This boot.
    pub fn boot_id(&self) -> &str {
        &self.inner.boot_id
    }

    /// Whether a run or a probe is active.
    pub fn is_active(&self) -> bool {
        *self.inner.active.borrow()
    }

    /// Whether a run or a probe is active, and each change of that.
    pub fn activity(&self) -> watch::Receiver<bool> {
        self.inner.active.subscribe()
    }

    /// Whether it was told to start nothing more.
    pub fn is_stopping(&self) -> bool {
        *self.inner.stop.borrow()
    }

    /// Waits until no run or probe is active.
    pub async fn wait_until_over(&self) {
        // An error would mean that the sender is gone; it is in `self`.
        let _ = self.inner.active.subscribe().wait_for(|active| !active).await;
    }

    /// When the last run of this boot ended, seconds since 1970.
    pub fn last_end_unix_secs(&self) -> Option<u64> {
        self.state().runs.last_end_unix_secs()
    }

    /// Whether this run is active or ended, as opposed to new.
    pub fn knows(&self, run_id: &str) -> bool {
        let state = self.state();
        state.active.as_ref().is_some_and(|a| a.order.run_id == run_id) || state.runs.get(run_id).is_some()
    }

    /// Starts the run, attaches to it, or replays its end. `survey` is asked only for a new run. Must be called on a
    /// thread that lives as long as the run: its workers die with it.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn trim<S>(&self, order: Order, fence: u64, survey: S) -> Result<Feed, Refused>
    where
        S: Future<Output = Result<Survey, String>>,
    {
        if let Some(feed) = self.join(&order, fence).await? {
            return Ok(feed);
        }
        let _starting = self.inner.starting.lock().await;
        // Meanwhile another caller may have started it.
        if let Some(feed) = self.join(&order, fence).await? {
            return Ok(feed);
        }
        self.start(order, fence, survey).await
    }

    /// Attaches or replays; `None` where the run is new.
    async fn join(&self, order: &Order, fence: u64) -> Result<Option<Feed>, Refused> {
        loop {
            let attached = {
                let mut state = self.state();
                if let Some(record) = state.runs.get(&order.run_id) {
                    check(&record.order, record.report.fence, order, fence)?;
                    let report = RunReport { fence, ..record.report.clone() };
                    state.runs.raise_fence(&order.run_id, fence);
                    return Ok(Some(replay(report)));
                }
                if state.stopping {
                    return Err(Refused::Stopping);
                }
                let Some(active) = state.active.as_mut() else { return Ok(None) };
                if active.order.run_id != order.run_id {
                    return Err(Refused::Busy { since_unix_secs: Some(active.since_unix_secs) });
                }
                check(&active.order, active.fence, order, fence)?;
                active.fence = fence;
                let (reply, attached) = oneshot::channel();
                let _ = active.commands.send(Command::Attach { fence, reply });
                attached
            };
            // No answer: it ended in this moment, and is kept now.
            if let Ok(feed) = attached.await {
                return Ok(Some(feed));
            }
            tokio::task::yield_now().await;
        }
    }

    async fn start<S>(&self, order: Order, fence: u64, survey: S) -> Result<Feed, Refused>
    where
        S: Future<Output = Result<Survey, String>>,
    {
        let house = &self.inner.house;
        let lock = self.admit()?;
        let survey = survey.await.map_err(Refused::Survey)?;
        let planned = plan::plan(&order, &survey, &house.kernel).map_err(Refused::NoSuchFilesystem)?;
        let roots = house.roots.clone();
        let disks = Disks::new(Box::new(move |disk| {
            // A disk that has gone counts nothing any more.
            sys::counters::read(&roots, disk).unwrap_or_default()
        }));
        let boot_id = self.inner.boot_id.clone();
        let (mut run, handles) =
            Run::new(Start { house: house.clone(), order: order.clone(), fence, boot_id, planned, disks });
        let feed = run.first_listener();

        let mut state = self.state();
        if state.stopping {
            return Err(Refused::Stopping);
        }
        // Should the agent die, the next one knows of this run.
        state.runs.note_open(&Record::new(order.clone(), handles.report.borrow().clone()));
        state.active = Some(Active {
            order,
            fence,
            since_unix_secs: lock::now_unix_secs(),
            commands: handles.commands,
            report: handles.report,
        });
        drop(state);
        self.inner.active.send_replace(true);
        tokio::spawn(self.clone().see_through(run, lock));
        Ok(feed)
    }

    /// The guest's lock, for whoever may call FITRIM at all.
    fn admit(&self) -> Result<TrimLock, Refused> {
        let roots = &self.inner.house.roots;
        if !privilege::may_trim(roots) {
            return Err(Refused::NotPrivileged);
        }
        TrimLock::take(&lock::folder(roots)).map_err(|error| match error {
            LockError::Busy { since_unix_secs } => Refused::Busy { since_unix_secs },
            unusable @ LockError::Unusable { .. } => Refused::Lock(unusable),
        })
    }

    /// Drives a run to its end, keeps its report, and only then tells the listener.
    async fn see_through(self, run: Run, lock: TrimLock) {
        let mut over = run.drive().await;
        let mut state = self.state();
        if let Some(active) = state.active.take() {
            over.report.fence = over.report.fence.max(active.fence);
            state.runs.keep(Record::new(active.order, over.report.clone()));
        }
        drop(state);
        drop(lock);
        self.inner.active.send_replace(false);
        over.tell();
    }

    /// Pauses, resumes or cancels a run; of an ended one only its report is given.
    ///
    /// # Errors
    /// `StaleFence`, `NoSuchRun`.
    pub async fn steer(&self, run_id: &str, fence: u64, action: Action) -> Result<RunReport, Refused> {
        loop {
            let steered = {
                let mut state = self.state();
                if let Some(record) = state.runs.get(run_id) {
                    stale(record.report.fence, fence)?;
                    let report = RunReport { fence, ..record.report.clone() };
                    state.runs.raise_fence(run_id, fence);
                    return Ok(report);
                }
                let active = state.active.as_mut().filter(|a| a.order.run_id == run_id);
                let active = active.ok_or(Refused::NoSuchRun)?;
                stale(active.fence, fence)?;
                active.fence = fence;
                let (reply, steered) = oneshot::channel();
                let _ = active.commands.send(Command::Steer { fence, action, reply });
                steered
            };
            if let Ok(report) = steered.await {
                return Ok(report);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Pauses, resumes or cancels the active run, if there is one, for whoever has this guest's terminal.
    pub fn steer_active(&self, action: Action) {
        if let Some(active) = &self.state().active {
            // Nobody waits for the answer.
            let (reply, _) = oneshot::channel();
            let _ = active.commands.send(Command::Steer { fence: active.fence, action, reply });
        }
    }

    /// A run of this boot.
    ///
    /// # Errors
    /// `NoSuchRun`.
    pub fn get_run(&self, run_id: &str) -> Result<RunReport, Refused> {
        let state = self.state();
        if let Some(active) = state.active.as_ref().filter(|a| a.order.run_id == run_id) {
            return Ok(active.report.borrow().clone());
        }
        state.runs.get(run_id).map(|record| record.report.clone()).ok_or(Refused::NoSuchRun)
    }

    /// Ends the active run, if there is one, for this reason.
    pub fn stop(&self, reason: StopReason) {
        if let Some(active) = &self.state().active {
            let _ = active.commands.send(Command::Stop(reason));
        }
    }

    /// Keeps what is known of a run that does not end: its agent goes, and the next one says what was done.
    pub fn keep_unfinished(&self) {
        let state = self.state();
        if let Some(active) = &state.active {
            state.runs.note_open(&Record::new(active.order.clone(), active.report.borrow().clone()));
        }
    }

    /// Starts nothing more, ends the active run and waits until it is over. Bound it by a limit: a worker that the
    /// kernel does not let go of is waited for.
    pub async fn shut_down(&self) {
        self.state().stopping = true;
        self.inner.stop.send_replace(true);
        self.stop(StopReason::Shutdown);
        self.wait_until_over().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a call may have the run that has this order and fence.
fn check(known: &Order, highest: u64, order: &Order, fence: u64) -> Result<(), Refused> {
    stale(highest, fence)?;
    if known == order { Ok(()) } else { Err(Refused::RunIdReused) }
}

fn stale(highest: u64, fence: u64) -> Result<(), Refused> {
    if fence < highest { Err(Refused::StaleFence { highest }) } else { Ok(()) }
}

/// A stream of a run that has ended.
fn replay(report: RunReport) -> Feed {
    debug_assert_eq!(report.state, RunState::Ended);
    let (writer, feed) = feed::feed(|| ());
    let elapsed_ms = report.duration_ms;
    writer.push(Event { elapsed_ms, what: What::State(report.clone()) });
    writer.push(Event { elapsed_ms, what: What::End(report) });
    feed
}
