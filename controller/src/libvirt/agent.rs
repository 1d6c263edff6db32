//! What libvirt asks qemu-ga in a guest for: facts about it, and a trim of all of it. Neither taints the domain.
//!
//! Every text and number here is the guest's word, bounded here and escaped where it is shown. Which of the domain's
//! disks a filesystem stands on is libvirt's own finding, by addresses.

use std::{collections::HashMap, time::Duration};

use super::{
    Libvirt,
    said::{Access, Number},
};
use crate::model::{trouble::Trouble, vm::DomainId};

/// libvirt itself gives qemu-ga 5 s for each of its three commands.
const INFO_LIMIT: Duration = Duration::from_secs(20);

/// No guest has more filesystems, or disks below one, that anybody would trim.
const MOST: u64 = 256;

/// The longest mount point or name that is taken.
const LONGEST_TEXT: usize = 4096;

/// VIR_DOMAIN_GUEST_INFO_OS.
const OS: u32 = 1 << 1;
/// VIR_DOMAIN_GUEST_INFO_FILESYSTEM.
const FILESYSTEM: u32 = 1 << 4;

/// A guest as its qemu-ga describes it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GuestInfo {
    /// uname -r.
    pub kernel: Option<String>,
    /// What is mounted from a disk.
    pub filesystems: Vec<AgentFilesystem>,
}

/// One mounted filesystem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentFilesystem {
    /// Where.
    pub mount: String,
    /// "ext4".
    pub fs_type: String,
    /// Its size and what of it is in use, by statvfs.
    pub total_bytes: Option<u64>,
    /// In use.
    pub used_bytes: Option<u64>,
    /// The disks below it.
    pub disks: Vec<AgentDisk>,
}

/// A disk below a filesystem.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AgentDisk {
    /// The domain's disk, "vda", as libvirt found it by its address.
    pub target: Option<String>,
    /// As the guest sees it.
    pub serial: Option<String>,
    /// The guest's device node, of the disk or its partition: "/dev/sda1".
    pub device: Option<String>,
}

impl Libvirt {
    /// What qemu-ga says of the guest: virDomainGetGuestInfo().
    ///
    /// # Errors
    /// As [`Libvirt::look`]; `no_agent` where there is no qemu-ga, or it does not answer.
    pub async fn guest_info(&self, domain: &DomainId) -> Result<GuestInfo, Trouble> {
        let ask = |domain: &super::ffi::Domain| {
            let filesystems = domain.guest_info(FILESYSTEM)?;
            // An old qemu-ga does not know its kernel.
            let os = domain.guest_info(OS).unwrap_or_default();
            Ok(info(filesystems.into_iter().chain(os)))
        };
        self.about(domain, INFO_LIMIT, "ask qemu-ga", Access::ReadWrite, ask).await
    }

    /// Has qemu-ga trim every filesystem of the guest: virDomainFSTrim(). It cannot be stopped: when `limit` passes, the
    /// guest goes on without us.
    ///
    /// # Errors
    /// As [`Libvirt::guest_info`].
    pub async fn fs_trim(
        &self,
        domain: &DomainId,
        min_extent_bytes: u64,
        limit: Duration,
    ) -> Result<(), Trouble> {
        let ask = move |domain: &super::ffi::Domain| Ok(domain.fs_trim(min_extent_bytes)?);
        self.about(domain, limit, "trim by qemu-ga", Access::ReadWrite, ask).await
    }
}

/// virDomainGetGuestInfo()'s parameters, as libvirt-domain.h names them.
fn info(numbers: impl Iterator<Item = Number>) -> GuestInfo {
    let said: HashMap<String, Number> = numbers.map(|number| (number.name.clone(), number)).collect();
    let value = |name: String| said.get(&name).and_then(|number| number.value);
    let text = |name: String| {
        said.get(&name)?.text.clone().filter(|text| !text.is_empty() && text.len() <= LONGEST_TEXT)
    };
    let count = |name: String| value(name).unwrap_or(0).min(MOST);
    let filesystems = (0..count("fs.count".to_owned())).filter_map(|fs| {
        let disks = (0..count(format!("fs.{fs}.disk.count"))).map(|disk| AgentDisk {
            target: text(format!("fs.{fs}.disk.{disk}.alias")),
            serial: text(format!("fs.{fs}.disk.{disk}.serial")),
            device: text(format!("fs.{fs}.disk.{disk}.device")),
        });
        Some(AgentFilesystem {
            mount: text(format!("fs.{fs}.mountpoint"))?,
            fs_type: text(format!("fs.{fs}.fstype")).unwrap_or_default(),
            total_bytes: value(format!("fs.{fs}.total-bytes")),
            used_bytes: value(format!("fs.{fs}.used-bytes")),
            disks: disks.collect(),
        })
    });
    GuestInfo { filesystems: filesystems.collect(), kernel: text("os.kernel-release".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::said::samples::{number, text};

    #[test]
    fn what_libvirt_9_says() {
        let said = info(
            [
                number("fs.count", 2),
                text("fs.0.name", "sda1"),
                text("fs.0.mountpoint", "/"),
                text("fs.0.fstype", "ext4"),
                number("fs.0.total-bytes", 4000),
                number("fs.0.used-bytes", 1000),
                number("fs.0.disk.count", 1),
                text("fs.0.disk.0.alias", "sda"),
                text("fs.0.disk.0.serial", "DISK0"),
                text("fs.0.disk.0.device", "/dev/sda1"),
                text("fs.1.mountpoint", "/mnt/iso"),
                text("fs.1.fstype", "iso9660"),
                text("os.kernel-release", "6.1.0-18-amd64"),
            ]
            .into_iter(),
        );
        assert_eq!(said.kernel.as_deref(), Some("6.1.0-18-amd64"));
        assert_eq!(said.filesystems.len(), 2);
        let root = &said.filesystems[0];
        assert_eq!((root.total_bytes, root.used_bytes), (Some(4000), Some(1000)));
        assert_eq!(root.disks[0].target.as_deref(), Some("sda"));
        assert_eq!(said.filesystems[1].disks, []);
        assert_eq!(said.filesystems[1].total_bytes, None);
    }

    #[test]
    fn a_hostile_guest_is_bounded() {
        let said = info(
            [
                number("fs.count", u64::MAX),
                text("fs.0.mountpoint", "/"),
                number("fs.0.disk.count", u64::MAX),
                text("fs.1.mountpoint", &"x".repeat(LONGEST_TEXT + 1)),
            ]
            .into_iter(),
        );
        assert_eq!(said.filesystems.len(), 1, "a mount point that is too long is no mount point");
        assert_eq!(said.filesystems[0].disks.len(), 256);
    }
}
