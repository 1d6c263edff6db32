//! The agent's nouns: what was read of this guest. No I/O, no wire.
//!
//! All sizes are bytes; `None` is "not known", never 0.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};
use trimtab_proto::words::{DeviceKind, DeviceUse, SkipReason};

/// A block device or superblock, by the kernel's number ("8:1"). Btrfs and pseudo filesystems have major 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DevNum {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

impl fmt::Display for DevNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A text that is not "major:minor".
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a device number like \"8:1\"")]
pub struct NotADevNum(pub String);

impl FromStr for DevNum {
    type Err = NotADevNum;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim()
            .split_once(':')
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }))
            .ok_or_else(|| NotADevNum(text.to_owned()))
    }
}

impl From<DevNum> for String {
    fn from(id: DevNum) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for DevNum {
    type Error = NotADevNum;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// All that a survey found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Survey {
    /// One for each superblock, in the order of mountinfo.
    pub filesystems: Vec<Filesystem>,
    /// All of /sys/block with the partitions.
    pub devices: Vec<Device>,
    /// The distribution's own weekly trim.
    pub fstrim_timer: Timer,
    /// What this kernel lacks, a sentence each.
    pub missing: Vec<String>,
}

/// One superblock, however often it is mounted.
#[derive(Clone, PartialEq, Debug)]
pub struct Filesystem {
    /// The superblock's number in mountinfo.
    pub id: DevNum,
    /// Its shortest mount point that nothing covers and that shows a directory; the shortest of all where none is.
    pub mount: PathBuf,
    /// How many mount points it has.
    pub mounts: u32,
    /// mountinfo's type: "ext4".
    pub fs_type: String,
    /// The block device that it is mounted from.
    pub device: Option<DevNum>,
    /// The disks at the bottom of its stack, below loop devices too.
    pub leaves: Vec<DevNum>,
    /// The filesystems that hold the files of its loop devices. They are trimmed after this one, so that what it
    /// gives back to them goes on to the disk.
    pub inside: Vec<DevNum>,
    /// Size of its device, or of all its devices.
    pub size: Option<u64>,
    /// By statfs.
    pub used: Option<u64>,
    /// By statfs, root's reserve included.
    pub free: Option<u64>,
    /// Why a trim leaves it out.
    pub skip: Option<Skip>,
    /// From FS_IOC_GETFSMAP; empty where there is none.
    pub free_extents: Vec<FreeExtents>,
    /// The freeze hook's flag is set.
    pub frozen: bool,
    /// Errors that the kernel has counted on it; `None` where nothing counts.
    pub errors: Option<u64>,
}

/// How much free space lies in extents of at least a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreeExtents {
    /// The size.
    pub at_least: u64,
    /// Free bytes in such extents.
    pub bytes: u64,
}

/// Why a filesystem is left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Skip {
    /// From the closed list.
    pub reason: SkipReason,
    /// The layer that cuts, where the reason is `NoDiscard`.
    pub device: Option<DevNum>,
    /// One sentence for a person.
    pub text: String,
}

/// A block device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// "8:0".
    pub id: DevNum,
    /// "sda".
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// dm/uuid; empty where it is not device-mapper.
    pub dm_uuid: String,
    /// The devices right below it: a partition's disk, a dm or md device's members.
    pub lower: Vec<DevNum>,
    /// Bytes.
    pub size: u64,
    /// Not writable.
    pub read_only: bool,
    /// The queue's discard limits. A partition has its disk's.
    pub discard: DiscardLimits,
    /// queue/logical_block_size.
    pub logical_block: u64,
    /// scsi_disk's; empty elsewhere.
    pub provisioning_mode: String,
    /// By what the host can know it again.
    pub identity: Identity,
    /// Bytes discarded since boot.
    pub discarded: Option<u64>,
    /// Bytes written since boot.
    pub written: Option<u64>,
    /// What it serves.
    pub used_for: DeviceUse,
}

/// `/sys/block/*/queue/discard_*`, all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiscardLimits {
    /// 0: cannot discard.
    pub granularity: Option<u64>,
    /// The soft limit of one request.
    pub max_bytes: Option<u64>,
    /// The hardware's.
    pub max_hw_bytes: Option<u64>,
    /// 0 on every kernel of today.
    pub zeroes_data: Option<u64>,
    /// Of the device, not of its queue.
    pub alignment: Option<u64>,
}

/// What names a disk on both sides.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// Empty where there is none.
    pub serial: String,
    /// virtio-blk's limit of 20 bytes is reached.
    pub serial_may_be_cut: bool,
    /// Empty where there is none.
    pub wwid: String,
    /// "0:0:0:0"; empty where it is not SCSI.
    pub scsi_hctl: String,
    /// "0000:00:04.0"; empty where it is not on PCI.
    pub pci_address: String,
}

/// fstrim.timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timer {
    /// The unit file is there.
    pub installed: bool,
    /// It is enabled.
    pub active: bool,
    /// When it elapses next, seconds since 1970.
    pub next_unix_secs: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dev_num_reads_what_it_prints() {
        let id = DevNum { major: 259, minor: 1_048_575 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("8:0\n".parse(), Ok(DevNum { major: 8, minor: 0 }));
        for bad in ["", "8", "8:", ":1", "8:1:2", "-1:0", "8:4294967296"] {
            assert_eq!(bad.parse::<DevNum>(), Err(NotADevNum(bad.to_owned())), "{bad}");
        }
    }
}
