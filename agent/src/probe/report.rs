//! The nouns of a probe: what is asked for, what is told. No I/O, no wire.

use std::time::Duration;

use trimtab_proto::words::ClaimKind;

use crate::{
    model::{DevNum, FreeExtents},
    trim::report::{Failure, Sent},
};

/// What is to be probed, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// Which filesystem.
    pub filesystem_id: DevNum,
    /// How large a file.
    pub bytes: u64,
    /// How long the file stays when it was told of.
    pub pause: Duration,
    /// The probe fails after this.
    pub deadline: Duration,
}

/// An event of a probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Since the request came in.
    pub elapsed_ms: u64,
    /// What.
    pub what: What,
}

/// What an event says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// First, unless it failed before.
    Written(Written),
    /// Last.
    Trimmed(Trimmed),
    /// Last, instead.
    Failed(Failure),
}

/// The file is on the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// How large it is.
    pub bytes: u64,
    /// In what pieces.
    pub extents: Vec<FreeExtents>,
    /// What the disks moved by since before it was written.
    pub sent: Vec<Sent>,
}

/// The file is gone and its place was trimmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trimmed {
    /// When it began to be given up, since the request came in.
    pub given_up_ms: u64,
    /// What FITRIM returned.
    pub claimed: u64,
    /// What that means.
    pub claim: ClaimKind,
    /// What FITRIM was asked to cover.
    pub range: u64,
    /// FITRIM trims more than that on this filesystem.
    pub beyond_range: bool,
    /// What the disks moved by since the file began to be given up.
    pub sent: Vec<Sent>,
    /// Their count of discards stood still.
    pub settled: bool,
}
