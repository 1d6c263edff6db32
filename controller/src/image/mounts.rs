//! /proc/self/mountinfo: which mount a path lies on.

use std::{
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Statx, StatxFlags};

/// A line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mount {
    id: u64,
    /// "8:1": the superblock's. All subvolumes of a btrfs share it, while each has an st_dev of its own.
    pub(super) device: String,
    pub(super) path: PathBuf,
    pub(super) fs_type: String,
    /// What is mounted: a device's path, a dataset, "server:/export", or a word.
    pub(super) source: PathBuf,
    /// The mount's own and the superblock's.
    pub(super) options: String,
}

/// The mount of a file, which `found` is the statx of. `None` where mountinfo does not have it.
pub(super) fn of(path: &Path, found: &Statx) -> io::Result<Option<Mount>> {
    let mounts = parse(&fs::read("/proc/self/mountinfo")?);
    let told = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
    let by_id = mounts.iter().find(|mount| told && mount.id == found.stx_mnt_id);
    let one = match by_id {
        Some(mount) => Some(mount),
        // Before Linux 5.8.
        None => deepest(&mounts, &path.canonicalize()?),
    };
    Ok(one.cloned())
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
    let path = path_in(fields.nth(1)?);
    let own = word(fields.next()?)?;
    // Optional fields end with a dash.
    fields.find(|&field| field == b"-")?;
    let fs_type = word(fields.next()?)?;
    let source = path_in(fields.next().unwrap_or_default());
    let options = match fields.next().and_then(word) {
        Some(superblock) => format!("{own},{superblock}"),
        None => own,
    };
    Some(Mount { id, device, path, fs_type, source, options })
}

fn word(field: &[u8]) -> Option<String> {
    String::from_utf8(field.to_vec()).ok()
}

fn path_in(field: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(unescape(field)))
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
pub(super) mod tests {
    use super::*;
    use crate::image::file;

    const MOUNTINFO: &[u8] = b"\
26 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,discard
30 26 0:40 /@guests /guests rw,noatime shared:5 master:2 - btrfs /dev/sdb rw,space_cache=v2
31 26 0:40 /@old /guests/old rw - btrfs /dev/sdb rw
32 26 0:50 / /mnt/with\\040space rw - nfs4 server:/export rw,vers=4.2
33 26 0:51 / /guests rw - tmpfs tmpfs rw
not a line
";

    /// A mount as the tests of this folder need one.
    pub(in crate::image) fn mount(device: &str, fs_type: &str, source: &str) -> Mount {
        Mount {
            id: 1,
            device: device.into(),
            path: "/guests".into(),
            fs_type: fs_type.into(),
            source: source.into(),
            options: "rw".into(),
        }
    }

    #[test]
    fn lines() {
        let said: Vec<_> = parse(MOUNTINFO)
            .into_iter()
            .map(|mount| {
                let Mount { id, device, path, fs_type, source, options } = mount;
                format!("{id} {device} {} {fs_type} {} {options}", path.display(), source.display())
            })
            .collect();
        assert_eq!(
            said,
            [
                "26 8:1 / ext4 /dev/sda1 rw,relatime,rw,discard",
                "30 0:40 /guests btrfs /dev/sdb rw,noatime,rw,space_cache=v2",
                "31 0:40 /guests/old btrfs /dev/sdb rw,rw",
                "32 0:50 /mnt/with space nfs4 server:/export rw,rw,vers=4.2",
                "33 0:51 /guests tmpfs tmpfs rw,rw",
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
    fn by_its_id_as_by_its_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let by_id = of(file.path(), &file::statx(file.path()).unwrap()).unwrap().unwrap();
        let mounts = parse(&fs::read("/proc/self/mountinfo").unwrap());
        assert_eq!(by_id.path, deepest(&mounts, &file.path().canonicalize().unwrap()).unwrap().path);
    }
}
