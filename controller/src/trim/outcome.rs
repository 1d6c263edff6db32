//! Outcome: what came of a turn, each fact once. Rendering reads this and nothing else.

use crate::{
    layers::Finding,
    ledger::{
        account::Ledger,
        pair::{Confirmation, PairedBy},
        slack::Slack,
        verdict::{Ruling, Verdict},
    },
    model::{
        disk::HostDisk,
        guest::{AgentInfo, Filesystem},
        image::Datastore,
        run::{FilesystemRun, RunReport},
        trouble::{Kind, Trouble},
    },
};

/// What came of one VM's turn.
#[derive(Clone, Debug)]
pub struct TurnOutcome {
    /// Who answered.
    pub agent: AgentInfo,
    /// The run; `None` where there was nothing to ask the guest for.
    pub run: Option<RunReport>,
    /// Why the run has no report, where it began and has none.
    pub trouble: Option<Trouble>,
    /// Each disk of the hypervisor that the caller asked for.
    pub disks: Vec<DiskOutcome>,
    /// Each filesystem of the guest, skipped ones included.
    pub filesystems: Vec<FilesystemOutcome>,
    /// Skipped filesystems that the guest did not list.
    pub not_listed: u32,
    /// Disks of the guest that were paired with no image.
    pub unpaired_guest_disks: Vec<String>,
    /// Each datastore below the disks.
    pub datastores: Vec<DatastoreChange>,
}

/// One disk, from top to bottom.
#[derive(Clone, Debug)]
pub struct DiskOutcome {
    /// The hypervisor's view.
    pub host: HostDisk,
    /// The guest's name for it.
    pub guest_disk: Option<String>,
    /// Where its image lies.
    pub datastore: Option<Datastore>,
    /// The types of the filesystems on it.
    pub fs_types: Vec<String>,
    /// What tied the two.
    pub paired_by: Option<PairedBy>,
    /// What the counters of the run say of that.
    pub confirmation: Confirmation,
    /// What the guest's filesystems on it use.
    pub used_bytes: Option<u64>,
    /// Before and after.
    pub slack_before: Option<Slack>,
    /// With the allocation of afterwards.
    pub slack_after: Option<Slack>,
    /// claimed → sent → arrived → freed.
    pub ledger: Ledger,
    /// Of its layers.
    pub findings: Vec<Finding>,
    /// The verdict.
    pub ruling: Ruling,
    /// It did not start now for a reason that is over by itself.
    pub passes_by_itself: bool,
}

/// One filesystem of the guest.
#[derive(Clone, Debug)]
pub struct FilesystemOutcome {
    /// As it was surveyed.
    pub filesystem: Filesystem,
    /// The guest's names of the disks below it.
    pub on: Vec<String>,
    /// Its part in the run; `None` where it had none.
    pub run: Option<FilesystemRun>,
}

/// One datastore before and after.
#[derive(Clone, Debug)]
pub struct DatastoreChange {
    /// Before.
    pub before: Datastore,
    /// Free afterwards; `None` where it could not be read.
    pub free_after_bytes: Option<u64>,
    /// It can no longer be written, and could before.
    pub became_read_only: bool,
}

impl DatastoreChange {
    /// What its free space grew by.
    pub fn gain_bytes(&self) -> Option<i64> {
        let after = i64::try_from(self.free_after_bytes?).ok()?;
        after.checked_sub(i64::try_from(self.before.free_bytes).ok()?)
    }
}

/// How much one thing weighs in the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    /// As it should be.
    Good,
    /// Not now, for a reason that is over by itself.
    NotNow,
    /// Anything else.
    Bad,
}

impl DiskOutcome {
    /// Its weight in the exit code.
    pub fn weight(&self) -> Weight {
        match self.ruling.verdict {
            verdict if verdict.is_good() => Weight::Good,
            Verdict::NotRun if self.passes_by_itself => Weight::NotNow,
            _ => Weight::Bad,
        }
    }
}

/// The weight of a VM that gave no outcome; it counts as one disk.
pub fn weight_of(trouble: &Trouble) -> Weight {
    match trouble.kind {
        Kind::Busy | Kind::TooSoon => Weight::NotNow,
        _ => Weight::Bad,
    }
}
