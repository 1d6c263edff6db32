//! The hypervisor: the port [`Vmm`] over QMP, or from what the inventory declares. Asks, and never changes anything.

mod blocks;
mod cmdline;
mod declared;
mod process;
mod protocol;
mod qdev;
mod qmp;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::{
    blocks::{Block, FoundDisk, Job, Node, Stats, Status},
    process::Process,
    qmp::Session,
};
use crate::{
    model::{
        disk::{DiskCounters, HostDisk, Manager, VmFacts, VmmView},
        trouble::Trouble,
        vm::{DeclaredDisk, Vm},
    },
    same_file::RealNames,
    trim::ports::Vmm,
};

/// The hypervisor of one VM.
#[derive(Clone, Debug)]
pub enum HostVmm {
    /// QEMU's monitor, with what the inventory knows beyond it.
    Qmp {
        /// The monitor's socket.
        socket: PathBuf,
        /// `[[vm.disk]]` beside it.
        declared: Vec<DeclaredDisk>,
    },
    /// The inventory alone: no state, no counters.
    Declared(Vec<DeclaredDisk>),
}

impl HostVmm {
    /// The best way to this VM's hypervisor that the inventory names.
    pub fn of(vm: &Vm) -> Self {
        let declared = vm.disks.clone();
        match &vm.qmp {
            Some(socket) => Self::Qmp { socket: socket.clone(), declared },
            None => Self::Declared(declared),
        }
    }
}

impl Vmm for HostVmm {
    async fn look(&self) -> Result<VmmView, Trouble> {
        match self {
            Self::Declared(declared) => Ok(declared::view(declared)),
            Self::Qmp { socket, declared } => {
                let mut view = look(socket).await?;
                merge(&mut view.disks, declared).await;
                Ok(view)
            }
        }
    }

    async fn counters(&self) -> Result<Vec<(String, DiskCounters)>, Trouble> {
        match self {
            Self::Declared(_) => Ok(Vec::new()),
            Self::Qmp { socket, .. } => {
                let mut session = Session::open(socket).await?;
                let stats: Vec<Stats> = session.ask("query-blockstats", &Value::Null).await?;
                Ok(blocks::counters(&stats))
            }
        }
    }
}

async fn look(socket: &Path) -> Result<VmmView, Trouble> {
    let mut session = Session::open(socket).await?;
    let process = match session.peer_pid() {
        Some(pid) => Process::read(pid).await,
        None => Process::default(),
    };
    let status: Status = session.ask("query-status", &Value::Null).await?;
    let blocks: Vec<Block> = session.ask("query-block", &Value::Null).await?;
    // Without `flat` each node repeats its whole backing chain.
    let nodes: Vec<Node> = session.ask("query-named-block-nodes", &json!({ "flat": true })).await?;
    let stats: Vec<Stats> = session.ask("query-blockstats", &Value::Null).await?;
    let jobs: Vec<Job> = session.ask("query-block-jobs", &Value::Null).await?;

    let mut disks = Vec::new();
    for found in blocks::disks(&blocks, &nodes, &stats, &jobs, |name| process.absolute(name)) {
        let FoundDisk { mut disk, drive, node, file } = found;
        let front_end = qdev::read(&mut session, &disk.device).await?;
        if qdev::is_firmware(&front_end.model) {
            continue;
        }
        disk.front_end = front_end.model;
        disk.serial = front_end.serial;
        disk.wwn = front_end.wwn;
        disk.address = front_end.address;
        disk.discard = process.command_line.discard(&drive, &node, &file);
        disk.freed_clusters = process.command_line.freed_clusters(&drive, &node, &file);
        disks.push(disk);
    }
    let vm = VmFacts { state: Some(status.state()), manager: Manager::Qemu, ..VmFacts::default() };
    Ok(VmmView { vm, disks })
}

async fn merge(disks: &mut [HostDisk], declared: &[DeclaredDisk]) {
    if declared.is_empty() {
        return;
    }
    let ours = disks.iter().filter_map(|disk| disk.image.as_ref());
    let paths: Vec<PathBuf> =
        ours.chain(declared.iter().map(|one| &one.image)).map(|image| image.path.clone()).collect();
    let names = RealNames::of(paths).await;
    declared::merge(disks, declared, |one, other| names.same(&one.path, &other.path));
}
