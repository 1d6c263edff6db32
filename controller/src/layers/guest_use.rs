//! What of a disk the guest uses without a filesystem: allocated on the host, and out of FITRIM's reach. Notes: part of
//! the slack's interval, held by nobody that could let go of it.

use trimtab_proto::words::DeviceUse;

use super::{DiskFacts, Finding, Layer, State, stack::devices_above, words};
use crate::model::guest::{Device, GuestSurvey};

/// "LVM-" and the two ids of 32 characters (lib/dev_manager.c of LVM2, build_dm_uuid).
const LVM_UUID_CHARS: usize = 68;

/// Less than this is alignment and headers.
const WORTH_TELLING_BYTES: u64 = 16 << 20;

pub(super) fn findings(facts: &DiskFacts<'_>) -> Vec<Finding> {
    let Some((survey, disk)) = facts.paired() else { return Vec::new() };
    let above = devices_above(survey, &disk.id);
    let mut found: Vec<Finding> = above.iter().filter_map(|device| note(survey, disk, device)).collect();
    found.extend(backlog(facts));
    found
}

fn note(survey: &GuestSurvey, disk: &Device, device: &Device) -> Option<Finding> {
    let size = words::size(device.size_bytes);
    let name = &device.name;
    let of = |layer, text: String| Some(Finding::new(layer, State::Note, text));
    match device.used_for.known()? {
        _ if device.size_bytes < WORTH_TELLING_BYTES => None,
        DeviceUse::Swap => of(Layer::Filesystem, format!("{name} is swap, {size}: no trim reaches it")),
        // A disk that nothing uses has its own line.
        DeviceUse::Unused if device.id == disk.id => None,
        // What LVM maps for itself (a pool, its metadata) has a suffix behind the ids of group and volume.
        DeviceUse::Unused if device.dm_uuid.starts_with("LVM-") && device.dm_uuid.len() > LVM_UUID_CHARS => {
            None
        }
        DeviceUse::Unused => {
            of(Layer::Filesystem, format!("{name}, {size}, is in no use: no trim reaches it"))
        }
        DeviceUse::LvmMember => {
            let mapped = survey
                .devices
                .iter()
                .filter(|volume| volume.lower_ids.as_slice() == [device.id.as_str()])
                .fold(0_u64, |sum, volume| sum.saturating_add(volume.size_bytes));
            // A volume over several members could lie anywhere: then nothing is said.
            let spread = survey
                .devices
                .iter()
                .any(|volume| volume.lower_ids.len() > 1 && volume.lower_ids.contains(&device.id));
            let free = device.size_bytes.saturating_sub(mapped);
            if spread || free < WORTH_TELLING_BYTES {
                return None;
            }
            of(Layer::Lvm, format!("{name}: {} in no logical volume: no trim reaches it", words::size(free)))
        }
        _ => None,
    }
}

/// The first trim since the guest booted frees all that has gathered, and takes with it what could still be undeleted.
fn backlog(facts: &DiskFacts<'_>) -> Option<Finding> {
    const HEAVY_BYTES: u64 = 1 << 30;
    let (survey, disk) = facts.paired()?;
    let is_first = disk.discarded_bytes == Some(0) && facts.counters.arrived_bytes.unwrap_or(0) == 0;
    let used = super::stack::filesystems_on(survey, &disk.id)
        .try_fold(0_u64, |sum, on| Some(sum.saturating_add(on.filesystem.used_bytes?)))?;
    let gathered = facts.image?.allocated_bytes()?.checked_sub(used).filter(|bytes| *bytes >= HEAVY_BYTES)?;
    is_first.then(|| {
        let gathered = words::size(gathered);
        Finding::new(
            Layer::Filesystem,
            State::Note,
            format!("no trim since boot, some {gathered} gathered; deleted files are gone for good after it"),
        )
        .short("first trim")
        .warns()
    })
}

#[cfg(test)]
mod tests {
    use trimtab_proto::words::{DeviceKind, Wire};

    use super::*;
    use crate::layers::samples::{Sample, device as a_device};

    const GIB: u64 = 1 << 30;

    fn part(sample: &mut Sample, id: &str, used_for: DeviceUse, size_bytes: u64) {
        let mut device = a_device(id, "sda9", DeviceKind::Partition, &["8:0"]);
        device.size_bytes = size_bytes;
        device.used_for = Wire::Known(used_for);
        sample.survey.devices.push(device);
    }

    fn said(sample: &Sample) -> Vec<String> {
        let mut busy = sample.facts();
        busy.counters.arrived_bytes = Some(1);
        findings(&busy).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn what_lvm_maps_for_itself_is_in_use() {
        let mut sample = Sample::raw();
        part(&mut sample, "8:3", DeviceUse::Unused, 2 * GIB);
        let uuid = format!("LVM-{}", "x".repeat(64));
        for (suffix, expected) in [("", 1), ("-pool", 0), ("-tpool", 0)] {
            sample.survey.devices.last_mut().unwrap().dm_uuid = format!("{uuid}{suffix}");
            assert_eq!(said(&sample).len(), expected, "{suffix}");
        }
    }

    #[test]
    fn what_no_trim_reaches() {
        let mut sample = Sample::raw();
        assert!(said(&sample).is_empty());
        part(&mut sample, "8:2", DeviceUse::Swap, 4 * GIB);
        part(&mut sample, "8:3", DeviceUse::Unused, 2 * GIB);
        part(&mut sample, "8:4", DeviceUse::Unused, 1 << 20);
        assert_eq!(
            said(&sample),
            ["sda9 is swap, 4.0 GiB: no trim reaches it", "sda9, 2.0 GiB, is in no use: no trim reaches it"]
        );
        assert!(findings(&sample.facts()).iter().all(|f| f.held_bytes.is_none() && f.state == State::Note));
    }

    #[test]
    fn what_no_logical_volume_has() {
        let mut sample = Sample::raw();
        part(&mut sample, "8:5", DeviceUse::LvmMember, 10 * GIB);
        let mut volume = a_device("253:0", "dm-0", DeviceKind::Lvm, &["8:5"]);
        volume.size_bytes = 7 * GIB;
        sample.survey.devices.push(volume);
        assert_eq!(said(&sample), ["sda9: 3.0 GiB in no logical volume: no trim reaches it"]);
        sample.survey.devices.last_mut().unwrap().lower_ids.push("8:99".into());
        assert!(said(&sample).is_empty(), "it may lie on the other member");
    }

    #[test]
    fn the_first_trim_is_heavy() {
        let told = |sample: &Sample| findings(&sample.facts()).iter().any(|finding| finding.warns);
        let mut sample = Sample::raw();
        assert!(told(&sample));
        sample.guest_disk().discarded_bytes = Some(1);
        assert!(!told(&sample), "it has trimmed since boot");
        sample.guest_disk().discarded_bytes = Some(0);
        sample.survey.filesystems[0].used_bytes = Some(30 * GIB);
        assert!(!told(&sample), "nothing has gathered");
    }
}
