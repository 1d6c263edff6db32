//! A VM's disks as its hypervisor knows them.

use std::path::PathBuf;

use super::{endpoint::Cid, image::Image};

/// What the hypervisor says of a VM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmmView {
    /// What concerns all of it.
    pub vm: VmFacts,
    /// In the hypervisor's order.
    pub disks: Vec<HostDisk>,
}

/// What the hypervisor says of a VM as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VmFacts {
    /// Whether the guest runs; `None` where nothing can say.
    pub state: Option<VmState>,
    /// Who manages it, in whose words a fix is said.
    pub manager: Manager,
    /// Its vsock device.
    pub link: Link,
    /// A migration, backup, save or the like that is under way, in a word; `None` where there is none.
    pub job: Option<String>,
    /// Names of its internal snapshots, as the manager keeps them; an external one shows in the chain of its disks.
    pub snapshots: Vec<String>,
}

/// Who manages a VM.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Manager {
    /// libvirt.
    Libvirt {
        /// Of the connection: "qemu:///system".
        uri: String,
        /// The domain's name there.
        domain: String,
    },
    /// Whoever wrote QEMU's command line.
    Qemu,
    /// Nothing here tells.
    #[default]
    Unknown,
}

/// A VM's vsock device, as the hypervisor knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Link {
    /// It has one, with this CID where that is fixed by now.
    Vsock(Option<Cid>),
    /// It has none.
    Missing,
    /// Nothing here tells.
    #[default]
    Unknown,
}

/// Whether a VM runs, as far as it matters to a trim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VmState {
    /// The guest's CPUs run.
    Running,
    /// They do not: QMP's own word ("paused", "io-error", "inmigrate", …).
    Stopped(String),
    /// There is no process.
    Off,
}

/// One disk of a VM, read-write and with a medium.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostDisk {
    /// The hypervisor's name for it, unique in the VM: a qdev id or path, or the inventory's position.
    pub device: String,
    /// The image on top of its backing chain; `None` where it is not a file or device of this host (rbd, nbd, …),
    /// then `protocol` names what it is.
    pub image: Option<Image>,
    /// The driver of the protocol node: "file", "host_device", "nbd", …; empty where it is not known.
    pub protocol: String,
    /// The images below it, nearest first.
    pub backing: Vec<Image>,
    /// Where a qcow2 image keeps the guest's data outside of itself (`data-file`), as far as the hypervisor names it.
    pub data_file: Option<PathBuf>,
    /// What the guest sees; `None` where nothing said it.
    pub virtual_bytes: Option<u64>,
    /// The serial given to the device.
    pub serial: Option<String>,
    /// The wwn given to the device.
    pub wwn: Option<u64>,
    /// Where it sits, as the guest may see it.
    pub address: Option<Address>,
    /// The model of device: "scsi-hd", "virtio-blk-pci", "ide-hd", "nvme", …; empty where it is not known.
    pub front_end: String,
    /// The guest's name for it, where the inventory says so.
    pub guest_name: Option<String>,
    /// The manager's name for it: libvirt's target, "vda".
    pub target: Option<String>,
    /// Given to more than one VM on purpose (libvirt's `<shareable/>`).
    pub shareable: bool,
    /// What QEMU does with a discard.
    pub discard: DriveDiscard,
    /// Who said so.
    pub discard_said_by: SaidBy,
    /// What a qcow2 image does with the clusters that a discard frees in it.
    pub freed_clusters: FreedClusters,
    /// The state of a block job on it: "running", …; `None` where there is none.
    pub block_job: Option<String>,
    /// Dirty bitmaps on its nodes.
    pub dirty_bitmaps: u32,
}

impl HostDisk {
    /// Its shortest name on the host: the manager's target, else the hypervisor's name.
    pub fn name(&self) -> &str {
        self.target.as_deref().unwrap_or(&self.device)
    }
}

/// The `discard=` of a drive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DriveDiscard {
    /// Passed on to the image.
    Unmap,
    /// Dropped inside QEMU: said so, or not said at all, which is the same.
    Ignore,
    /// Nothing here tells (a disk that was plugged in later, no right to read the command line).
    Unknown,
}

/// What a qcow2 node does with the clusters that a discard frees (BlockdevOptionsQcow2 of QEMU's qapi/block-core.json).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FreedClusters {
    /// They are punched out of the image: what `discard=unmap` implies where nothing else is said.
    #[default]
    Punched,
    /// They can be used again, and stay allocated on the host: `pass-discard-request=off`.
    Kept,
    /// They are punched out and keep their place in the image: `discard-no-unref=on`.
    Reserved,
}

/// Where the `discard=` of a drive was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SaidBy {
    /// QEMU's command line.
    #[default]
    CommandLine,
    /// libvirt's live XML.
    LiveXml,
}

/// An address that both sides may know.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// channel:target:lun behind one SCSI controller (the guest numbers its hosts itself).
    Scsi {
        /// QEMU's bus number.
        channel: u32,
        /// SCSI id.
        target: u32,
        /// LUN.
        lun: u32,
    },
    /// "0000:00:04.0".
    Pci(String),
}

/// A disk's counters inside QEMU, since its node was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskCounters {
    /// `wr_bytes` of the device: what the guest wrote.
    pub written_bytes: Option<u64>,
    /// `discard-bytes-ok` of the protocol node: what the image was asked to give up, and did not refuse.
    pub arrived_bytes: Option<u64>,
    /// `discard-nb-failed` of the protocol node.
    pub failed_requests: Option<u64>,
    /// Reads, writes and flushes of the device that this host failed to carry out: `failed_rd_operations` and its
    /// siblings. What a guest asked wrongly is not among them (QEMU counts it as `invalid_…`).
    pub failed_io: Option<u64>,
}
