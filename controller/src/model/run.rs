//! A trim in a guest: what is asked for and what the agent reports of it.

use std::time::Duration;

use trimtab_proto::words::{
    Action, ClaimKind, FailureKind, FilesystemState, Pace, RunState, StopReason, Wire,
};

use super::guest::Skip;

/// What a guest is asked to trim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrimOrder {
    /// A UUID.
    pub run_id: String,
    /// Rises with each call for this run.
    pub fence: u64,
    /// The boot that was surveyed.
    pub boot_id: String,
    /// Filesystem ids with the smallest extent worth discarding; empty: all that the guest does not skip.
    pub targets: Vec<Target>,
    /// `None`: the agent's default.
    pub pace: Option<Pace>,
    /// The agent ends the run after this.
    pub deadline: Duration,
    /// How long the agent goes on alone.
    pub linger: Duration,
    /// Make ext4 look again at what it remembers as trimmed.
    pub again: bool,
    /// Types beside the agent's own list.
    pub also_types: Vec<String>,
}

/// One filesystem of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its id.
    pub filesystem_id: String,
    /// 0: the kernel's own limit.
    pub min_extent_bytes: u64,
}

/// What Steer asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SteerOrder {
    /// Which run.
    pub run_id: String,
    /// Not lower than the run's.
    pub fence: u64,
    /// What to do.
    pub action: Action,
}

/// An event of a run's stream, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunEvent {
    /// The run's state: first in every stream.
    State(RunReport),
    /// A filesystem began or ended.
    Filesystem(FilesystemRun),
    /// Something moved.
    Progress(Progress),
    /// The last one.
    End(RunReport),
}

/// Where a filesystem's trim is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Which.
    pub filesystem_id: String,
    /// Bytes of it that finished ranges cover; `None` where one call does it all.
    pub passed_bytes: Option<u64>,
    /// Bytes of it.
    pub of_bytes: u64,
    /// The disks' counters.
    pub sent: Vec<Sent>,
}

/// Every fact of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunReport {
    /// Which.
    pub run_id: String,
    /// The highest seen.
    pub fence: u64,
    /// Of which boot.
    pub boot_id: String,
    /// Where it is.
    pub state: Wire<RunState>,
    /// Why it ended; `None` while it has not.
    pub stop: Option<Wire<StopReason>>,
    /// So far.
    pub duration: Duration,
    /// Each filesystem of the run, skipped ones included.
    pub filesystems: Vec<FilesystemRun>,
    /// Each disk below them.
    pub sent: Vec<Sent>,
    /// The counters stood still.
    pub settled: bool,
}

/// One filesystem of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilesystemRun {
    /// Which.
    pub filesystem_id: String,
    /// Where it is.
    pub state: Wire<FilesystemState>,
    /// What FITRIM returned.
    pub claimed_bytes: Option<u64>,
    /// What that means; `None` where nothing was claimed.
    pub claim: Option<Wire<ClaimKind>>,
    /// Whole passes.
    pub passes: u32,
    /// Covered by finished ranges.
    pub passed_bytes: u64,
    /// The smallest extent that was asked for.
    pub min_extent_bytes: u64,
    /// So far.
    pub duration: Duration,
    /// FITRIM calls that came to their end.
    pub calls: u32,
    /// The longest of them: whoever wrote there may have waited so long.
    pub longest_call: Duration,
    /// Why it was left out.
    pub skip: Option<Skip>,
    /// How it failed.
    pub failure: Option<Failure>,
}

/// What a disk's own counters moved by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Which disk.
    pub device_id: String,
    /// Discarded; `None` before kernel 4.18.
    pub discarded_bytes: Option<u64>,
    /// Written.
    pub written_bytes: Option<u64>,
}

/// How a filesystem failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// From the closed list, or a newer agent's.
    pub kind: Wire<FailureKind>,
    /// 0 where there was none.
    pub errno: i32,
    /// The guest's sentence.
    pub text: String,
}
