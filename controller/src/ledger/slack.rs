//! Slack: what a trim of one disk could free at most, and at least.

use trimtab_proto::words::DeviceUse;

use crate::{
    layers::{DiskFacts, extents, stack},
    model::guest::Filesystem,
};

/// What a trim could free, in bytes, as an interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Slack {
    /// After leaving out all that is allocated for other reasons.
    pub min_bytes: u64,
    /// allocated − used.
    pub max_bytes: u64,
}

/// Bytes that a filesystem uses of its device: its size less its free extents where they are known, since that
/// counts the filesystem's own structures too; else what statfs says.
fn used(fs: &Filesystem) -> Option<u64> {
    let free = fs.free_extents.iter().map(|class| class.bytes).max();
    match (fs.size_bytes, free) {
        (Some(size), Some(free)) => Some(size.saturating_sub(free)),
        _ => fs.used_bytes,
    }
}

/// Bytes that the filesystems on this disk use; `None` where one of them spans several disks, or says nothing.
pub fn used_bytes(facts: &DiskFacts<'_>) -> Option<u64> {
    let (survey, disk) = facts.paired()?;
    stack::filesystems_on(survey, &disk.id)
        .map(|on| if on.alone { used(on.filesystem) } else { None })
        .try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)))
}

/// The slack of a disk. `None` where it cannot be said: an overlay over a backing file (what the guest uses may lie
/// below), a compressing host filesystem, a block device, a disk that was not paired, a filesystem over several
/// disks.
pub fn slack(facts: &DiskFacts<'_>) -> Option<Slack> {
    let image = facts.image?;
    let over_backing =
        !facts.host.backing.is_empty() || image.header.is_some_and(|header| header.has_backing_file);
    if over_backing || image.place.is_compressed {
        return None;
    }
    let max_bytes = image.allocated_bytes()?.saturating_sub(used_bytes(facts)?);
    let min_bytes = max_bytes.saturating_sub(held_elsewhere(facts)?);
    Some(Slack { min_bytes, max_bytes })
}

/// What may be allocated although no filesystem uses it and no trim can free it.
fn held_elsewhere(facts: &DiskFacts<'_>) -> Option<u64> {
    let (survey, disk) = facts.paired()?;
    let piece = extents::smallest_piece(facts);
    let too_small = |fs| piece.and_then(|piece| extents::free_below(fs, piece)).unwrap_or(0);
    let filesystems = stack::filesystems_on(survey, &disk.id).map(|on| {
        let fs = on.filesystem;
        let total = fs.size_bytes.unwrap_or(0);
        match &fs.skip {
            // Not trimmed: all of it that is not used stays.
            Some(_) => total.saturating_sub(used(fs).unwrap_or(0)),
            None => overhead(fs).saturating_add(too_small(fs)),
        }
    });
    let devices = stack::devices_above(survey, &disk.id).into_iter().map(|device| {
        match device.used_for.known() {
            Some(DeviceUse::Swap | DeviceUse::Unused) => device.size_bytes,
            // What no logical volume maps, and what lies before the first partition or the crypt header.
            Some(
                DeviceUse::LvmMember
                | DeviceUse::CryptMember
                | DeviceUse::MdMember
                | DeviceUse::Partitioned
                | DeviceUse::MappedMember
                | DeviceUse::MultipathMember,
            ) => {
                let above = survey
                    .devices
                    .iter()
                    .filter(|d| d.lower_ids.contains(&device.id))
                    .fold(0_u64, |sum, d| sum.saturating_add(d.size_bytes));
                device.size_bytes.saturating_sub(above)
            }
            Some(DeviceUse::Mounted) => {
                let fs = survey.filesystems.iter().find(|fs| fs.device_id == device.id);
                device.size_bytes.saturating_sub(fs.and_then(|fs| fs.size_bytes).unwrap_or(device.size_bytes))
            }
            None => device.size_bytes,
        }
    });
    Some(filesystems.chain(devices).fold(0, u64::saturating_add))
}

/// A filesystem's own structures, which statfs counts neither as used nor as free (ext4's inode tables and journal).
fn overhead(fs: &Filesystem) -> u64 {
    match (fs.free_extents.is_empty(), fs.size_bytes, fs.used_bytes, fs.free_bytes) {
        (true, Some(size), Some(used), Some(free)) => size.saturating_sub(used.saturating_add(free)),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use trimtab_proto::words::{DeviceKind, SkipReason, Wire};

    use super::*;
    use crate::{
        layers::samples::{HEADER, Sample, device, filesystem},
        model::{
            guest::{FreeExtents, Skip},
            image::Qcow2Header,
        },
    };

    const GIB: u64 = 1 << 30;

    fn both(sample: &Sample) -> Option<(u64, u64)> {
        slack(&sample.facts()).map(|s| (s.min_bytes / GIB, s.max_bytes / GIB))
    }

    #[test]
    fn allocated_less_used() {
        assert_eq!(both(&Sample::raw()), Some((20, 20)));
    }

    #[test]
    fn free_extents_outrank_statfs() {
        let mut sample = Sample::raw();
        // 40 GiB of device, 25 free in extents: 15 used, structures included, where statfs said 10.
        sample.survey.filesystems[0].free_extents =
            vec![FreeExtents { at_least_bytes: 4096, bytes: 25 * GIB }];
        assert_eq!(both(&sample), Some((15, 15)));
    }

    #[test]
    fn what_statfs_does_not_count_is_in_the_interval() {
        let mut sample = Sample::raw();
        sample.survey.filesystems[0].free_bytes = Some(29 * GIB);
        assert_eq!(both(&sample), Some((19, 20)));
    }

    #[test]
    fn swap_and_unused_partitions_hold() {
        let mut sample = Sample::raw();
        for (id, used) in [("8:2", DeviceUse::Swap), ("8:3", DeviceUse::Unused)] {
            let mut part = device(id, "sdaX", DeviceKind::Partition, &["8:0"]);
            part.size_bytes = 4 * GIB;
            part.used_for = Wire::Known(used);
            sample.survey.devices.push(part);
        }
        assert_eq!(both(&sample), Some((12, 20)));
    }

    #[test]
    fn a_volume_groups_free_extents_hold() {
        let mut sample = Sample::raw();
        sample.survey.devices[1].used_for = Wire::Known(DeviceUse::LvmMember);
        let mut lv = device("253:0", "dm-0", DeviceKind::Lvm, &["8:1"]);
        lv.size_bytes = 35 * GIB;
        sample.survey.devices.push(lv);
        let mut fs = filesystem("253:0", "/", &["8:0"]);
        fs.size_bytes = Some(35 * GIB);
        fs.free_bytes = Some(25 * GIB);
        sample.survey.filesystems = vec![fs];
        assert_eq!(both(&sample), Some((15, 20)));
    }

    #[test]
    fn a_skipped_filesystem_holds_its_free_space() {
        let mut sample = Sample::raw();
        sample.survey.filesystems[0].skip = Some(Skip {
            reason: Wire::Known(SkipReason::Type),
            device_id: String::new(),
            text: String::new(),
        });
        assert_eq!(both(&sample), Some((0, 20)));
    }

    #[test]
    fn pieces_below_the_cluster_hold() {
        let mut sample = Sample::qcow2(HEADER);
        sample.survey.filesystems[0].free_extents = vec![
            FreeExtents { at_least_bytes: 4096, bytes: 30 * GIB },
            FreeExtents { at_least_bytes: 65536, bytes: 24 * GIB },
        ];
        assert_eq!(both(&sample), Some((14, 20)));
    }

    #[test]
    fn unknown_where_it_cannot_be_said() {
        let overlay = Sample::qcow2(Qcow2Header { has_backing_file: true, ..HEADER });
        assert_eq!(both(&overlay), None);
        let mut unmeasured = Sample::raw();
        unmeasured.image.allocation.allocated_bytes = None;
        assert_eq!(both(&unmeasured), None);
        let mut compressed = Sample::raw();
        compressed.image.place.is_compressed = true;
        assert_eq!(both(&compressed), None);
        let mut spanning = Sample::raw();
        spanning.survey.filesystems[0].leaf_ids.push("8:16".into());
        assert_eq!(both(&spanning), None);
        let mut unpaired = Sample::raw();
        unpaired.paired = false;
        assert_eq!(both(&unpaired), None);
    }

    #[test]
    fn never_below_zero() {
        let mut sample = Sample::raw();
        sample.survey.filesystems[0].used_bytes = Some(u64::MAX);
        assert_eq!(both(&sample), Some((0, 0)));
    }
}
