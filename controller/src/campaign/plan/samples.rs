//! A plan as the tests of this folder vary it.

use super::{LeftOut, Plan, PlanDatastore, PlanDisk, PlanHost, PlanVm, Reason};
use crate::campaign::{
    limits::Limits,
    seen::{SeenDisk, SeenImage},
};

const GIB: u64 = 1 << 30;

pub(crate) const HOST: &str = "0123456789abcdef0123456789abcdef";

pub(crate) fn vm(name: &str, image: &str, datastore: &str) -> PlanVm {
    PlanVm {
        name: name.into(),
        host: HOST.into(),
        uuid: Some(format!("uuid-of-{name}")),
        expected_bytes: 19 * GIB,
        at_most_bytes: Some(20 * GIB),
        first: true,
        notes: Vec::new(),
        disks: vec![PlanDisk { image: image.into(), inode: 7, datastore: Some(datastore.into()) }],
        line: 0,
    }
}

pub(crate) fn plan() -> Plan {
    let mut db = vm("db-1", "/guests/db \"1\".img", "ext4:uuid@host");
    db.uuid = None;
    db.at_most_bytes = None;
    db.first = false;
    db.notes = vec!["sdb is cut at drive: \u{1b}[31mno".into()];
    db.disks.push(PlanDisk { image: "/dev/vg0/db".into(), inode: 8, datastore: None });
    Plan {
        name: "nightly".into(),
        hosts: vec![host(HOST, "node1")],
        is_fleet: false,
        surveyed: "2026-11-22T22:00:00Z".parse().unwrap(),
        limits: Limits { gates: vec!["ceph".into()], ..Limits::default() },
        windows: vec!["Mon-Fri 22:00-05:00 Europe/Berlin".parse().unwrap()],
        window_weeks: 8,
        datastores: vec![PlanDatastore {
            name: "ext4:uuid@host".into(),
            path: "/guests".into(),
            size_bytes: 1000 * GIB,
            free_bytes: 100 * GIB,
            expected_bytes: 38 * GIB,
        }],
        vms: vec![vm("web-1", "/guests/web-1.img", "ext4:uuid@host"), db],
        left_out: vec![
            LeftOut {
                name: "build-2".into(),
                host: HOST.into(),
                reason: Reason::Cut,
                text: "vda: drive: no discard= on this disk".into(),
                paste: Some("trimtab doctor build-2 --fix".into()),
            },
            LeftOut {
                name: "old-7".into(),
                host: HOST.into(),
                reason: Reason::Off,
                text: "the VM is off".into(),
                paste: None,
            },
        ],
    }
}

pub(crate) fn host(id: &str, name: &str) -> PlanHost {
    PlanHost { id: id.into(), name: name.into(), published: "2026-11-22T22:00:00Z".parse().unwrap() }
}

/// The same over two hosts, each of which has a VM called web-1.
pub(crate) fn fleet() -> Plan {
    let mut plan = plan();
    plan.is_fleet = true;
    plan.hosts.push(host("fedcba9876543210fedcba9876543210", "node2"));
    let mut other = vm("web-1", "/guests/web-1.img", "ext4:uuid@host");
    other.host = plan.hosts[1].id.clone();
    other.uuid = Some("another".into());
    plan.vms.push(other);
    plan.left_out[1].host = plan.hosts[1].id.clone();
    plan
}

/// A disk with this image that a trim would take.
pub(crate) fn seen_disk(image: SeenImage) -> SeenDisk {
    SeenDisk {
        name: "vda".into(),
        image: Some(image),
        slack: None,
        allocated_bytes: None,
        used_bytes: None,
        goes: true,
    }
}
