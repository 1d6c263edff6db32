//! What a guest said of itself, after [`crate::guest::check`] bounded it. Its texts are still a guest's texts: escape
//! them where they are shown, and never use one as a path.

use super::vm::Via;
use trimtab_proto::words::{DeviceKind, DeviceUse, Pace, SkipReason, Wire};

/// Who answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentInfo {
    /// Which program it is.
    pub via: Via,
    /// Its package's version.
    pub version: String,
    /// uname -r.
    pub kernel: String,
    /// This boot.
    pub boot_id: String,
    /// What it can do beyond the first v1.
    pub features: Vec<String>,
    /// What the guest's owner lets a host do.
    pub policy: Policy,
}

/// The guest owner's veto.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Trim is answered.
    pub host_may_trim: bool,
    /// Probe is answered.
    pub host_may_probe: bool,
    /// No run is faster.
    pub fastest: Option<Wire<Pace>>,
    /// Between two runs.
    pub min_interval_secs: u32,
    /// Beside the agent's own list.
    pub also_allowed_types: Vec<String>,
}

/// A guest's filesystems and devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestSurvey {
    /// Who answered.
    pub agent: AgentInfo,
    /// One for each superblock.
    pub filesystems: Vec<Filesystem>,
    /// All block devices.
    pub devices: Vec<Device>,
    /// The distribution's own weekly trim.
    pub fstrim_timer: Option<Timer>,
    /// Skipped filesystems that were not listed.
    pub not_listed: u32,
    /// What could not be read, or what the guest's kernel lacks: the guest's sentences.
    pub missing: Vec<String>,
}

impl GuestSurvey {
    /// A device by its id.
    pub fn device(&self, id: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == id)
    }

    /// A filesystem by its id.
    pub fn filesystem(&self, id: &str) -> Option<&Filesystem> {
        self.filesystems.iter().find(|fs| fs.id == id)
    }

    /// The names of the disks below a filesystem; the id where one is not among the devices.
    pub fn disk_names(&self, fs: &Filesystem) -> Vec<String> {
        let name = |id: &String| self.device(id).map_or(id, |device| &device.name).clone();
        fs.leaf_ids.iter().map(name).collect()
    }
}

/// One superblock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filesystem {
    /// A handle of this boot.
    pub id: String,
    /// Where it is mounted.
    pub mount: String,
    /// How often.
    pub mounts: u32,
    /// "ext4".
    pub fs_type: String,
    /// Its device; empty where it has none.
    pub device_id: String,
    /// The disks at the bottom.
    pub leaf_ids: Vec<String>,
    /// Of its device.
    pub size_bytes: Option<u64>,
    /// statfs.
    pub used_bytes: Option<u64>,
    /// statfs.
    pub free_bytes: Option<u64>,
    /// Why a trim leaves it out.
    pub skip: Option<Skip>,
    /// Free space by the size of its extents, smallest size first; empty where it is not known.
    pub free_extents: Vec<FreeExtents>,
    /// A backup has frozen it.
    pub frozen: bool,
    /// Errors that the guest's kernel has counted on it: ext4's since the last fsck, btrfs's since its device
    /// statistics were set to zero. `None` where nothing counts (XFS), or where the agent is older.
    pub errors: Option<u64>,
}

/// Free bytes in extents of at least a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreeExtents {
    /// The size.
    pub at_least_bytes: u64,
    /// Free bytes.
    pub bytes: u64,
}

/// Why a filesystem is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skip {
    /// From the closed list, or a newer agent's.
    pub reason: Wire<SkipReason>,
    /// The layer that cuts; empty where none does.
    pub device_id: String,
    /// The guest's sentence.
    pub text: String,
}

/// A block device of the guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// "8:0".
    pub id: String,
    /// "sda".
    pub name: String,
    /// What it is.
    pub kind: Wire<DeviceKind>,
    /// Tells LVM from LUKS.
    pub dm_uuid: String,
    /// Right below it.
    pub lower_ids: Vec<String>,
    /// Its size.
    pub size_bytes: u64,
    /// Not writable.
    pub read_only: bool,
    /// 0: cannot discard.
    pub discard_granularity: Option<u64>,
    /// Of one request.
    pub discard_max_bytes: Option<u64>,
    /// The hardware's.
    pub discard_max_hw_bytes: Option<u64>,
    /// 0 today.
    pub discard_zeroes_data: Option<u64>,
    /// Of the device.
    pub discard_alignment: Option<u64>,
    /// queue/logical_block_size.
    pub logical_block_bytes: u64,
    /// SCSI's; empty elsewhere.
    pub provisioning_mode: String,
    /// By what it can be known again.
    pub identity: Identity,
    /// Since boot.
    pub discarded_bytes: Option<u64>,
    /// Since boot.
    pub written_bytes: Option<u64>,
    /// What it serves.
    pub used_for: Wire<DeviceUse>,
}

/// What names a disk on both sides; each empty where there is none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// virtio-blk, SCSI or NVMe serial.
    pub serial: String,
    /// It has the 20 bytes at which virtio-blk cuts.
    pub serial_may_be_cut: bool,
    /// The kernel's wwid.
    pub wwid: String,
    /// host:channel:target:lun.
    pub scsi_hctl: String,
    /// "0000:00:04.0".
    pub pci_address: String,
    /// The host's name of the disk, where the host's own side says that it is that one (libvirt's target).
    pub target: Option<String>,
}

/// fstrim.timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// The unit is there.
    pub installed: bool,
    /// It is enabled.
    pub active: bool,
    /// Seconds since 1970.
    pub next_unix_secs: Option<i64>,
}
