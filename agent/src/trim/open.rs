//! Opens the filesystem that was chosen, and no other: between the survey and this moment something may have been
//! mounted over it, or it may be gone. Blocks; call it where that harms nobody.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use nix::{errno::Errno, libc};
use trimtab_proto::words::FailureKind;

use super::report::Failure;
use crate::{
    kernel::{
        fitrim,
        geometry::{self, EXT4_SUPERBLOCK_BYTES, EXT4_SUPERBLOCK_OFFSET, Groups},
    },
    model::DevNum,
    sys::Roots,
};

/// A directory of the superblock `id`, by its mount point.
pub(crate) fn open(roots: &Roots, mount: &Path, id: DevNum) -> Result<OwnedFd, Failure> {
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(mount)
        .map_err(|source| cannot_open(mount, &source))?;
    match superblock_of(roots, &directory) {
        Ok(found) if found == id => Ok(directory.into()),
        Ok(found) => Err(gone(format!(
            "another filesystem ({found}) is mounted on {} now; survey again",
            mount.display()
        ))),
        Err(source) => Err(gone(format!("cannot tell what is mounted on {}: {source}", mount.display()))),
    }
}

fn gone(text: String) -> Failure {
    Failure { kind: FailureKind::Gone, errno: 0, text }
}

fn cannot_open(mount: &Path, source: &io::Error) -> Failure {
    let errno = source.raw_os_error().unwrap_or_default();
    let kind = match Errno::from_raw(errno) {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => FailureKind::Gone,
        other => fitrim::explain(other).0,
    };
    Failure { kind, errno, text: format!("cannot open {}: {source}", mount.display()) }
}

/// The number, as mountinfo has it, of the superblock that an open file is on. stat's st_dev will not do: it differs
/// for each subvolume of a btrfs.
fn superblock_of(roots: &Roots, file: &File) -> io::Result<DevNum> {
    let missing = |what: String| io::Error::new(io::ErrorKind::NotFound, what);
    let fdinfo = fs::read_to_string(roots.proc.join(format!("self/fdinfo/{}", file.as_raw_fd())))?;
    let mount_id = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))
        .map(str::trim)
        .ok_or_else(|| missing("no mnt_id in /proc/self/fdinfo".to_owned()))?;
    let mountinfo = fs::read_to_string(roots.proc.join("self/mountinfo"))?;
    superblock_of_mount(&mountinfo, mount_id)
        .ok_or_else(|| missing(format!("mount {mount_id} is not in /proc/self/mountinfo")))
}

/// proc_pid_mountinfo(5): mount ID, parent ID, major:minor, …
fn superblock_of_mount(mountinfo: &str, mount_id: &str) -> Option<DevNum> {
    mountinfo.lines().find_map(|line| {
        let mut fields = line.split(' ');
        (fields.next() == Some(mount_id)).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// How the filesystem is divided, where its type is one that may be cut and that can be read.
pub(crate) fn groups(
    roots: &Roots,
    fs_type: &str,
    directory: &OwnedFd,
    device: Option<DevNum>,
) -> Option<Groups> {
    match fs_type {
        "xfs" => geometry::xfs_groups(directory).ok().flatten(),
        "ext2" | "ext3" | "ext4" => geometry::ext4_groups(&superblock(roots, device?).ok()?),
        _ => None,
    }
}

/// The first bytes of ext4's superblock, from the node in /dev that has the device's number.
fn superblock(roots: &Roots, device: DevNum) -> io::Result<Vec<u8>> {
    let uevent = fs::read_to_string(roots.sys.join(format!("dev/block/{device}/uevent")))?;
    let name =
        uevent.lines().find_map(|line| line.strip_prefix("DEVNAME=")).ok_or(io::ErrorKind::NotFound)?;
    let mut node = File::open(roots.dev.join(name))?;
    let found = node.metadata()?;
    let number = nix::sys::stat::makedev(device.major.into(), device.minor.into());
    if !found.file_type().is_block_device() || found.rdev() != number {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut bytes = vec![0; EXT4_SUPERBLOCK_BYTES];
    node.seek(SeekFrom::Start(EXT4_SUPERBLOCK_OFFSET))?;
    node.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_mount_by_its_id() {
        let mountinfo = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                         210 21 0:40 /sub /home rw shared:1 - btrfs /dev/sdb rw\n";
        assert_eq!(superblock_of_mount(mountinfo, "21"), Some(DevNum { major: 8, minor: 1 }));
        assert_eq!(superblock_of_mount(mountinfo, "210"), Some(DevNum { major: 0, minor: 40 }));
        assert_eq!(superblock_of_mount(mountinfo, "2"), None);
    }

    #[test]
    fn another_filesystem_is_gone() {
        let roots = Roots::system();
        let wrong = DevNum { major: 4095, minor: 1 };
        assert_eq!(open(&roots, Path::new("/proc"), wrong).unwrap_err().kind, FailureKind::Gone);
        assert_eq!(open(&roots, Path::new("/not/there"), wrong).unwrap_err().kind, FailureKind::Gone);
        assert_eq!(open(&roots, Path::new("/proc/version"), wrong).unwrap_err().kind, FailureKind::Gone);
        let proc = superblock_of(&roots, &File::open("/proc").unwrap()).unwrap();
        open(&roots, Path::new("/proc"), proc).unwrap();
    }
}
