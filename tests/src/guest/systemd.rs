//! A guest with systemd as PID 1: its disks, and what only its kind can do.
//!
//! ```text
//! /              ext4  disk root      a copy of an image
//! /home          ext4  disk home      in fstab
//! /tmp           xfs   disk tmp       in fstab
//! /mnt/unlisted  ext4  disk unlisted  not in fstab: mount_unlisted
//! ```

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::initrd::Base;
use super::{BOOT_LIMIT, DiskSpec, Guest, GuestSpec, with_logs};
use crate::GIB;
use crate::loop_disk::Filesystem;

/// A guest takes this long to stop what runs in it, at most.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(120);

/// The image of a Debian as it was unpacked, built on the first call if need be. To be copied: it is shared.
pub fn root_image() -> Result<PathBuf> {
    Ok(Base::Systemd.image()?.join("root.raw"))
}

impl GuestSpec {
    /// A Debian with systemd as PID 1, with a copy of `root` as its root, and a disk each for /home, /tmp and a mount
    /// that fstab does not know. It has what is installed on its root, and no agent of the rig's.
    pub fn systemd(name: &str, root: &Path) -> Self {
        let mut spec = Self::new(name).without_agent();
        spec.base = Base::Systemd;
        spec.disk(DiskSpec::new("root", 2 * GIB).copy_of(root))
            .disk(DiskSpec::new("home", 2 * GIB).made_with(Filesystem::Ext4))
            .disk(DiskSpec::new("tmp", 2 * GIB).made_with(Filesystem::Xfs))
            .disk(DiskSpec::new("unlisted", 2 * GIB).made_with(Filesystem::Ext4))
    }
}

impl Guest {
    /// Mounts the disk that fstab does not know. Until the next boot.
    pub fn mount_unlisted(&self) -> Result<()> {
        self.sh("mount LABEL=unlisted /mnt/unlisted").map(drop)
    }

    /// Reboots by systemd, with all that a shutdown does, and returns when the guest takes commands again.
    pub fn restart(&self) -> Result<()> {
        self.soon("reboot")?;
        let limit = SHUTDOWN_LIMIT.saturating_add(BOOT_LIMIT);
        let boot_id =
            self.locked(&self.shell).wait_for_reboot(limit).map_err(|error| with_logs(error, &self.place))?;
        *self.locked(&self.boot_id) = boot_id;
        self.find_disks_again()
    }

    /// Switches off by systemd and returns when QEMU has ended. The images stay until this value goes.
    pub fn power_off(&self) -> Result<()> {
        let process = format!("/proc/{}", self.qemu_pid()?);
        self.soon("poweroff")?;
        let began = Instant::now();
        while Path::new(&process).exists() {
            if began.elapsed() > SHUTDOWN_LIMIT {
                bail!(with_logs(anyhow::anyhow!("guest {} does not switch off", self.name), &self.place));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Has systemd do this in a moment: the answer of the command must be out before its shell is stopped.
    fn soon(&self, what: &str) -> Result<()> {
        self.sh(&format!("{{ sleep 0.5; systemctl --no-block {what}; }} >/dev/null 2>&1 &")).map(drop)
    }
}
