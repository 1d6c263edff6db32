//! `trimtab.list/1`.

use serde::Serialize;

use crate::model::{
    disk::{HostDisk, Link, VmState},
    endpoint::{Endpoint, Port},
    trouble::Trouble,
    vm::{DeclaredDisk, Vm},
};

/// The document.
#[derive(Serialize, Debug)]
pub struct ListDocument {
    schema: &'static str,
    exit: u8,
    vms: Vec<VmJson>,
    /// Why VMs of some source are not here.
    not_read: Vec<Trouble>,
}

#[derive(Serialize, Debug)]
struct VmJson {
    name: String,
    /// "running", "off", or why it stands still; `null` where nothing tells.
    state: Option<String>,
    /// Where libvirt knows it.
    domain: Option<DomainJson>,
    agent: Option<String>,
    qmp: Option<String>,
    labels: Vec<String>,
    disks: Vec<DiskJson>,
}

#[derive(Serialize, Debug)]
struct DomainJson {
    uri: String,
    name: String,
    uuid: String,
}

#[derive(Serialize, Debug)]
struct DiskJson {
    /// libvirt's name for it.
    target: Option<String>,
    /// `null` where it is none of this host's.
    image: Option<String>,
    format: Option<String>,
    serial: Option<String>,
    guest: Option<String>,
}

impl ListDocument {
    /// Of these VMs.
    pub fn new(vms: &[Vm], exit: u8) -> Self {
        let not_read = vms.iter().filter_map(|vm| vm.not_read.clone()).collect();
        let vms = vms.iter().filter(|vm| vm.not_read.is_none()).map(vm_json).collect();
        Self { schema: "trimtab.list/1", exit, vms, not_read }
    }
}

fn vm_json(vm: &Vm) -> VmJson {
    let link = match vm.domain.as_ref().map(|domain| domain.link) {
        Some(Link::Vsock(Some(cid))) => Some(Endpoint::Vsock { cid, port: Port::AGENT }),
        _ => None,
    };
    VmJson {
        name: vm.name.clone(),
        state: vm.domain.as_ref().and_then(|domain| domain.state.as_ref()).map(|state| match state {
            VmState::Running => "running".to_owned(),
            VmState::Stopped(why) => why.clone(),
            VmState::Off => "off".to_owned(),
        }),
        domain: vm.domain.as_ref().map(|domain| DomainJson {
            uri: domain.id.uri.to_string(),
            name: domain.id.name.clone(),
            uuid: domain.id.uuid.clone(),
        }),
        agent: vm.agent.as_ref().or(link.as_ref()).map(Endpoint::to_string),
        qmp: vm.qmp.as_ref().map(|path| path.display().to_string()),
        labels: vm.labels.clone(),
        disks: match &vm.domain {
            Some(domain) => domain.disks.iter().map(of_domain).collect(),
            None => vm.disks.iter().map(declared).collect(),
        },
    }
}

fn of_domain(disk: &HostDisk) -> DiskJson {
    DiskJson {
        target: disk.target.clone(),
        image: disk.image.as_ref().map(|image| image.path.display().to_string()),
        format: disk.image.as_ref().map(|image| image.format.as_str().to_owned()),
        serial: disk.serial.clone(),
        guest: None,
    }
}

fn declared(disk: &DeclaredDisk) -> DiskJson {
    DiskJson {
        target: None,
        image: Some(disk.image.path.display().to_string()),
        format: Some(disk.image.format.as_str().to_owned()),
        serial: disk.serial.clone(),
        guest: disk.guest.clone(),
    }
}
