//! The host filesystem that an image lies on: which, of what type, how full, and when its account is right. Blocking.

use std::{
    fs::{self, File},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use rustix::fs::StatxFlags;

use super::{Failed, file};
use crate::model::image::Datastore;

/// A line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mount {
    id: u64,
    /// "8:1": the superblock's. All subvolumes of a btrfs share it, while each has an st_dev of its own.
    device: String,
    path: PathBuf,
    fs_type: String,
}

/// The datastore of an image.
pub(super) fn of(path: &Path) -> Result<Datastore, Failed> {
    let mount = mount(path)?;
    let filesystem = rustix::fs::statvfs(path).map_err(std::io::Error::from)?;
    Ok(Datastore {
        id: mount.device,
        path: mount.path,
        fs_type: mount.fs_type,
        size_bytes: filesystem.f_blocks.saturating_mul(filesystem.f_frsize),
        free_bytes: filesystem.f_bfree.saturating_mul(filesystem.f_frsize),
    })
}

/// Brings the account of the filesystem up to date.
///
/// btrfs moves its free space, and some of st_blocks, at its commit: syncfs(2) makes one. ext4, xfs and tmpfs account
/// as they go.
pub(super) fn settle(path: &Path) -> Result<(), Failed> {
    if mount(path)?.fs_type != "btrfs" {
        return Ok(());
    }
    // Of the directory: the image itself is never opened for this.
    let real = path.canonicalize()?;
    let directory = File::open(real.parent().unwrap_or(Path::new("/")))?;
    rustix::fs::syncfs(directory).map_err(std::io::Error::from)?;
    Ok(())
}

fn mount(path: &Path) -> Result<Mount, Failed> {
    let found = file::statx(path)?;
    if rustix::fs::FileType::from_raw_mode(found.stx_mode.into()).is_block_device() {
        return Err(Failed::BlockDevice);
    }
    let mounts = parse(&fs::read("/proc/self/mountinfo")?);
    let told = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
    let by_id = mounts.iter().find(|mount| told && mount.id == found.stx_mnt_id);
    let one = match by_id {
        Some(mount) => Some(mount),
        // Before Linux 5.8.
        None => deepest(&mounts, &path.canonicalize()?),
    };
    one.cloned().ok_or(Failed::NoMount)
}

/// The mount that a path without symlinks lies below: the longest, and of equal ones the last, which covers the others.
fn deepest<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.path))
        .max_by_key(|mount| mount.path.components().count())
}

/// Reads mountinfo; lines that are not understood are passed over.
fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = word(fields.next()?)?.parse().ok()?;
    let device = word(fields.nth(1)?)?;
    let path = unescape(fields.nth(1)?);
    // Optional fields end with a dash.
    fields.find(|&field| field == b"-")?;
    let fs_type = word(fields.next()?)?;
    Some(Mount { id, device, path: PathBuf::from(std::ffi::OsString::from_vec(path)), fs_type })
}

fn word(field: &[u8]) -> Option<String> {
    String::from_utf8(field.to_vec()).ok()
}

/// Space, tab, newline and backslash stand as \ooo.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let code = after.first_chunk::<3>().filter(|_| first == b'\\');
        let byte = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 8).ok());
        match byte {
            Some(byte) => {
                plain.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] = b"\
26 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 26 0:40 /@guests /guests rw,noatime shared:5 master:2 - btrfs /dev/sdb rw,space_cache=v2
31 26 0:40 /@old /guests/old rw - btrfs /dev/sdb rw
32 26 0:50 / /mnt/with\\040space rw - nfs4 server:/export rw
33 26 0:51 / /guests rw - tmpfs tmpfs rw
not a line
";

    #[test]
    fn lines() {
        let said: Vec<_> = parse(MOUNTINFO)
            .into_iter()
            .map(|mount| format!("{} {} {} {}", mount.id, mount.device, mount.path.display(), mount.fs_type))
            .collect();
        assert_eq!(
            said,
            [
                "26 8:1 / ext4",
                "30 0:40 /guests btrfs",
                "31 0:40 /guests/old btrfs",
                "32 0:50 /mnt/with space nfs4",
                "33 0:51 /guests tmpfs",
            ]
        );
    }

    #[test]
    fn the_deepest_mount() {
        let mounts = parse(MOUNTINFO);
        for (path, expected) in [
            ("/var/lib/a.img", 26),
            ("/guests/old/a.img", 31),
            ("/guests/a.img", 33),
            ("/guestsx/a.img", 26),
            ("/mnt/with space/a.img", 32),
        ] {
            assert_eq!(deepest(&mounts, Path::new(path)).map(|mount| mount.id), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_file_of_this_host() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let store = of(file.path()).unwrap();
        assert!(file.path().starts_with(&store.path), "{store:?}");
        assert!(store.free_bytes <= store.size_bytes && !store.fs_type.is_empty(), "{store:?}");
        assert_eq!(
            mount(file.path()).unwrap().path,
            deepest(&parse(&fs::read("/proc/self/mountinfo").unwrap()), &file.path().canonicalize().unwrap())
                .unwrap()
                .path
        );
        settle(file.path()).unwrap();
    }
}
