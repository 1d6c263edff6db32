//! The walk that every case takes: a filesystem on a disk, files that stay, a file that goes, and what the disk's image
//! and the files are like afterwards.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::MIB;
use crate::guest::{Disk, DiskSpec, Guest};

/// What is deleted, unless a test says otherwise.
pub const DELETED_MIB: u64 = 64;

/// A filesystem of the three that trimtab trims by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
}

impl Kind {
    /// Without lazy initialization, whose writes would blur what a trim frees.
    pub fn mkfs(self) -> &'static str {
        match self {
            Self::Ext4 => "mke2fs -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=0",
            Self::Xfs => "mkfs.xfs -q",
            Self::Btrfs => "mkfs.btrfs -q",
        }
    }

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The check that changes nothing, and fails where anything is wrong.
    fn check(self) -> &'static str {
        match self {
            Self::Ext4 => "e2fsck -fn",
            Self::Xfs => "xfs_repair -n",
            Self::Btrfs => "btrfs check --readonly",
        }
    }
}

/// A disk with one mounted filesystem.
#[derive(Debug)]
pub struct Walk<'a> {
    /// Whose it is.
    pub guest: &'a Guest,
    /// The disk on which the filesystem stands.
    pub disk: Disk,
    /// The filesystem.
    pub kind: Kind,
    /// The guest's device that holds the filesystem: the disk's own, or one above it.
    pub device: String,
    /// Where it is mounted in the guest: `/mnt/` and the disk's name.
    pub mount: String,
}

impl<'a> Walk<'a> {
    /// Adds a disk and makes a filesystem on it.
    pub fn add(guest: &'a Guest, kind: Kind, spec: DiskSpec) -> Result<Self> {
        let disk = guest.add_disk(spec)?;
        Self::on(guest, kind, disk)
    }

    /// Makes a filesystem on a disk that is there.
    pub fn on(guest: &'a Guest, kind: Kind, disk: Disk) -> Result<Self> {
        let device = disk.device.clone();
        Self::upon(guest, kind, disk, &device)
    }

    /// Makes a filesystem on `device`, which stands on the disk.
    pub fn upon(guest: &'a Guest, kind: Kind, disk: Disk, device: &str) -> Result<Self> {
        guest.sh(&format!("{} {device} >&2", kind.mkfs()))?;
        Self::mounted_upon(guest, kind, disk, device)
    }

    /// Mounts a filesystem that is there.
    pub fn mounted(guest: &'a Guest, kind: Kind, disk: Disk) -> Result<Self> {
        let device = disk.device.clone();
        Self::mounted_upon(guest, kind, disk, &device)
    }

    /// Mounts the filesystem on `device`, which stands on the disk.
    pub fn mounted_upon(guest: &'a Guest, kind: Kind, disk: Disk, device: &str) -> Result<Self> {
        let mount = format!("/mnt/{}", disk.name);
        guest.sh(&format!("mkdir -p {mount} && mount -t {} {device} {mount} && sync", kind.name()))?;
        Ok(Self { guest, disk, kind, device: device.to_owned(), mount })
    }

    /// Files that stay: one large, many small ones.
    pub fn keep_files(&self) -> Result<()> {
        self.guest.write_noise(&format!("{}/keep", self.mount), 8)?;
        self.guest.sh(&format!(
            "mkdir {0}/small && for i in $(seq 24); do
                 dd if=/run/noise of={0}/small/$i bs=5000 skip=$i count=$i 2>/dev/null
             done; sync",
            self.mount
        ))?;
        Ok(())
    }

    /// Writes a file, so that the image takes its room, and deletes it.
    pub fn write_and_delete(&self, mib: u64) -> Result<()> {
        let before = self.disk.allocated_bytes()?;
        let file = format!("{}/goes", self.mount);
        self.guest.write_noise(&file, mib)?;
        self.guest.sh("sync")?;
        let grown = self.disk.allocated_bytes()?.saturating_sub(before);
        ensure!(grown >= mib.saturating_mul(MIB), "the image took {grown} bytes for {mib} MiB of noise");
        self.guest.sh(&format!("rm {file} && sync"))?;
        Ok(())
    }

    /// The checksum of each file that is there, read from the disk and not from memory.
    pub fn checksums(&self) -> Result<String> {
        self.guest.sh(&format!(
            "sync; echo 3 >/proc/sys/vm/drop_caches; cd {} && find . -type f | sort | xargs sha256sum",
            self.mount
        ))
    }

    /// Unmounts it and checks its structure.
    pub fn unmount_and_check(&self) -> Result<()> {
        self.guest.sh(&format!("umount {} && {} {} >&2", self.mount, self.kind.check(), self.device))?;
        Ok(())
    }
}

/// A number of a JSON object; unknown is an error.
pub fn number(object: &Value, key: &str) -> Result<u64> {
    object[key].as_u64().with_context(|| format!("{key} is {} in {object:#}", object[key]))
}

/// A signed number that must not be negative.
pub fn freed(disk: &Value) -> Result<u64> {
    let freed = disk["freed_bytes"].as_i64().with_context(|| format!("no freed_bytes in {disk:#}"))?;
    u64::try_from(freed).with_context(|| format!("the image grew: {disk:#}"))
}

/// An error unless `value` is within a hundredth of `of`.
pub fn close(what: &str, value: u64, of: u64) -> Result<()> {
    ensure!(value.abs_diff(of) <= of / 100, "{what}: {value} against {of}");
    Ok(())
}

/// The verdict of a disk with its rule: "reclaimed by rule 5".
pub fn ruling(disk: &Value) -> String {
    format!("{} by rule {}", disk["verdict"].as_str().unwrap_or("?"), disk["rule"].as_str().unwrap_or("?"))
}
