//! What a person sees of every kind of VM.

use super::*;
use crate::{
    layers::samples::host_disk,
    model::{
        endpoint::Cid,
        image::{Format, Image},
        trouble::{Kind, Trouble},
        uri::Uri,
        vm::{DeclaredDisk, Domain, DomainId},
    },
    render::COLUMNS,
};

fn domain(name: &str, state: VmState, link: Link, images: &[&str]) -> Vm {
    let id = DomainId { uri: Uri::default(), name: name.into(), uuid: "u".into() };
    let disks = images.iter().map(|image| host_disk("d", image)).collect();
    Vm { domain: Some(Domain { id, state: Some(state), link, disks, labels: Vec::new() }), ..Vm::named(name) }
}

#[test]
fn every_kind_of_vm() {
    let declared = DeclaredDisk {
        image: Image { path: "/guests/plain.img".into(), format: Format::Raw },
        serial: None,
        guest: None,
    };
    let away =
        Trouble::new(Kind::NoLibvirt, "libvirt (qemu:///session): it does not run").hint("start libvirtd");
    let vms = [
        Vm { agent: "unix:/run/vms/plain.vsock".parse().ok(), disks: vec![declared], ..Vm::named("plain") },
        Vm { qmp: Some("/run/vms/q.qmp".into()), labels: vec!["prod".into()], ..Vm::named("monitored") },
        domain("db-01", VmState::Running, Link::Vsock(Some(Cid(7))), &["/guests/db.img", "/guests/log.img"]),
        domain("web-01", VmState::Stopped("paused".into()), Link::Vsock(None), &["/guests/web\u{1b}.img"]),
        domain("old-7", VmState::Off, Link::Missing, &[]),
        Vm { not_read: Some(away), ..Vm::named("qemu:///session") },
    ];
    let shown = table(&vms);
    assert_eq!(
        shown,
        "\
VM         STATE    AGENT                      QMP             DISKS        LABELS
plain      -        unix:/run/vms/plain.vsock  -               plain.img
monitored  -        -                          /run/vms/q.qmp  from QMP     prod
db-01      running  vsock:7                    -               db.img +1
web-01     paused   vsock                      -               web\\x1b.img
old-7      off      no vsock device            -               -
not read: libvirt (qemu:///session): it does not run
  start libvirtd
"
    );
    assert!(shown.lines().all(|line| line.chars().count() <= COLUMNS));
}
