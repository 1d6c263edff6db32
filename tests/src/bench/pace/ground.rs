//! What is trimmed: a badly fragmented filesystem on a loop device, whose image is fully allocated before each run.
//!
//! Half of the files that were made side by side are deleted, so that their space is free in pieces as large as a file.
//! fallocate of the whole image gives back to it what a trim took, in no time and always the same.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{FallocateFlags, fallocate};

use crate::bench::discards::Discards;
use crate::bench::room::check_room;
use crate::bench::writer::{FILE, write_whole};
use crate::loop_disk::{Filesystem, LoopDisk};
use crate::{GIB, MIB};

/// A piece of free space, and a piece that stays between two of them.
const PIECE_BYTES: u64 = MIB;

/// A filesystem to trim again and again.
pub(super) struct Ground {
    disk: LoopDisk,
    bytes: u64,
}

impl Ground {
    /// Makes it: three eighths of it in files, every second one deleted.
    pub(super) fn new(filesystem: Filesystem, gib: u64) -> Result<Self> {
        let bytes = gib.saturating_mul(GIB);
        check_room(bytes)?;
        let disk = LoopDisk::mount(filesystem, bytes)?;
        let folder = disk.path().join("files");
        fs::create_dir(&folder)?;
        let name = |n: u64| folder.join(n.to_string());
        let files = bytes.saturating_mul(3).div_euclid(8).div_euclid(PIECE_BYTES);
        for n in 0..files {
            let file = File::create(name(n))?;
            let len = PIECE_BYTES.try_into()?;
            fallocate(&file, FallocateFlags::empty(), 0, len).context("cannot fill the filesystem")?;
        }
        write_once(&disk.path().join(FILE), filesystem)?;
        nix::unistd::sync();
        for n in (0..files).step_by(2) {
            fs::remove_file(name(n))?;
        }
        Ok(Self { disk, bytes })
    }

    /// Mounts it anew, so that no trim is remembered, over an image that is fully allocated. The bytes that it occupies.
    pub(super) fn renew(&mut self) -> Result<u64> {
        self.disk.unmount()?;
        let image = OpenOptions::new().write(true).open(self.disk.image())?;
        fallocate(&image, FallocateFlags::empty(), 0, self.bytes.try_into()?)
            .with_context(|| format!("no room for {}", self.disk.image().display()))?;
        image.sync_all()?;
        self.disk.mount_again()?;
        // What the image's own filesystem still has to write would be in the figures.
        nix::unistd::sync();
        self.allocated()
    }

    pub(super) fn mount(&self) -> PathBuf {
        self.disk.path()
    }

    /// Bytes that the image occupies.
    pub(super) fn allocated(&self) -> Result<u64> {
        self.disk.allocated_bytes()
    }

    /// The loop device's counters.
    pub(super) fn discards(&self) -> Result<Discards> {
        Discards::of(self.disk.device())
    }
}

/// The writer's file, all of it written; where a write goes elsewhere, told not to.
fn write_once(path: &Path, filesystem: Filesystem) -> Result<()> {
    let mut file = File::create(path)?;
    if filesystem == Filesystem::Btrfs {
        let done = Command::new("chattr").arg("+C").arg(path).status().context("cannot start chattr")?;
        ensure!(done.success(), "chattr +C {}: {done}", path.display());
    }
    write_whole(&mut file)
}
