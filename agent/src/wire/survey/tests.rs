use trimtab_proto::words::{DeviceKind, DeviceUse, SkipReason};

use super::*;
use crate::model::{DiscardLimits, FreeExtents};

fn id(major: u32, minor: u32) -> DevNum {
    DevNum { major, minor }
}

fn device(id: DevNum, lower: &[DevNum]) -> Device {
    Device {
        id,
        name: format!("dev{id}"),
        kind: DeviceKind::Disk,
        dm_uuid: String::new(),
        lower: lower.to_vec(),
        size: 1 << 30,
        read_only: false,
        discard: DiscardLimits::default(),
        logical_block: 512,
        provisioning_mode: String::new(),
        identity: Identity::default(),
        discarded: None,
        written: Some(7),
        used_for: DeviceUse::Mounted,
    }
}

fn filesystem_on(id: DevNum, mount: &str, skip: Option<SkipReason>) -> Filesystem {
    Filesystem {
        id,
        mount: mount.into(),
        mounts: 1,
        fs_type: "ext4".to_owned(),
        device: Some(id),
        leaves: vec![id],
        inside: vec![],
        size: Some(1 << 30),
        used: Some(5),
        free: None,
        skip: skip.map(|reason| Skip { reason, device: None, text: "because".to_owned() }),
        free_extents: vec![FreeExtents { at_least: 4096, bytes: 9 }],
        frozen: false,
        errors: None,
    }
}

fn of(filesystems: Vec<Filesystem>, devices: Vec<Device>) -> v1::SurveyReply {
    let survey = Survey { filesystems, devices, ..Survey::default() };
    let reply = reply(v1::HelloReply::default(), &survey);
    assert!(reply.encoded_len() <= MAX_MESSAGE_BYTES, "{} bytes", reply.encoded_len());
    assert_eq!(
        usize::try_from(reply.not_listed).unwrap().checked_add(reply.filesystems.len()),
        Some(survey.filesystems.len()),
        "each filesystem is listed or counted"
    );
    let listed: BTreeSet<&str> = reply.devices.iter().map(|d| d.id.as_str()).collect();
    assert_eq!(listed.len(), reply.devices.len(), "no device twice");
    for fs in reply.filesystems.iter().filter(|fs| fs.skip.is_none()) {
        assert!(fs.leaf_ids.iter().chain([&fs.device_id]).all(|id| listed.contains(id.as_str())), "{fs:?}");
    }
    for device in &reply.devices {
        assert!(device.lower_ids.iter().all(|id| listed.contains(id.as_str())), "{device:?}");
    }
    reply
}

#[test]
fn a_usual_guest() {
    let disk = device(id(8, 0), &[]);
    let part = device(id(8, 1), &[id(8, 0)]);
    let root = Filesystem { leaves: vec![id(8, 0)], ..filesystem_on(id(8, 1), "/", None) };
    let proc = Filesystem {
        device: None,
        leaves: vec![],
        ..filesystem_on(id(0, 21), "/proc", Some(SkipReason::Pseudo))
    };
    let reply = of(vec![proc, root], vec![disk, part]);
    assert_eq!(reply.not_listed, 0);
    let root = &reply.filesystems[0];
    assert_eq!((root.id.as_str(), root.device_id.as_str(), root.mount.as_str()), ("8:1", "8:1", "/"));
    assert_eq!((root.size, root.used, root.free), (Some(1 << 30), Some(5), None));
    assert_eq!(reply.filesystems[1].skip.as_ref().unwrap().reason, i32::from(SkipReason::Pseudo));
    assert_eq!(reply.devices.len(), 2);
    assert_eq!(reply.devices[1].lower_ids, ["8:0"]);
    assert_eq!((reply.devices[0].discarded, reply.devices[0].written), (None, Some(7)));
}

#[test]
fn a_host_of_containers() {
    let skips = (0..5000).map(|n| filesystem_on(id(0, n), "/var/lib/x", Some(SkipReason::Pseudo)));
    let all = skips.chain([filesystem_on(id(8, 0), "/", None)]).collect();
    let reply = of(all, vec![device(id(8, 0), &[])]);
    assert_eq!(reply.filesystems.len(), MAX_LISTED_SKIPS + 1);
    assert_eq!(reply.filesystems[0].mount, "/", "what would be trimmed is never crowded out");
    assert_eq!(reply.not_listed, 5000 - 256);
}

#[test]
fn more_than_fits() {
    let long = "x".repeat(MAX_PATH * 2);
    let devices = (0..9000).map(|n| Device {
        identity: Identity { serial: long.clone(), wwid: long.clone(), ..Identity::default() },
        ..device(id(8, n), &[])
    });
    let trimmed = (0..3000).map(|n| filesystem_on(id(8, n), &long, None));
    let skips = (9000..9900).map(|n| Filesystem {
        skip: Some(Skip { reason: SkipReason::Type, device: None, text: "é".repeat(9000) }),
        ..filesystem_on(id(8, n), &long, None)
    });
    let reply = of(skips.chain(trimmed).collect(), devices.collect());
    assert!(!reply.filesystems.is_empty());
    assert!(reply.devices.iter().all(|d| d.identity.as_ref().unwrap().serial_may_be_cut));
}

#[test]
fn a_device_that_is_gone_takes_its_filesystem_along() {
    let reply = of(
        vec![filesystem_on(id(8, 1), "/gone", None), filesystem_on(id(8, 0), "/", None)],
        vec![device(id(8, 0), &[]), device(id(8, 16), &[id(9, 9)])],
    );
    assert_eq!(reply.filesystems.len(), 1);
    assert_eq!(reply.devices.len(), 1);
}

#[test]
fn devices_in_a_circle_end() {
    let reply = of(vec![], vec![device(id(7, 0), &[id(7, 1)]), device(id(7, 1), &[id(7, 0)])]);
    assert_eq!(reply.devices.len(), 0);
}

#[test]
fn words_are_visible_ascii() {
    assert_eq!(word("fuse.my fs\u{1b}é"), "fuse.my_fs__");
    assert_eq!(word(&"x".repeat(999)).len(), MAX_WORD);
    assert_eq!(cut("aé", 2), "a");
}
