//! A VM's disks as its hypervisor knows them.

use super::image::Image;

/// What the hypervisor says of a VM: its state and its disks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmmView {
    /// Whether the guest runs; `None` where nothing can say.
    pub state: Option<VmState>,
    /// In the hypervisor's order.
    pub disks: Vec<HostDisk>,
}

/// QMP's `query-status`, as far as it matters to a trim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VmState {
    /// The guest's CPUs run.
    Running,
    /// They do not: QMP's own word ("paused", "io-error", "inmigrate", …).
    Stopped(String),
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
    /// What QEMU does with a discard, as far as its command line says.
    pub discard: DriveDiscard,
    /// The state of a block job on it: "running", …; `None` where there is none.
    pub block_job: Option<String>,
    /// Dirty bitmaps on its nodes.
    pub dirty_bitmaps: u32,
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
}
