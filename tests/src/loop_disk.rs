//! A filesystem on a loop device over a sparse file: what a discard frees shows in the file, and no guest is needed.
//!
//! Needs root. The loop device goes by itself when the filesystem is unmounted, and a keeper sees to that.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::guest::allocated_bytes;
use crate::keeper::Keeper;
use crate::programs;

/// A filesystem that the agent trims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filesystem {
    /// ext4, without lazy initialization, which would write for minutes.
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
}

impl Filesystem {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    /// The kernel's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The command that makes it, without the device.
    pub fn mkfs(self) -> &'static str {
        match self {
            Self::Ext4 => "mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0",
            Self::Xfs => "mkfs.xfs -q -f",
            Self::Btrfs => "mkfs.btrfs -q -f",
        }
    }

    /// The command that checks it, without the device, and changes nothing.
    pub fn check(self) -> &'static str {
        match self {
            Self::Ext4 => "e2fsck -f -n",
            Self::Xfs => "xfs_repair -n",
            Self::Btrfs => "btrfs check --readonly",
        }
    }
}

/// A mounted loop disk.
#[derive(Debug)]
pub struct LoopDisk {
    directory: PathBuf,
    device: String,
    options: String,
    _keeper: Keeper,
}

impl LoopDisk {
    /// Makes and mounts a filesystem of `size_bytes`.
    pub fn mount(filesystem: Filesystem, size_bytes: u64) -> Result<Self> {
        Self::mount_with(filesystem, size_bytes, "defaults")
    }

    /// The same with mount options.
    pub fn mount_with(filesystem: Filesystem, size_bytes: u64, options: &str) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("loop devices need root; `make test` asks sudo for this suite");
        }
        let directory = programs::new_directory()?;
        let (image, mount) = (directory.join("image"), directory.join("mnt"));
        let keeper = Keeper::clean_up(&format!(
            "umount '{0}' 2>/dev/null || umount -l '{0}' 2>/dev/null; rm -rf --one-file-system '{1}'",
            mount.display(),
            directory.display()
        ))?;
        fs::create_dir(&mount)?;
        fs::File::create(&image)?.set_len(size_bytes)?;
        run(&format!("{} '{}' >&2", filesystem.mkfs(), image.display()))?;
        let mut disk =
            Self { directory, device: String::new(), options: options.to_owned(), _keeper: keeper };
        disk.mount_again()?;
        Ok(disk)
    }

    /// Unmounts it; the loop device goes with that.
    pub fn unmount(&mut self) -> Result<()> {
        run(&format!("umount '{}'", self.path().display())).map(drop)
    }

    /// Mounts it after [`Self::unmount`], on whatever loop device is free.
    pub fn mount_again(&mut self) -> Result<()> {
        let (image, mount) = (self.image(), self.path());
        run(&format!("mount -o loop,{} '{}' '{}'", self.options, image.display(), mount.display()))?;
        let device = run(&format!("findmnt -n -o SOURCE --mountpoint '{}'", mount.display()))?;
        self.device = device.trim().to_owned();
        Ok(())
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.join("mnt")
    }

    /// The sparse file below.
    pub fn image(&self) -> PathBuf {
        self.directory.join("image")
    }

    /// The loop device, such as `/dev/loop0`.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Bytes that the file below occupies.
    pub fn allocated_bytes(&self) -> Result<u64> {
        allocated_bytes(&self.image())
    }
}

/// Runs a shell command on the host, with root's programs in reach, and returns what it printed.
fn run(script: &str) -> Result<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let done = Command::new("sh")
        .args(["-euc", script])
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .context("cannot run sh")?;
    if !done.status.success() {
        bail!("{script}: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8(done.stdout)?)
}
