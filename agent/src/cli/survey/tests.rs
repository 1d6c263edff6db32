use std::{io, path::Path};

use trimtab_proto::words::{DeviceKind, DeviceUse, SkipReason};

use super::*;
use crate::{
    model::{DevNum, Device, DiscardLimits, Filesystem, FreeExtents, Identity, Skip, Survey, Timer},
    sys::{SysError, system::System},
};

fn id(major: u32, minor: u32) -> DevNum {
    DevNum { major, minor }
}

fn filesystem(id: DevNum, mount: &str, fs_type: &str, skip: Option<(SkipReason, &str)>) -> Filesystem {
    Filesystem {
        id,
        mount: mount.into(),
        mounts: 1,
        fs_type: fs_type.to_owned(),
        device: None,
        leaves: vec![],
        inside: vec![],
        size: None,
        used: None,
        free: None,
        skip: skip.map(|(reason, text)| Skip { reason, device: None, text: text.to_owned() }),
        free_extents: vec![],
        frozen: false,
        errors: None,
    }
}

fn disk(id: DevNum, name: &str, discard: DiscardLimits, used_for: DeviceUse) -> Device {
    Device {
        id,
        name: name.to_owned(),
        kind: DeviceKind::Disk,
        dm_uuid: String::new(),
        lower: vec![],
        size: 40 << 30,
        read_only: false,
        discard,
        logical_block: 512,
        provisioning_mode: "unmap".to_owned(),
        identity: Identity { serial: "DISK0".to_owned(), ..Identity::default() },
        discarded: Some(3 << 20),
        written: None,
        used_for,
    }
}

fn a_survey() -> Survey {
    let sda = DiscardLimits { granularity: Some(4096), max_bytes: Some(1 << 30), ..DiscardLimits::default() };
    let sdb = DiscardLimits { granularity: Some(0), ..DiscardLimits::default() };
    let root = Filesystem {
        device: Some(id(8, 0)),
        leaves: vec![id(8, 0)],
        size: Some(40 << 30),
        used: Some(12 << 30),
        free: Some(27 << 30),
        free_extents: vec![FreeExtents { at_least: 4096, bytes: 9 }],
        ..filesystem(id(8, 0), "/", "ext4", None)
    };
    let why = "sdb offers no discard to this guest: its host decides that; and this sentence goes on for so long \
               that it needs a second line";
    let data = Filesystem {
        size: Some(80 << 30),
        leaves: vec![id(8, 16)],
        errors: Some(3),
        ..filesystem(id(8, 16), "/srv/\u{1b}[31mdata", "xfs", Some((SkipReason::NoDiscard, why)))
    };
    let proc = filesystem(id(0, 21), "/proc", "proc", Some((SkipReason::Pseudo, "proc keeps nothing")));
    Survey {
        filesystems: vec![proc, root, data],
        devices: vec![
            disk(id(8, 0), "sda", sda, DeviceUse::Mounted),
            Device { discarded: None, ..disk(id(8, 16), "sdb", sdb, DeviceUse::Unused) },
        ],
        fstrim_timer: Timer { installed: true, active: true, next_unix_secs: None },
        missing: vec!["this kernel does not count discarded bytes (Linux 4.18 does)".to_owned()],
    }
}

#[test]
fn the_page() {
    let page = people::page(&a_survey());
    let expected = "\
FILESYSTEM           TYPE  DISK      SIZE      USED      FREE  TRIM
/srv/\\u{1b}[31mdata  xfs   sdb   80.0 GiB         ?         ?  no: no discard
/                    ext4  sda   40.0 GiB  12.0 GiB  27.0 GiB  yes

/srv/\\u{1b}[31mdata: sdb offers no discard to this guest: its host decides that; and this sentence
  goes on for so long that it needs a second line

Not on this system's disks: 1 pseudo, 0 network filesystems (see --json).

DEVICE  KIND  USE          SIZE  GRANULARITY  DISCARD MAX  DISCARDED  SERIAL
sda     disk  mounted  40.0 GiB      4.0 KiB      1.0 GiB    3.0 MiB  DISK0
sdb     disk  -        40.0 GiB         none            ?          ?  DISK0

this kernel does not count discarded bytes (Linux 4.18 does)
/srv/\\u{1b}[31mdata: the kernel has counted 3 errors on it; unmount it and run fsck.
fstrim.timer is enabled too: it trims once a week by itself.
";
    assert_eq!(page, expected, "\n{page}");
}

#[test]
fn no_line_is_wider_than_a_hundred_columns() {
    let long = "/a-name-that-goes-on".repeat(20);
    let mut survey = a_survey();
    for fs in &mut survey.filesystems {
        fs.mount = long.clone().into();
        fs.leaves = (0..40).map(|minor| id(8, minor)).collect();
    }
    for device in &mut survey.devices {
        device.name = "a-device-with-a-very-long-name-indeed".to_owned();
        device.identity.serial = long.clone();
        device.used_for = DeviceUse::MultipathMember;
        device.kind = DeviceKind::Multipath;
    }
    let page = people::page(&survey);
    // A path stands whole in its sentence, so that it can be copied.
    let wide = page.lines().filter(|line| line.chars().count() > 100 && !line.starts_with('/'));
    assert_eq!(wide.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn the_document() {
    let system = System { kernel: "6.12.0".to_owned(), boot_id: "b".to_owned() };
    let text = json::document(&system, &a_survey()).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(text.starts_with("{\n  \"schema\": \"trimtab-agent.survey/1\",\n"), "{text}");
    assert_eq!(
        value["filesystems"][1],
        serde_json::json!({
            "id": "8:0", "mount": "/", "mounts": 1, "type": "ext4", "device": "8:0", "on": ["8:0"], "inside": [],
            "size_bytes": 40_u64 << 30, "used_bytes": 12_u64 << 30, "free_bytes": 27_u64 << 30,
            "free_extents": [{ "at_least_bytes": 4096, "bytes": 9 }], "frozen": false, "errors": null, "skipped": null,
        })
    );
    assert_eq!(
        value["filesystems"][0]["skipped"],
        serde_json::json!({ "reason": "pseudo", "device": null, "text": "proc keeps nothing" })
    );
    assert_eq!(
        value["devices"][1],
        serde_json::json!({
            "id": "8:16", "name": "sdb", "kind": "disk", "use": "unused", "on": [], "size_bytes": 40_u64 << 30,
            "read_only": false, "logical_block_bytes": 512, "discard_granularity": 0, "discard_max_bytes": null,
            "discard_max_hw_bytes": null, "discard_zeroes_data": null, "discard_alignment": null,
            "provisioning_mode": "unmap", "dm_uuid": null, "serial": "DISK0", "serial_may_be_cut": false,
            "wwid": null, "scsi_hctl": null, "pci_address": null, "discarded_bytes": null, "written_bytes": null,
        })
    );
    assert_eq!(value["agent"]["kernel"], "6.12.0");
    assert_eq!(value["fstrim_timer"]["next_unix_secs"], serde_json::Value::Null);
}

#[test]
fn an_error_is_a_document_too() {
    let gone = io::Error::from(io::ErrorKind::PermissionDenied);
    let text = json::failure(&SysError::read(Path::new("/proc/self/mountinfo"))(gone)).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["error"]["text"], "cannot read /proc/self/mountinfo: permission denied");
}
