//! Resume: what of a turn outlives its caller, so that a run whose result was lost is fetched and not done again, and no
//! byte of its account is lost.
//!
//! ```text
//! no baseline kept ─────────────────────────────> a new run
//! baseline kept ──> the agent knows the run? ─ no ──> the same run anew, accounted from the kept baseline
//!                            ├ it has ended ────────> its report is taken, nothing is trimmed
//!                            └ it goes on ──────────> attach with a higher fence, or wait for its end
//! ```

use std::future::Future;

use trimtab_proto::words::FilesystemState;

use crate::{
    ledger::account::{GuestSide, Reading, account},
    model::{
        baseline::{Baseline, BaselineDisk},
        disk::{DiskCounters, HostDisk},
        image::{Allocation, Datastore, Format},
        run::{RunReport, Target},
        trouble::{Kind, Trouble},
    },
    trim::{
        call::first_fence,
        choose::{Choice, Decision},
        look::{Look, Parts, allocation},
        ports::{Guest, Storage, Vmm},
    },
};

/// A run in a guest, as its caller knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// A UUID; the same until the run's result is known.
    pub run_id: String,
    /// Above every one that this run had before.
    pub fence: u64,
    /// From before an earlier call of this run, whose result is not known.
    pub baseline: Option<Baseline>,
}

impl Ticket {
    /// Of a run that nobody has called yet.
    pub fn new() -> Self {
        Self { run_id: uuid::Uuid::new_v4().to_string(), fence: first_fence(), baseline: None }
    }
}

impl Default for Ticket {
    fn default() -> Self {
        Self::new()
    }
}

/// Who has a turn carried out.
pub trait Caller: Send + Sync {
    /// Told what was seen, and what of the disks is to be kept, before the guest is called. An error ends the turn, and
    /// nothing has begun.
    fn before(&self, look: &Look, baseline: &Baseline) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Whether no other VM was trimmed since the turn began, so that what a datastore gained is this VM's. Asked at the
    /// end.
    fn was_alone(&self) -> bool;
}

/// A caller who keeps nothing: who ends with the process.
#[derive(Clone, Copy, Debug)]
pub struct Once {
    /// No other VM is trimmed meanwhile.
    pub alone: bool,
}

impl Caller for Once {
    async fn before(&self, _: &Look, _: &Baseline) -> Result<(), Trouble> {
        Ok(())
    }

    fn was_alone(&self) -> bool {
        self.alone
    }
}

/// What the agent knows of a run that was called before; `None`: nothing in this boot.
pub(super) async fn find<G: Guest>(
    guest: &G,
    ticket: &Ticket,
    boot_id: &str,
) -> Result<Option<RunReport>, Trouble> {
    if ticket.baseline.is_none() {
        return Ok(None);
    }
    match guest.get_run(&ticket.run_id).await {
        Ok(report) if report.boot_id == boot_id => Ok(Some(report)),
        Ok(_) => Ok(None),
        Err(trouble) if trouble.kind == Kind::AgentRefused => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

/// A run that was found has begun, whatever would be decided now: its disks take part, and it trims what it trims.
pub(super) fn abide_by(report: &RunReport, look: &Look, choice: &mut Choice) {
    let Some(survey) = look.survey() else { return };
    let took_part = |id: &str| {
        let runs = report.filesystems.iter().filter(|run| !run.state.is(FilesystemState::Skipped));
        runs.filter_map(|run| survey.filesystem(&run.filesystem_id))
            .any(|fs| fs.leaf_ids.iter().any(|leaf| leaf == id))
    };
    for (disk, decision) in look.disks.iter().zip(&mut choice.decisions) {
        if look.guest_disk(disk).is_some_and(|device| took_part(&device.id)) {
            *decision = Decision::Go;
        }
    }
    choice.targets = report
        .filesystems
        .iter()
        .map(|run| Target {
            filesystem_id: run.filesystem_id.clone(),
            min_extent_bytes: run.min_extent_bytes,
        })
        .collect();
}

/// Puts what was kept in the place of what is read now, disk by disk, where it is of the same image.
pub(super) fn apply(baseline: &Baseline, look: &mut Look) {
    for disk in &mut look.disks {
        let Some(facts) = &mut disk.image else { continue };
        let Some(kept) = baseline.of(&disk.host.device, facts.allocation.file) else { continue };
        facts.allocation.allocated_bytes = kept.allocated_bytes;
        disk.counters = DiskCounters {
            written_bytes: kept.written_bytes,
            arrived_bytes: kept.arrived_bytes,
            failed_requests: kept.failed_requests,
            failed_io: kept.failed_io,
        };
    }
}

/// What is to be kept of a look.
pub(super) fn baseline_of(look: &Look) -> Baseline {
    let disks = look.disks.iter().filter_map(|disk| {
        let allocation = disk.image.as_ref()?.allocation;
        Some(BaselineDisk {
            device: disk.host.device.clone(),
            file: allocation.file,
            allocated_bytes: allocation.allocated_bytes,
            written_bytes: disk.counters.written_bytes,
            arrived_bytes: disk.counters.arrived_bytes,
            failed_requests: disk.counters.failed_requests,
            failed_io: disk.counters.failed_io,
        })
    });
    Baseline { disks: disks.collect() }
}

/// A disk of a run whose result cannot be had any more.
#[derive(Clone, Debug)]
pub struct LostDisk {
    /// The hypervisor's view.
    pub host: HostDisk,
    /// Where its image lies.
    pub datastore: Option<Datastore>,
    /// What its allocation fell by since the baseline; `None` where the image is another one, or cannot be read.
    pub freed_bytes: Option<i64>,
}

/// What came back of a run whose guest cannot be asked: the host's own figures do not depend on it. Nothing where the
/// hypervisor cannot be asked either.
pub async fn lost<G: Guest, V: Vmm, S: Storage>(
    parts: &Parts<'_, G, V, S>,
    baseline: &Baseline,
) -> Vec<LostDisk> {
    let Ok(view) = parts.vmm.look().await else { return Vec::new() };
    let mut disks = Vec::new();
    for host in view.disks {
        let Some(image) = host.image.clone() else { continue };
        let Ok(now) = allocation_of(parts.storage, &host).await else { continue };
        let Some(kept) = baseline.of(&host.device, now.file) else { continue };
        let before = Reading { allocated_bytes: kept.allocated_bytes, ..Reading::default() };
        let after = Reading { allocated_bytes: now.allocated_bytes, ..Reading::default() };
        disks.push(LostDisk {
            datastore: parts.storage.datastore(&image).await.ok().flatten(),
            freed_bytes: account(&before, &after, &GuestSide::default(), None).freed_bytes,
            host,
        });
    }
    disks
}

async fn allocation_of<S: Storage>(storage: &S, host: &HostDisk) -> Result<Allocation, Trouble> {
    let image =
        host.image.as_ref().ok_or_else(|| Trouble::new(Kind::Image, "it has no image on this host"))?;
    let header = match image.format {
        Format::Qcow2 => Some(storage.qcow2_header(image).await?),
        Format::Raw | Format::Other(_) => None,
    };
    allocation(storage, image, host, header.as_ref()).await
}
