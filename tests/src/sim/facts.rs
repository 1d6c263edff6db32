//! What a simulated VM says of itself when it is asked: hypervisor, guest and storage, disk by disk.

use std::path::PathBuf;

use trimtab_controller::model::{
    disk::{DriveDiscard, FreedClusters, HostDisk, SaidBy, VmFacts, VmState, VmmView},
    guest::{AgentInfo, Device, Filesystem, GuestSurvey, Identity, Policy},
    image::{Datastore, Format, Image, Underneath},
    vm::Via,
};
use trimtab_proto::words::{DeviceKind, DeviceUse, Wire};

use super::vm::{Behaviour, KEPT_BYTES, Spec};

/// Every guest is in its first boot.
pub const BOOT_ID: &str = "a-boot";

/// What each disk can hold.
const DISK_BYTES: u64 = 64 << 30;

/// The hypervisor's view.
pub fn view(spec: &Spec, is_stopped: bool, is_guarded: bool) -> VmmView {
    let state = match (spec.behaviour, is_stopped) {
        (Behaviour::Off, _) => VmState::Off,
        (_, true) => VmState::Stopped("io-error".to_owned()),
        _ => VmState::Running,
    };
    let vm =
        VmFacts { state: Some(state), job: is_guarded.then(|| "backup".to_owned()), ..VmFacts::default() };
    VmmView { vm, disks: (0..spec.datastores.len()).map(|index| host_disk(spec, index)).collect() }
}

/// The name of a disk on the host.
pub fn device(index: usize) -> String {
    format!("disk{index}")
}

/// The image of a disk.
pub fn image(spec: &Spec, index: usize) -> Image {
    Image { path: PathBuf::from(format!("/sim/{}-{index}.img", spec.name)), format: Format::Raw }
}

fn host_disk(spec: &Spec, index: usize) -> HostDisk {
    HostDisk {
        device: device(index),
        image: Some(image(spec, index)),
        protocol: "file".to_owned(),
        backing: Vec::new(),
        data_file: None,
        virtual_bytes: Some(DISK_BYTES),
        serial: Some(format!("DISK{index}")),
        wwn: None,
        address: None,
        front_end: "scsi-hd".to_owned(),
        guest_name: None,
        target: None,
        shareable: false,
        discard: match spec.behaviour {
            Behaviour::Cut => DriveDiscard::Ignore,
            _ => DriveDiscard::Unmap,
        },
        discard_said_by: SaidBy::default(),
        freed_clusters: FreedClusters::default(),
        block_job: None,
        dirty_bitmaps: 0,
    }
}

/// The datastore of a disk.
pub fn datastore(identity: &str) -> Datastore {
    Datastore {
        id: identity.to_owned(),
        identity: identity.to_owned(),
        path: PathBuf::from("/sim").join(identity),
        fs_type: "xfs".to_owned(),
        options: "rw".to_owned(),
        size_bytes: 1 << 50,
        free_bytes: 1 << 49,
        underneath: Underneath::Unknown,
    }
}

/// Who answers in a guest.
pub fn agent() -> AgentInfo {
    AgentInfo {
        via: Via::Agent,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: "6.12.0-sim".to_owned(),
        boot_id: BOOT_ID.to_owned(),
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

/// What a guest surveys: ext4 on the whole of each disk.
pub fn survey(spec: &Spec) -> GuestSurvey {
    let disks = 0..spec.datastores.len();
    GuestSurvey {
        agent: agent(),
        filesystems: disks.clone().map(filesystem).collect(),
        devices: disks.map(guest_disk).collect(),
        fstrim_timer: None,
        not_listed: 0,
        missing: Vec::new(),
    }
}

/// The guest's handle of a disk, and of the filesystem on it.
pub fn handle(index: usize) -> String {
    format!("8:{}", index * 16)
}

fn filesystem(index: usize) -> Filesystem {
    Filesystem {
        id: handle(index),
        mount: if index == 0 { "/".to_owned() } else { format!("/data{index}") },
        mounts: 1,
        fs_type: "ext4".to_owned(),
        device_id: handle(index),
        leaf_ids: vec![handle(index)],
        size_bytes: Some(DISK_BYTES),
        used_bytes: Some(KEPT_BYTES),
        free_bytes: Some(DISK_BYTES - KEPT_BYTES),
        skip: None,
        free_extents: Vec::new(),
        frozen: false,
        errors: None,
    }
}

fn guest_disk(index: usize) -> Device {
    Device {
        id: handle(index),
        name: format!("disk{index}"),
        kind: Wire::Known(DeviceKind::Disk),
        dm_uuid: String::new(),
        lower_ids: Vec::new(),
        size_bytes: DISK_BYTES,
        read_only: false,
        discard_granularity: Some(4096),
        discard_max_bytes: Some(1 << 30),
        discard_max_hw_bytes: Some(1 << 30),
        discard_zeroes_data: Some(0),
        discard_alignment: Some(0),
        logical_block_bytes: 512,
        provisioning_mode: String::new(),
        identity: Identity { serial: format!("DISK{index}"), ..Identity::default() },
        discarded_bytes: Some(0),
        written_bytes: Some(0),
        used_for: Wire::Known(DeviceUse::Mounted),
    }
}
