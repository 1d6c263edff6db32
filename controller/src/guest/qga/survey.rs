//! What qemu-ga says of a guest, in the words of a survey. Pure.
//!
//! It knows mount points, sizes and disks. Whether a disk can discard, what else it is used for and what was ever sent
//! stays unknown, so nothing here counts as free for certain.

use trimtab_proto::words::{DeviceKind, Wire};

use crate::{
    libvirt::agent::{AgentDisk, AgentFilesystem, GuestInfo},
    model::{
        guest::{AgentInfo, Device, Filesystem, GuestSurvey, Identity, Policy},
        vm::Via,
    },
};

/// Filesystems with the disks below them, as far as it knows them.
pub(super) fn of(info: GuestInfo) -> GuestSurvey {
    let mut disks: Vec<AgentDisk> = Vec::new();
    let mut filesystems = Vec::new();
    for (index, fs) in info.filesystems.iter().enumerate() {
        let leaves = fs.disks.iter().map(|disk| known(&mut disks, disk)).collect();
        filesystems.push(filesystem(index, fs, leaves));
    }
    let devices = disks.iter().enumerate().map(|(index, disk)| {
        let above: u64 = info
            .filesystems
            .iter()
            .filter(|fs| fs.disks.iter().any(|one| is_same(one, disk)))
            .filter_map(|fs| fs.total_bytes)
            .fold(0, u64::saturating_add);
        device(index, disk, above)
    });
    GuestSurvey {
        agent: AgentInfo {
            via: Via::Qga,
            version: String::new(),
            kernel: info.kernel.unwrap_or_default(),
            boot_id: String::new(),
            features: Vec::new(),
            policy: Policy {
                host_may_trim: true,
                host_may_probe: false,
                fastest: None,
                min_interval_secs: 0,
                also_allowed_types: Vec::new(),
            },
        },
        devices: devices.collect(),
        filesystems,
        fstrim_timer: None,
        not_listed: 0,
        missing: Vec::new(),
    }
}

/// The id of a disk, which is new or was seen below another filesystem.
fn known(disks: &mut Vec<AgentDisk>, disk: &AgentDisk) -> String {
    let index = disks.iter().position(|one| is_same(one, disk)).unwrap_or_else(|| {
        disks.push(disk.clone());
        disks.len().saturating_sub(1)
    });
    format!("disk:{index}")
}

/// Partitions of one disk have its target, or else its serial; without either each stands for itself.
fn is_same(one: &AgentDisk, other: &AgentDisk) -> bool {
    match (&one.target, &other.target) {
        (Some(one), Some(other)) => one == other,
        (None, None) if one.serial.is_some() || other.serial.is_some() => one.serial == other.serial,
        (None, None) => one.device == other.device,
        _ => false,
    }
}

fn filesystem(index: usize, fs: &AgentFilesystem, leaf_ids: Vec<String>) -> Filesystem {
    Filesystem {
        id: format!("fs:{index}"),
        mount: fs.mount.clone(),
        mounts: 1,
        fs_type: fs.fs_type.clone(),
        device_id: String::new(),
        leaf_ids,
        size_bytes: fs.total_bytes,
        used_bytes: fs.used_bytes,
        free_bytes: fs.total_bytes.zip(fs.used_bytes).and_then(|(total, used)| total.checked_sub(used)),
        skip: None,
        free_extents: Vec::new(),
        frozen: false,
        errors: None,
    }
}

/// What else lies on the disk is not known: all that stands on it may be allocated for other reasons.
fn device(index: usize, disk: &AgentDisk, size_bytes: u64) -> Device {
    let node = disk.device.as_deref().unwrap_or_default();
    let name = node.rsplit('/').next().filter(|name| !name.is_empty()).or(disk.target.as_deref());
    Device {
        id: format!("disk:{index}"),
        name: name.unwrap_or("?").to_owned(),
        kind: Wire::Known(DeviceKind::Disk),
        dm_uuid: String::new(),
        lower_ids: Vec::new(),
        size_bytes,
        read_only: false,
        discard_granularity: None,
        discard_max_bytes: None,
        discard_max_hw_bytes: None,
        discard_zeroes_data: None,
        discard_alignment: None,
        logical_block_bytes: 0,
        provisioning_mode: String::new(),
        identity: Identity {
            serial: disk.serial.clone().unwrap_or_default(),
            target: disk.target.clone(),
            ..Identity::default()
        },
        discarded_bytes: None,
        written_bytes: None,
        used_for: Wire::Unknown(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(target: Option<&str>, device: &str) -> AgentDisk {
        AgentDisk { target: target.map(str::to_owned), serial: None, device: Some(device.into()) }
    }

    fn fs(mount: &str, disks: &[AgentDisk]) -> AgentFilesystem {
        AgentFilesystem {
            mount: mount.into(),
            fs_type: "ext4".into(),
            total_bytes: Some(1000),
            used_bytes: Some(300),
            disks: disks.to_vec(),
        }
    }

    #[test]
    fn partitions_of_a_disk_are_one_disk() {
        let filesystems = vec![
            fs("/", &[disk(Some("vda"), "/dev/vda1")]),
            fs("/home", &[disk(Some("vda"), "/dev/vda2")]),
            fs("/both", &[disk(Some("vdb"), "/dev/vdb"), disk(None, "/dev/vdc")]),
            fs("/opaque", &[]),
        ];
        let survey = of(GuestInfo { kernel: None, filesystems });
        let names: Vec<&str> = survey.devices.iter().map(|device| device.name.as_str()).collect();
        assert_eq!(names, ["vda1", "vdb", "vdc"]);
        assert_eq!(survey.filesystems[3].leaf_ids, [""; 0]);
        assert_eq!(survey.filesystems[0].leaf_ids, survey.filesystems[1].leaf_ids);
        assert_eq!(survey.filesystems[2].leaf_ids.len(), 2);
        assert_eq!(survey.filesystems[0].free_bytes, Some(700));
        assert_eq!(survey.devices[0].size_bytes, 2000);
    }
}
