//! The three sides that a turn talks to. The real ones are in `guest/`, `vmm/` and `image/`; tests and simulations
//! bring their own.
//!
//! Every call has its own deadline inside and ends with a [`Trouble`] when it passes; none hangs, none panics.

use std::future::Future;

use crate::model::{
    disk::{DiskCounters, VmmView},
    guest::{AgentInfo, GuestSurvey},
    image::{Allocation, Datastore, Image, Place, Qcow2Header},
    probe::{ProbeEvent, ProbeOrder},
    run::{RunEvent, RunReport, SteerOrder, TrimOrder},
    trouble::Trouble,
};

/// The agent in a guest. Each call is a connection of its own.
pub trait Guest: Send + Sync {
    /// The stream of a run.
    type Run: RunStream;
    /// The events of a probe.
    type Probe: ProbeStream;

    /// Who answers.
    fn hello(&self) -> impl Future<Output = Result<AgentInfo, Trouble>> + Send;
    /// Filesystems and devices.
    fn survey(&self) -> impl Future<Output = Result<GuestSurvey, Trouble>> + Send;
    /// Starts a run, attaches to it, or replays its end.
    fn trim(&self, order: &TrimOrder) -> impl Future<Output = Result<Self::Run, Trouble>> + Send;
    /// Pauses, resumes or cancels a run.
    fn steer(&self, order: &SteerOrder) -> impl Future<Output = Result<RunReport, Trouble>> + Send;
    /// Writes a small file, gives it up and trims where it lay.
    fn probe(&self, order: &ProbeOrder) -> impl Future<Output = Result<Self::Probe, Trouble>> + Send;
    /// A run of this boot.
    fn get_run(&self, run_id: &str) -> impl Future<Output = Result<RunReport, Trouble>> + Send;
}

/// A run's events. Ends by itself: after `End`, at the stall limit, or with the connection.
pub trait RunStream: Send {
    /// The next event; `None` after `End`.
    fn next(&mut self) -> impl Future<Output = Option<Result<RunEvent, Trouble>>> + Send;
}

/// A probe's events. Ends by itself, at the order's deadline at the latest; dropping it ends the probe.
pub trait ProbeStream: Send {
    /// The next event; `None` after the end. Nothing is lost when the future is dropped.
    fn next(&mut self) -> impl Future<Output = Option<Result<ProbeEvent, Trouble>>> + Send;
}

/// The hypervisor of a VM.
pub trait Vmm: Send + Sync {
    /// State and disks.
    fn look(&self) -> impl Future<Output = Result<VmmView, Trouble>> + Send;
    /// The counters of each disk, by [`crate::model::disk::HostDisk::device`], in one reading. Empty where the
    /// hypervisor cannot be asked.
    fn counters(&self) -> impl Future<Output = Result<Vec<(String, DiskCounters)>, Trouble>> + Send;
}

/// The host's files.
pub trait Storage: Send + Sync {
    /// What an image occupies now.
    fn allocation(&self, image: &Image) -> impl Future<Output = Result<Allocation, Trouble>> + Send;
    /// The header of a qcow2 image. Only for images whose format is known to be qcow2.
    fn qcow2_header(&self, image: &Image) -> impl Future<Output = Result<Qcow2Header, Trouble>> + Send;
    /// Where it lies, and how.
    fn place(&self, image: &Image) -> impl Future<Output = Result<Place, Trouble>> + Send;
    /// The filesystem or the pool that it lies on, as it is now; `None` for a volume that shares its room with nobody.
    fn datastore(&self, image: &Image) -> impl Future<Output = Result<Option<Datastore>, Trouble>> + Send;
    /// Whether some of its extents are shared with another file or a snapshot (FIEMAP_EXTENT_SHARED, a thin volume's
    /// snapshots); `None` where the host does not say. Walks the whole extent map: only to explain.
    fn shares_extents(&self, image: &Image) -> impl Future<Output = Option<bool>> + Send;
    /// Makes the host filesystem bring its account up to date where it needs asking (btrfs: syncfs).
    fn settle(&self, image: &Image) -> impl Future<Output = Result<(), Trouble>> + Send;
}
