//! One VM's part in a campaign: what it is asked for, and what came of it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::model::baseline::{Baseline, BaselineDisk};
use crate::{layers::Layer, ledger::verdict::Verdict, model::trouble::Kind};

/// A VM, as it is found again on its host.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct VmKey {
    /// The host that runs it: its machine id (machine-id(5)).
    pub host: String,
    /// Unique on its host.
    pub name: String,
    /// libvirt's, where it is a domain, or the inventory file's: another VM of the same name has another one.
    pub uuid: Option<String>,
}

/// A run as a plan asks for it.
#[derive(Clone, PartialEq, Debug)]
pub struct NewRun {
    /// Whose.
    pub vm: VmKey,
    /// Where its images lie, by the datastores' identities, each once.
    pub datastores: Vec<String>,
    /// Lower goes first.
    pub position: u32,
    /// What is expected back, in bytes.
    pub expected_bytes: u64,
    /// No trim of it is known: its backlog is heavy.
    pub is_first: bool,
}

/// Where a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// For its turn, or for the time when it may be tried again.
    Waiting,
    /// A worker has it.
    Running,
    /// It has an end.
    Done,
}

/// How a run ended. A closed list: counts, budgets and reports go by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Space came back, from some of its disks at least.
    Reclaimed,
    /// There was nothing to free.
    AlreadyCompact,
    /// A layer cuts the way; counts against the streak.
    Cut,
    /// Something holds what was freed; counts against the streak.
    Held,
    /// Nobody can tell.
    NotMeasurable,
    /// A guard that does not pass by itself said no.
    NotRun,
    /// Off, or without an agent: no failure.
    Away,
    /// It failed as often as it may; a timeout is a failure. Counts against the budget.
    Failed,
    /// Left alone: its guest said something alarming, or it has failed in two campaigns running.
    SetAside,
    /// The host saw harm: the VM stopped on an I/O error, or storage became worse. Stops the campaign.
    Harmed,
    /// A person aborted the campaign.
    Aborted,
}

impl Class {
    /// Against the failure budget.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed)
    }

    /// Against the streak of runs that show something wired wrong.
    pub fn is_blocked(self) -> bool {
        matches!(self, Self::Cut | Self::Held)
    }
}

/// What came of one turn, or of one run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunResult {
    /// How it ended.
    pub class: Class,
    /// Each disk.
    pub disks: Vec<DiskResult>,
    /// Why, in one line, where it is not plain: the host's words, or a guest's, escaped where they are shown.
    pub text: Option<String>,
    /// Of a failure.
    pub kind: Option<Kind>,
    /// Which layer cuts or holds.
    pub layer: Option<Layer>,
    /// From the claim to the end, in whole milliseconds.
    pub duration_ms: u64,
}

impl RunResult {
    /// What came back of all disks, in bytes; growth counts against it.
    pub fn freed_bytes(&self) -> i64 {
        self.disks.iter().filter_map(|disk| disk.freed_bytes).fold(0, i64::saturating_add)
    }

    /// What named findings hold on all disks, in bytes.
    pub fn held_bytes(&self) -> u64 {
        self.disks.iter().filter_map(|disk| disk.held_bytes).fold(0, u64::saturating_add)
    }
}

/// What came of one disk.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DiskResult {
    /// The guest's name, or the hypervisor's.
    pub name: String,
    /// Its image.
    pub image: Option<String>,
    /// Where the image lies, by the datastore's identity.
    pub datastore: Option<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// What the allocation fell by, in bytes; growth is negative; `None` where it is not measured.
    pub freed_bytes: Option<i64>,
    /// What a named finding holds.
    pub held_bytes: Option<u64>,
}

/// Why a run is not over yet and goes back to wait.
#[derive(Clone, PartialEq, Debug)]
pub struct Later {
    /// Not before so long from now, by the store's clock: a worker's own is never compared with it.
    pub after: Duration,
    /// What it waits for.
    pub why: Wait,
    /// One line.
    pub text: String,
    /// What the turn did until then.
    pub did: Did,
}

/// What a turn did whose run goes back to wait.
#[derive(Clone, PartialEq, Debug)]
pub enum Did {
    /// Nothing: its guest was not called, or refused before anything was begun. Its baseline is given up.
    Nothing,
    /// That is still with the agent, and is fetched by the same run id.
    Unknown,
    /// This, to be counted now: a window's end, a partial run, a failure that is tried again.
    This(RunResult),
}

impl Did {
    /// What is to be counted, if it is known.
    pub fn known(&self) -> Option<&RunResult> {
        match self {
            Self::This(result) => Some(result),
            Self::Nothing | Self::Unknown => None,
        }
    }
}

/// What a run waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// A worker: none is there on its host.
    Worker,
    /// Its turn: a cap is reached, or its worker is about to claim it.
    Room,
    /// The verdicts of the stage before.
    Ramp,
    /// The ends of what runs: with each of them failed the budget would be used up (`strict`).
    Budget,
    /// A window.
    Window,
    /// A gate of the host.
    Gate,
    /// A guard: paused, a job, frozen.
    Guard,
    /// It failed and is tried again.
    Retry,
    /// The campaign is paused or stopped.
    Campaign,
}

/// A run that a worker has claimed.
#[derive(Clone, PartialEq, Debug)]
pub struct Claimed {
    /// The store's number of the run.
    pub run: i64,
    /// Its campaign.
    pub campaign: i64,
    /// Whose.
    pub vm: VmKey,
    /// Where its plan says that its images lie: the caps that it has room under.
    pub datastores: Vec<String>,
    /// The agent's handle of the run: the same until its result is known.
    pub agent_run_id: String,
    /// Above every one that this run had before; the agent refuses lower ones.
    pub fence: u64,
    /// Which try this is: 1 for the first. Only a failure that is tried again makes it more; a window's end, a guard and
    /// a worker that died do not.
    pub attempt: u32,
    /// Turns that a guard or a gate put off since the last one that began; they cost no attempt.
    pub put_off: u32,
    /// Of an attempt whose result is not known yet.
    pub baseline: Option<Baseline>,
    /// The window closes then, by the store's clock.
    pub until: Option<Timestamp>,
    /// How long until then, when this was claimed: for the worker's own monotonic clock.
    pub remaining: Option<Duration>,
    /// The campaign's.
    pub limits: super::limits::Limits,
}

/// What the store says to a worker of a run that it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instruction {
    /// Go on.
    Keep,
    /// Stop at the next range: an abort, or harm.
    Cancel,
    /// It is another's now, or over: drop it.
    Gone,
}

/// What became of a result that was handed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// It is in the sums now.
    Counted,
    /// It was before: nothing has changed.
    AlreadyCounted,
    /// It came with a fence that is no longer the run's: in the history, never in the sums.
    Fenced,
}
