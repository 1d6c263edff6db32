//! The questions about one domain. Blocking; only called on a thread of its own.

use super::{
    Failed,
    ffi::Domain,
    said::{self, NO_SUPPORT, Number, OPERATION_INVALID, OPERATION_TIMEOUT, Refused, Which},
    xml,
};
use crate::model::disk::{DiskCounters, HostDisk, Link, VmFacts, VmState, VmmView};

/// Another call holds the domain for so long that libvirt gives up waiting: whatever it is, it is a job.
const BUSY: &str = "a job of libvirt's that holds the domain";

/// State, XML, jobs and snapshots; the manager is the caller's to fill in.
pub(super) fn view(domain: &Domain) -> Result<VmmView, Failed> {
    let (state, reason) = domain.state()?;
    let state = said::state(state, reason);
    let described = xml::domain(&domain.xml(Which::Current)?)?;
    let mut vm = VmFacts { state, link: described.link, ..VmFacts::default() };
    let mut disks = described.disks;
    // Of a domain that is off libvirt would open the images to answer.
    if vm.state != Some(VmState::Off) {
        let stats = domain.block_stats().unwrap_or_default();
        for disk in &mut disks {
            running(domain, disk, &stats)?;
        }
        vm.job = job(domain)?;
    }
    let snapshots = optional(domain.snapshots())?.unwrap_or_default();
    vm.snapshots = snapshots
        .into_iter()
        .filter(|snapshot| xml::is_internal_snapshot(&snapshot.xml))
        .map(|snapshot| snapshot.name)
        .collect();
    Ok(VmmView { vm, disks })
}

/// The vsock device of a running domain.
pub(super) fn link(domain: &Domain) -> Result<Option<Link>, Failed> {
    let (state, reason) = domain.state()?;
    match said::state(state, reason) {
        Some(VmState::Off) => Ok(None),
        _ => Ok(Some(xml::domain(&domain.xml(Which::Current)?)?.link)),
    }
}

/// wr.bytes of each disk; nothing where the domain is off. libvirt would then open the images to answer, and stand still
/// itself, with the domain locked, where one of them is a FIFO.
pub(super) fn written(domain: &Domain) -> Result<Vec<(String, DiskCounters)>, Failed> {
    let (state, reason) = domain.state()?;
    if said::state(state, reason) == Some(VmState::Off) {
        return Ok(Vec::new());
    }
    let disks = xml::domain(&domain.xml(Which::Current)?)?.disks;
    let stats = domain.block_stats()?;
    Ok(disks
        .into_iter()
        .map(|disk| {
            let written_bytes = said::block_stats(&stats, target(&disk)).written_bytes;
            (disk.device, DiskCounters { written_bytes, ..DiskCounters::default() })
        })
        .collect())
}

/// Adds to a disk what only a running domain has.
fn running(domain: &Domain, disk: &mut HostDisk, stats: &[Number]) -> Result<(), Failed> {
    disk.virtual_bytes = said::block_stats(stats, target(disk)).capacity_bytes;
    match domain.block_job(target(disk)) {
        Ok(Some(job)) => disk.block_job = Some(job.word().to_owned()),
        Err(refused) if refused.code == OPERATION_TIMEOUT => disk.block_job = Some(BUSY.to_owned()),
        other => drop(optional(other)?),
    }
    Ok(())
}

fn target(disk: &HostDisk) -> &str {
    disk.target.as_deref().unwrap_or_default()
}

fn job(domain: &Domain) -> Result<Option<String>, Failed> {
    match domain.job() {
        Err(refused) if refused.code == OPERATION_TIMEOUT => Ok(Some(BUSY.to_owned())),
        asked => Ok(optional(asked)?.and_then(|(kind, numbers)| said::job(kind, &numbers))),
    }
}

/// A driver may lack a call, and a domain that has ended meanwhile has no jobs; anything else is an error, so that a
/// question that was not answered never counts as "there is none".
fn optional<T>(asked: Result<T, Refused>) -> Result<Option<T>, Failed> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(refused) if matches!(refused.code, NO_SUPPORT | OPERATION_INVALID) => Ok(None),
        Err(refused) => Err(refused.into()),
    }
}
