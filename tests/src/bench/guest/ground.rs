//! What is trimmed in the guest: a badly fragmented filesystem on a disk whose image is fully allocated before each run.
//!
//! fallocate of the whole image, on the host, gives back to it what a trim took, in no time and always the same.

use std::fs::{self, OpenOptions};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::fcntl::{FallocateFlags, fallocate};

use crate::GIB;
use crate::bench::room::check_room;
use crate::guest::{Disk, DiskSpec, Guest};
use crate::loop_disk::Filesystem;

/// Making pieces in software emulation, beside other builds.
const LIMIT: Duration = Duration::from_secs(900);

/// A filesystem in the guest to trim again and again.
pub(super) struct Ground<'a> {
    guest: &'a Guest,
    filesystem: Filesystem,
    disk: Disk,
    /// Where it is mounted.
    pub(super) mount: String,
    bytes: u64,
    /// How large a free piece is.
    piece_bytes: u64,
    /// How many of them there are.
    pub(super) pieces: u64,
}

impl<'a> Ground<'a> {
    /// Adds a disk of `gib` called `name`, with a filesystem in which `pieces` of `piece_bytes` are free, mounted below /mnt.
    pub(super) fn new(
        guest: &'a Guest,
        filesystem: Filesystem,
        name: &str,
        gib: u64,
        (pieces, piece_bytes): (u64, u64),
    ) -> Result<Self> {
        let bytes = gib.saturating_mul(GIB);
        check_room(bytes)?;
        let disk = guest.add_disk(DiskSpec::new(name, bytes))?;
        let mount = format!("/mnt/{name}");
        let ground = Self { guest, filesystem, disk, mount, bytes, piece_bytes, pieces };
        ground.make()?;
        Ok(ground)
    }

    /// Makes the filesystem anew with so many pieces: in one that was fragmented, new ones would fill the old.
    pub(super) fn make_again(&mut self, pieces: u64) -> Result<()> {
        self.pieces = pieces;
        self.guest.sh(&format!("umount {}", self.mount))?;
        self.make()
    }

    fn make(&self) -> Result<()> {
        let Self { mount, pieces, piece_bytes, .. } = self;
        let device = &self.disk.device;
        self.guest.sh_within(&format!("{} {device}; mkdir -p {mount}", self.filesystem.mkfs()), LIMIT)?;
        self.mount()?;
        self.guest.sh_within(
            &format!(
                "bench-witness write-file {mount}; bench-witness fragment {mount} {pieces} {piece_bytes}"
            ),
            LIMIT,
        )?;
        Ok(())
    }

    /// How many there is room for: as much stays as goes, and a quarter is left to the filesystem.
    pub(super) fn most_pieces(&self) -> u64 {
        self.bytes.div_euclid(8).saturating_mul(3).checked_div(self.piece_bytes).unwrap_or(0)
    }

    /// Mounts it anew, so that no trim is remembered, over an image that is fully allocated. The bytes that it occupies.
    pub(super) fn renew(&self) -> Result<u64> {
        self.guest.sh(&format!("umount {}", self.mount))?;
        let image = OpenOptions::new().write(true).open(&self.disk.image)?;
        fallocate(&image, FallocateFlags::empty(), 0, self.bytes.try_into()?)
            .with_context(|| format!("no room for {}", self.disk.image.display()))?;
        image.sync_all()?;
        self.mount()?;
        // What the image's own filesystem still has to write would be in the figures.
        nix::unistd::sync();
        self.allocated()
    }

    /// Bytes that the image occupies.
    pub(super) fn allocated(&self) -> Result<u64> {
        self.disk.allocated_bytes()
    }

    /// The name of its device in the guest, without /dev.
    pub(super) fn device(&self) -> &str {
        self.disk.device.trim_start_matches("/dev/")
    }

    /// Gives the room of it back.
    pub(super) fn remove(self) -> Result<()> {
        self.guest.sh(&format!("umount {}", self.mount))?;
        self.guest.remove_disk(&self.disk)?;
        fs::remove_file(&self.disk.image).context("cannot remove an image")
    }

    fn mount(&self) -> Result<()> {
        // The writer's file must be written in place, see its own words.
        let options = if self.filesystem == Filesystem::Btrfs { "nodatacow" } else { "defaults" };
        self.guest.sh(&format!("mount -o {options} {} {}", self.disk.device, self.mount)).map(drop)
    }
}
