//! The hypervisor: the port [`Vmm`] over QMP, over libvirt, or from what the inventory declares. Asks, and never changes
//! anything.

mod blocks;
mod cmdline;
mod declared;
mod domain;
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
        vm::{DeclaredDisk, DomainId, Vm},
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
    /// libvirt, with what the inventory knows beyond it.
    Libvirt {
        /// The domain.
        domain: DomainId,
        /// How QEMU's monitor may be asked for what libvirt does not tell.
        monitor: Monitor,
        /// `[[vm.disk]]` beside it.
        declared: Vec<DeclaredDisk>,
    },
    /// The inventory alone: no state, no counters.
    Declared(Vec<DeclaredDisk>),
    /// None: the source that knows the VM could not be read.
    NotRead(Trouble),
}

/// A way to the monitor of a domain's QEMU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Monitor {
    /// None: what arrived stays unknown.
    None,
    /// Through libvirt, which marks the domain as tainted until it is started anew.
    ThroughLibvirt,
    /// A socket beside libvirt's own, of which libvirt knows nothing.
    Socket(PathBuf),
}

impl HostVmm {
    /// The best way to this VM's hypervisor that the inventory names.
    pub fn of(vm: &Vm) -> Self {
        let declared = vm.disks.clone();
        match (&vm.not_read, &vm.domain, &vm.qmp) {
            (Some(trouble), ..) => Self::NotRead(trouble.clone()),
            (None, Some(domain), qmp) => Self::Libvirt {
                domain: domain.id.clone(),
                monitor: qmp.clone().map_or(Monitor::None, Monitor::Socket),
                declared,
            },
            (None, None, Some(socket)) => Self::Qmp { socket: socket.clone(), declared },
            (None, None, None) => Self::Declared(declared),
        }
    }

    /// The same, where its owner lets QEMU's monitor be asked through libvirt although that taints the domain.
    #[must_use]
    pub fn with_monitor(self) -> Self {
        match self {
            Self::Libvirt { domain, monitor: Monitor::None, declared } => {
                Self::Libvirt { domain, monitor: Monitor::ThroughLibvirt, declared }
            }
            other => other,
        }
    }
}

impl Vmm for HostVmm {
    async fn look(&self) -> Result<VmmView, Trouble> {
        match self {
            Self::NotRead(trouble) => Err(trouble.clone()),
            Self::Declared(declared) => Ok(declared::view(declared)),
            Self::Libvirt { domain, monitor, declared } => {
                let mut view = domain::look(domain, monitor).await?;
                merge(&mut view.disks, declared).await;
                Ok(view)
            }
            Self::Qmp { socket, declared } => {
                let mut view = look(socket).await?;
                merge(&mut view.disks, declared).await;
                Ok(view)
            }
        }
    }

    async fn counters(&self) -> Result<Vec<(String, DiskCounters)>, Trouble> {
        match self {
            Self::Declared(_) | Self::NotRead(_) => Ok(Vec::new()),
            Self::Libvirt { domain, monitor, .. } => domain::counters(domain, monitor).await,
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
