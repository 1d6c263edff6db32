//! A probe of a guest's filesystem: what is asked for and what the agent tells of it.

use std::time::Duration;

use trimtab_proto::words::{ClaimKind, Wire};

use super::{
    guest::FreeExtents,
    run::{Failure, Sent},
};

/// What a guest is asked to probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeOrder {
    /// Which filesystem.
    pub filesystem_id: String,
    /// The boot that was surveyed.
    pub boot_id: String,
    /// How large a file, in whole MiB.
    pub bytes: u64,
    /// How long it stays after the guest has told that it is written.
    pub pause: Duration,
    /// The agent gives up after this.
    pub deadline: Duration,
}

/// An event of a probe, checked. `Written` comes first, unless it failed before; one of the others ends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProbeEvent {
    /// The file is on the guest's disk.
    Written(ProbeWritten),
    /// It is gone, and where it lay was trimmed.
    Trimmed(ProbeTrimmed),
    /// It failed; nothing is left behind.
    Failed(Failure),
}

/// The file is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeWritten {
    /// How large it is.
    pub bytes: u64,
    /// In what pieces, smallest size first.
    pub extents: Vec<FreeExtents>,
    /// The disks' counters since before the write.
    pub sent: Vec<Sent>,
}

/// The file is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeTrimmed {
    /// When it began to be given up, since the request came in. A host that sent the request longer ago than this had it
    /// on its image all that time.
    pub given_up: Duration,
    /// What FITRIM returned.
    pub claimed_bytes: u64,
    /// What that means.
    pub claim: Wire<ClaimKind>,
    /// What FITRIM was asked to cover.
    pub range_bytes: u64,
    /// It trims more than that on this filesystem.
    pub beyond_range: bool,
    /// The disks' counters since right before the file was given up.
    pub sent: Vec<Sent>,
    /// The counters stood still.
    pub settled: bool,
}
