//! The nouns of a run: what is asked for, what is reported. No I/O, no wire.
//!
//! They are also what `runs.rs` keeps on disk, so a field is only ever added, with a default.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use trimtab_proto::words::{ClaimKind, FailureKind, FilesystemState, Pace, RunState, StopReason};

use crate::model::{DevNum, Skip};

/// What is to be trimmed, and how. Two orders with the same run id must be equal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Order {
    /// A UUID in lower case; it names a file.
    pub run_id: String,
    /// Empty: every filesystem that the survey does not skip.
    pub targets: Vec<Target>,
    /// The smallest extent where `targets` is empty, bytes.
    pub min_extent: u64,
    /// How fast.
    pub pace: Pace,
    /// The run ends after this.
    pub deadline: Option<Duration>,
    /// How long to go on with no stream attached.
    pub linger: Duration,
    /// Make ext4 look again at what it remembers as trimmed.
    pub again: bool,
    /// Types beside the agent's own list.
    pub also_types: Vec<String>,
}

/// One filesystem of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Which.
    pub filesystem_id: DevNum,
    /// Free extents below this are left alone, bytes; 0: the kernel's own limit.
    pub min_extent: u64,
}

/// Every fact of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// Which.
    pub run_id: String,
    /// The highest fence seen for it.
    pub fence: u64,
    /// Of which boot.
    pub boot_id: String,
    /// Where it is.
    pub state: RunState,
    /// Why it ended; `None` while nothing stops it.
    pub stop: Option<StopReason>,
    /// So far.
    pub duration_ms: u64,
    /// Each filesystem, skipped ones included.
    pub filesystems: Vec<FilesystemRun>,
    /// Each disk below those that had their turn.
    pub sent: Vec<Sent>,
    /// The disks' discard counters stood still when `sent` was read.
    pub settled: bool,
}

/// One filesystem of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FilesystemRun {
    /// Which.
    pub filesystem_id: DevNum,
    /// Where it is.
    pub state: FilesystemState,
    /// What FITRIM returned, added up; `None` while no call has returned.
    pub claimed: Option<u64>,
    /// What that means.
    pub claim: Option<ClaimKind>,
    /// Whole passes.
    pub passes: u32,
    /// Bytes of the filesystem that finished ranges cover.
    pub passed: u64,
    /// The smallest extent that was asked for.
    pub min_extent: u64,
    /// So far.
    pub duration_ms: u64,
    /// FITRIM calls that came to their end.
    #[serde(default)]
    pub calls: u32,
    /// The longest of them, in milliseconds: whoever wrote there may have waited so long.
    #[serde(default)]
    pub longest_call_ms: u64,
    /// Why it was left out.
    pub skip: Option<Skip>,
    /// How it failed.
    pub failure: Option<Failure>,
}

impl FilesystemRun {
    /// Nothing more will happen to it.
    pub fn is_over(&self) -> bool {
        matches!(
            self.state,
            FilesystemState::Done
                | FilesystemState::Partial
                | FilesystemState::Failed
                | FilesystemState::Skipped
        )
    }
}

/// What a disk's own counters moved by since the run began on it; others' work included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// Which disk.
    pub device_id: DevNum,
    /// Bytes discarded.
    pub discarded: Option<u64>,
    /// Bytes written.
    pub written: Option<u64>,
}

/// How a filesystem's trim failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// From the closed list.
    pub kind: FailureKind,
    /// The kernel's; 0 where there was none.
    pub errno: i32,
    /// What happened and what to do.
    pub text: String,
}

/// Something that moved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Which filesystem.
    pub filesystem_id: DevNum,
    /// Bytes that finished ranges cover; `None` where one call does it all.
    pub passed: Option<u64>,
    /// Bytes of the filesystem; 0 where that is not known.
    pub of: u64,
    /// The disks so far.
    pub sent: Vec<Sent>,
}

/// An event of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Since the run began.
    pub elapsed_ms: u64,
    /// What.
    pub what: What,
}

/// What an event says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// First in every stream, and each change of the run's state.
    State(RunReport),
    /// A filesystem began or ended.
    Filesystem(FilesystemRun),
    /// Lossy; the latest wins.
    Progress(Progress),
    /// Last in every stream.
    End(RunReport),
}
