//! A healthy disk as the tests of layers and ledger vary it.

use std::path::PathBuf;

use trimtab_proto::words::{DeviceKind, DeviceUse, Wire};

use super::DiskFacts;
use crate::model::{
    disk::{DiskCounters, DriveDiscard, FreedClusters, HostDisk, SaidBy, VmFacts, VmState},
    guest::{AgentInfo, Device, Filesystem, GuestSurvey, Identity, Policy},
    image::{Allocation, Datastore, Format, Image, ImageFacts, Place, Qcow2Header, Underneath},
    vm::Via,
};

pub(crate) const HEADER: Qcow2Header = Qcow2Header {
    version: 3,
    cluster_bytes: 65536,
    virtual_bytes: 40 << 30,
    has_backing_file: false,
    snapshots: 0,
    extended_l2: false,
    external_data_file: false,
    bitmaps: 0,
    is_corrupt: false,
};

/// One VM with one disk, sda, and ext4 on it.
pub(crate) struct Sample {
    pub(crate) vm: VmFacts,
    pub(crate) host: HostDisk,
    pub(crate) image: ImageFacts,
    pub(crate) counters: DiskCounters,
    pub(crate) survey: GuestSurvey,
    pub(crate) paired: bool,
    pub(crate) used_by_others: Vec<String>,
}

impl Sample {
    pub(crate) fn raw() -> Self {
        Self {
            vm: VmFacts { state: Some(VmState::Running), ..VmFacts::default() },
            host: host_disk("disk0", "/guests/a.img"),
            image: ImageFacts {
                allocation: Allocation {
                    allocated_bytes: Some(30 << 30),
                    length_bytes: 40 << 30,
                    file: (1, 2),
                    is_block_device: false,
                },
                header: None,
                place: Place { datastore: Some(a_datastore()), ..Place::default() },
                backing_allocated_bytes: None,
                is_shared: None,
            },
            counters: DiskCounters::default(),
            survey: GuestSurvey {
                agent: agent_info(),
                filesystems: vec![filesystem("8:1", "/", &["8:0"])],
                devices: vec![
                    device("8:0", "sda", DeviceKind::Disk, &[]),
                    device("8:1", "sda1", DeviceKind::Partition, &["8:0"]),
                ],
                fstrim_timer: None,
                not_listed: 0,
                missing: Vec::new(),
            },
            paired: true,
            used_by_others: Vec::new(),
        }
    }

    pub(crate) fn qcow2(header: Qcow2Header) -> Self {
        let mut sample = Self::raw();
        sample.set_format(Format::Qcow2);
        sample.image.header = Some(header);
        sample
    }

    pub(crate) fn set_format(&mut self, format: Format) {
        self.host.image.as_mut().unwrap().format = format;
    }

    pub(crate) fn datastore(&mut self) -> &mut Datastore {
        self.image.place.datastore.as_mut().unwrap()
    }

    pub(crate) fn guest_disk(&mut self) -> &mut Device {
        &mut self.survey.devices[0]
    }

    pub(crate) fn facts(&self) -> DiskFacts<'_> {
        DiskFacts {
            vm: &self.vm,
            host: &self.host,
            image: Some(&self.image),
            counters: self.counters,
            survey: Some(&self.survey),
            guest: self.paired.then(|| &self.survey.devices[0]),
            used_by_others: &self.used_by_others,
        }
    }
}

fn a_datastore() -> Datastore {
    Datastore {
        id: "8:1".into(),
        identity: "ext4:uuid@host".into(),
        path: "/guests".into(),
        fs_type: "ext4".into(),
        options: "rw,relatime".into(),
        size_bytes: 1 << 40,
        free_bytes: 1 << 39,
        underneath: Underneath::Unknown,
    }
}

pub(crate) fn host_disk(device: &str, image: &str) -> HostDisk {
    HostDisk {
        device: device.into(),
        image: Some(Image { path: PathBuf::from(image), format: Format::Raw }),
        protocol: "file".into(),
        backing: Vec::new(),
        data_file: None,
        virtual_bytes: Some(40 << 30),
        serial: None,
        wwn: None,
        address: None,
        front_end: "scsi-hd".into(),
        guest_name: None,
        target: None,
        shareable: false,
        discard: DriveDiscard::Unmap,
        discard_said_by: SaidBy::default(),
        freed_clusters: FreedClusters::default(),
        block_job: None,
        dirty_bitmaps: 0,
    }
}

pub(crate) fn agent_info() -> AgentInfo {
    AgentInfo {
        via: Via::Agent,
        version: "0.1.0".into(),
        kernel: "6.1.0".into(),
        boot_id: "b".into(),
        features: Vec::new(),
        policy: Policy {
            host_may_trim: true,
            host_may_probe: false,
            fastest: None,
            min_interval_secs: 0,
            also_allowed_types: Vec::new(),
        },
    }
}

pub(crate) fn device(id: &str, name: &str, kind: DeviceKind, lower: &[&str]) -> Device {
    Device {
        id: id.into(),
        name: name.into(),
        kind: Wire::Known(kind),
        dm_uuid: String::new(),
        lower_ids: lower.iter().map(|id| (*id).to_owned()).collect(),
        size_bytes: 40 << 30,
        read_only: false,
        discard_granularity: Some(4096),
        discard_max_bytes: Some(1 << 30),
        discard_max_hw_bytes: Some(1 << 30),
        discard_zeroes_data: Some(0),
        discard_alignment: Some(0),
        logical_block_bytes: 512,
        provisioning_mode: String::new(),
        identity: Identity::default(),
        discarded_bytes: Some(0),
        written_bytes: Some(0),
        used_for: Wire::Known(DeviceUse::Mounted),
    }
}

pub(crate) fn filesystem(id: &str, mount: &str, leaves: &[&str]) -> Filesystem {
    Filesystem {
        id: id.into(),
        mount: mount.into(),
        mounts: 1,
        fs_type: "ext4".into(),
        device_id: id.into(),
        leaf_ids: leaves.iter().map(|id| (*id).to_owned()).collect(),
        size_bytes: Some(40 << 30),
        used_bytes: Some(10 << 30),
        free_bytes: Some(30 << 30),
        skip: None,
        free_extents: Vec::new(),
        frozen: false,
        errors: None,
    }
}
