//! Images on the host, and the datastores that they lie on.

use std::path::PathBuf;

use super::volume::Volume;

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

/// What an image takes of the host's room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allocation {
    /// Of a file st_blocks × 512, of a thin volume the blocks that its pool maps for it. `None` where nothing measures
    /// it: a volume that owns its blocks whether they are used or not.
    pub allocated_bytes: Option<u64>,
    /// The length, holes included.
    pub length_bytes: u64,
    /// Which file it was: (st_dev, st_ino). Another one under the same name is another image.
    pub file: (u64, u64),
    /// It is a block device.
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
    /// So many persistent dirty bitmaps are in it.
    pub bitmaps: u32,
    /// QEMU has found its tables to be wrong, and writes to it no more.
    pub is_corrupt: bool,
}

/// An image as it was found on the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageFacts {
    /// What it takes, with an external data file where the hypervisor names one.
    pub allocation: Allocation,
    /// Of a qcow2 image.
    pub header: Option<Qcow2Header>,
    /// Where it lies, and how.
    pub place: Place,
    /// What the images below it take together; `None` where there are none, or one could not be read.
    pub backing_allocated_bytes: Option<u64>,
    /// Some of its extents, or of its pool's blocks, are shared with a clone or a snapshot; `None` until somebody asked.
    pub is_shared: Option<bool>,
}

impl ImageFacts {
    /// What the image occupies, where that can be measured.
    pub fn allocated_bytes(&self) -> Option<u64> {
        self.allocation.allocated_bytes
    }
}

/// Where an image lies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Its filesystem, or its pool; `None` for a volume that shares its room with nobody.
    pub datastore: Option<Datastore>,
    /// Of a block device.
    pub volume: Option<Volume>,
    /// The host filesystem compresses it, so that what it occupies says little of what is in it.
    pub is_compressed: bool,
    /// XFS allocates and frees it in pieces of this size (`xfs_io -c extsize`).
    pub extent_size_hint_bytes: Option<u64>,
}

/// What images share the room of: a host filesystem, or a pool of volumes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datastore {
    /// The same for all images on it, while this host is up: "8:1" of its superblock, or of the pool's device.
    pub id: String,
    /// The same for as long as it exists, and over hosts that share it: "nfs:server:/export", "ext4:UUID@MACHINE-ID".
    pub identity: String,
    /// Its mount point, or the pool's device.
    pub path: PathBuf,
    /// "ext4", "xfs", "btrfs", "nfs4", … as mountinfo says; "thin-pool".
    pub fs_type: String,
    /// Mount options, the mount's own and the superblock's ("rw,noatime,vers=4.2"); empty for a pool.
    pub options: String,
    /// Its size, by statvfs.
    pub size_bytes: u64,
    /// What is free, root's reserve included, by statvfs.
    pub free_bytes: u64,
    /// Whether what comes free here gets on to the storage below.
    pub underneath: Underneath,
}

impl Datastore {
    /// Whether an option is set, alone ("discard") or with a value ("discard=async").
    pub fn has_option(&self, name: &str) -> bool {
        self.option(name).is_some()
    }

    /// The value of an option, empty where it has none; the last one where it is there twice.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.rsplit(',').find_map(|option| match option.split_once('=') {
            Some((key, value)) => (key == name).then_some(value),
            None => (option == name).then_some(""),
        })
    }
}

/// What lies below a datastore, and whether it is told of what came free.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Underneath {
    /// Memory.
    Memory,
    /// Another machine's storage.
    Remote,
    /// A block device of this host.
    Disk {
        /// The kernel's name: "sdb".
        name: String,
        /// It takes discards (queue/discard_granularity).
        discards: bool,
        /// fstrim.timer is enabled on this host; `None` where there is no systemd to tell.
        timer: Option<bool>,
    },
    /// Nothing here tells.
    #[default]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_options() {
        let store = |options: &str| Datastore {
            id: "8:1".into(),
            identity: "nfs:server:/export".into(),
            path: "/guests".into(),
            fs_type: "nfs4".into(),
            options: options.into(),
            size_bytes: 0,
            free_bytes: 0,
            underneath: Underneath::Remote,
        };
        let nfs = store("rw,relatime,vers=4.2,nodiscard,addr=192.0.2.1");
        assert_eq!(nfs.option("vers"), Some("4.2"));
        assert_eq!(nfs.option("discard"), None, "nodiscard is another word");
        assert!(store("rw,discard").has_option("discard") && store("rw,discard=async").has_option("discard"));
        assert_eq!(store("compress=zlib,compress=zstd:3").option("compress"), Some("zstd:3"));
    }
}
