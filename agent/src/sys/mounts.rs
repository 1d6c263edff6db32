//! /proc/self/mountinfo (proc_pid_mountinfo(5)): which superblocks are mounted, and where each can be reached.
//!
//! A superblock is a `major:minor`; bind mounts and btrfs subvolumes share it. `stat` would tell btrfs subvolumes
//! apart, so it is not used here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsString,
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use super::{Roots, SysError};
use crate::model::DevNum;

/// One line of mountinfo.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// This mount.
    pub id: u32,
    /// The mount that it is mounted on; may be outside of what this process sees.
    pub parent: u32,
    /// The superblock.
    pub device: DevNum,
    /// What of the filesystem is shown: "/", a directory or a file of a bind mount, a btrfs subvolume.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// The mount's own options; they do not decide whether the superblock can be written.
    pub options: OsString,
    /// "shared:1", "master:2": any number of them.
    pub optional: Vec<OsString>,
    /// "ext4".
    pub fs_type: String,
    /// "/dev/sda1", or whatever the filesystem calls it.
    pub source: OsString,
    /// The superblock's options.
    pub super_options: OsString,
}

impl Mount {
    /// Whether the superblock itself is read-only: the mount's own options do not tell.
    pub fn superblock_is_read_only(&self) -> bool {
        self.super_options.as_bytes().split(|b| *b == b',').any(|option| option == b"ro")
    }

    /// Whether it shows a directory that was removed since: the kernel then appends "//deleted".
    pub fn root_is_deleted(&self) -> bool {
        self.root.as_os_str().as_bytes().ends_with(b"//deleted")
    }
}

/// A superblock with all of its mount points.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// Its number.
    pub id: DevNum,
    /// "ext4".
    pub fs_type: String,
    /// What the first of its mounts was made from.
    pub source: OsString,
    /// It cannot be written through any mount.
    pub read_only: bool,
    /// Its mount points, the best to reach it by first.
    pub points: Vec<Point>,
}

/// One mount point of a superblock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Point {
    /// Where.
    pub path: PathBuf,
    /// Another mount hides it.
    pub covered: bool,
    /// It shows the filesystem's own root, which is a directory. Others may show a file.
    pub whole: bool,
    /// It shows something that was removed since.
    pub deleted: bool,
}

/// Reads all superblocks, in the order in which mountinfo has the first mount of each.
///
/// # Errors
/// [`SysError::Read`]; [`SysError::Format`] names a line that is not one of mountinfo.
pub fn read(roots: &Roots) -> Result<Vec<Superblock>, SysError> {
    let path = roots.proc.join("self/mountinfo");
    let text = fs::read(&path).map_err(SysError::read(&path))?;
    Ok(superblocks(&parse(&path, &text)?))
}

/// Reads the lines of a mountinfo.
pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<Vec<Mount>, SysError> {
    text.split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            parse_line(line).ok_or_else(|| SysError::Format {
                path: path.to_owned(),
                text: String::from_utf8_lossy(line).into_owned(),
                expected: "a line of mountinfo",
            })
        })
        .collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|b| *b == b' ');
    let mut word = || words.next();
    let id = number(word()?)?;
    let parent = number(word()?)?;
    let device = std::str::from_utf8(word()?).ok()?.parse().ok()?;
    let root = unescape(word()?).into();
    let point = unescape(word()?).into();
    let options = unescape(word()?);
    let mut optional = Vec::new();
    loop {
        match word()? {
            b"-" => break,
            field => optional.push(unescape(field)),
        }
    }
    let fs_type = unescape(word()?).to_string_lossy().into_owned();
    let source = unescape(word()?);
    // A filesystem without options leaves the last field empty, and some kernels leave its blank away.
    let super_options = unescape(word().unwrap_or_default());
    Some(Mount { id, parent, device, root, point, options, optional, fs_type, source, super_options })
}

fn number(word: &[u8]) -> Option<u32> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Undoes the kernel's `mangle_path`: blank, tab, newline, backslash and `#` stand as three octal digits. fstab has
/// the same.
pub(crate) fn unescape(word: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        match octal(tail).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits.get(..3)?).ok()?;
    if digits.starts_with('+') {
        return None;
    }
    u8::from_str_radix(digits, 8).ok()
}

/// Groups mounts by superblock and says which of their points can be reached.
pub(crate) fn superblocks(mounts: &[Mount]) -> Vec<Superblock> {
    let hidden = hidden(mounts);
    let mut order = Vec::new();
    let mut groups: BTreeMap<DevNum, Vec<&Mount>> = BTreeMap::new();
    for mount in mounts {
        let group = groups.entry(mount.device).or_default();
        if group.is_empty() {
            order.push(mount.device);
        }
        group.push(mount);
    }
    order
        .into_iter()
        .filter_map(|id| {
            let group = groups.get(&id)?;
            let first = group.first()?;
            let mut points: Vec<Point> = group
                .iter()
                .map(|mount| Point {
                    path: mount.point.clone(),
                    covered: hidden.contains(&mount.id),
                    whole: mount.root == Path::new("/"),
                    deleted: mount.root_is_deleted(),
                })
                .collect();
            points.sort_by_cached_key(|p| (p.covered, p.deleted, p.path.as_os_str().len(), p.path.clone()));
            Some(Superblock {
                id,
                fs_type: first.fs_type.clone(),
                source: first.source.clone(),
                read_only: first.superblock_is_read_only(),
                points,
            })
        })
        .collect()
}

/// The mounts that no path leads to any more. A mount is hidden where another is mounted on its root, where another
/// mount of its parent covers the way to its mount point, or where its parent is hidden; what hides the parent by lying on
/// its root is not hidden by that itself.
fn hidden(mounts: &[Mount]) -> HashSet<u32> {
    let by_id: HashMap<u32, &Mount> = mounts.iter().map(|m| (m.id, m)).collect();
    let mut children: HashMap<u32, HashSet<&Path>> = HashMap::new();
    for mount in mounts.iter().filter(|m| m.id != m.parent) {
        children.entry(mount.parent).or_default().insert(&mount.point);
    }
    let covers = |id: u32, path: &Path| children.get(&id).is_some_and(|points| points.contains(path));
    let parent_of = |mount: &Mount| by_id.get(&mount.parent).filter(|parent| parent.id != mount.id).copied();
    let is_cut_off = |mount: &Mount| {
        mount.id != mount.parent
            && mount.point.ancestors().skip(1).any(|above| {
                parent_of(mount)
                    .is_none_or(|parent| above.starts_with(&parent.point) && above != parent.point)
                    && covers(mount.parent, above)
            })
    };
    let is_hidden = |mount: &&Mount| {
        let (mut at, mut is_under) = (*mount, covers(mount.id, &mount.point));
        // No chain is longer than the list, whatever the numbers say.
        for _ in 0..mounts.len() {
            if is_under || is_cut_off(at) {
                return true;
            }
            let Some(parent) = parent_of(at) else { return false };
            is_under = at.point != parent.point && covers(parent.id, &parent.point);
            at = parent;
        }
        false
    };
    mounts.iter().filter(is_hidden).map(|mount| mount.id).collect()
}

#[cfg(test)]
mod tests;
