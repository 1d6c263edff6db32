//! Images on the host, and the datastores that they lie on.

use std::path::PathBuf;

/// How an image is laid out. From QMP or the inventory, never probed: a guest can write any header into a raw image.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// Byte for byte.
    Raw,
    /// QEMU's.
    Qcow2,
    /// Another driver of QEMU, by its name.
    Other(String),
}

impl Format {
    /// As the inventory and QMP write it.
    pub fn parse(name: &str) -> Self {
        match name {
            "raw" => Self::Raw,
            "qcow2" => Self::Qcow2,
            other => Self::Other(other.to_owned()),
        }
    }

    /// As every screen shows it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Other(name) => name,
        }
    }
}

/// A file (or volume) of the host behind a guest's disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Image {
    /// Absolute.
    pub path: PathBuf,
    /// Its layout.
    pub format: Format,
}

/// What `stat` says of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allocation {
    /// st_blocks × 512.
    pub allocated_bytes: u64,
    /// st_size: the length, holes included.
    pub length_bytes: u64,
    /// Which file it was: (st_dev, st_ino). Another one under the same name is another image.
    pub file: (u64, u64),
    /// A block device: its allocation is no measure.
    pub is_block_device: bool,
}

/// What the fixed part of a qcow2 header says. Names in it (backing file, data file) are never read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Qcow2Header {
    /// 2 or 3.
    pub version: u32,
    /// A power of two, 512 to 2 MiB.
    pub cluster_bytes: u64,
    /// What the guest sees.
    pub virtual_bytes: u64,
    /// A backing file is named.
    pub has_backing_file: bool,
    /// Internal snapshots.
    pub snapshots: u32,
    /// Extended L2 entries: 32 subclusters in each cluster.
    pub extended_l2: bool,
    /// The guest's data lies in another file.
    pub external_data_file: bool,
    /// Persistent dirty bitmaps are in it.
    pub has_bitmaps: bool,
}

/// The host filesystem that an image lies on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datastore {
    /// The same for all images on it: "8:1" of its superblock, by st_dev.
    pub id: String,
    /// Its mount point.
    pub path: PathBuf,
    /// "ext4", "xfs", "btrfs", "nfs4", … as mountinfo says.
    pub fs_type: String,
    /// Its size, by statvfs.
    pub size_bytes: u64,
    /// What is free, root's reserve included, by statvfs.
    pub free_bytes: u64,
}
