//! `trimtab.list/1`.

use serde::Serialize;

use crate::model::{endpoint::Endpoint, vm::Vm};

/// The document.
#[derive(Serialize, Debug)]
pub struct ListDocument {
    schema: &'static str,
    exit: u8,
    vms: Vec<VmJson>,
}

#[derive(Serialize, Debug)]
struct VmJson {
    name: String,
    agent: Option<String>,
    qmp: Option<String>,
    labels: Vec<String>,
    disks: Vec<DiskJson>,
}

#[derive(Serialize, Debug)]
struct DiskJson {
    image: String,
    format: String,
    serial: Option<String>,
    guest: Option<String>,
}

impl ListDocument {
    /// Of these VMs.
    pub fn new(vms: &[Vm]) -> Self {
        let vms = vms
            .iter()
            .map(|vm| VmJson {
                name: vm.name.clone(),
                agent: vm.agent.as_ref().map(Endpoint::to_string),
                qmp: vm.qmp.as_ref().map(|path| path.display().to_string()),
                labels: vm.labels.clone(),
                disks: vm
                    .disks
                    .iter()
                    .map(|disk| DiskJson {
                        image: disk.image.path.display().to_string(),
                        format: disk.image.format.as_str().to_owned(),
                        serial: disk.serial.clone(),
                        guest: disk.guest.clone(),
                    })
                    .collect(),
            })
            .collect();
        Self { schema: "trimtab.list/1", exit: 0, vms }
    }
}
