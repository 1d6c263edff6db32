//! Pure: a filesystem, what lies below it and the owner's policy → trim it, or a typed reason why not.
//!
//! The reasons are looked at in this order, and the first that holds is told: those that never pass (no disk, another
//! machine's disk, a type without a trustworthy FITRIM) before those that someone can change, and a freeze, which
//! passes by itself, last.

use std::path::{Path, PathBuf};

use trimtab_proto::words::{DeviceKind, SkipReason};

use crate::{
    kernels::{Advice, Release, advice},
    model::{DevNum, Skip},
    sys::{
        block::{Block, Blocks},
        mounts::Superblock,
        stack::{Stack, cut},
    },
    text::shown,
};

/// Types whose FITRIM is trusted. ext2 and ext3 are mounted by ext4's code on every kernel of today.
pub const TRUSTED_TYPES: [&str; 5] = ["ext2", "ext3", "ext4", "xfs", "btrfs"];

/// What the guest's owner wants trimmed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// The mount points that are trimmed; empty: all. `*` stays within one step of a path, `**` does not.
    pub only: Vec<glob::Pattern>,
    /// Mount points that are left out.
    pub exclude: Vec<glob::Pattern>,
    /// The types that are trimmed; empty: all that are trusted.
    pub types: Vec<String>,
    /// Types that are trusted beside [`TRUSTED_TYPES`].
    pub also_types: Vec<String>,
}

impl Policy {
    /// Whether FITRIM of a type is trusted, by the agent or by its owner.
    pub fn trusts(&self, fs_type: &str) -> bool {
        TRUSTED_TYPES.contains(&fs_type) || self.also_types.iter().any(|also| also == fs_type)
    }

    fn excluded_by(&self, mount: &Path) -> Option<&glob::Pattern> {
        matching(&self.exclude, mount)
    }

    fn wants(&self, mount: &Path) -> bool {
        self.only.is_empty() || matching(&self.only, mount).is_some()
    }
}

fn matching<'a>(patterns: &'a [glob::Pattern], mount: &Path) -> Option<&'a glob::Pattern> {
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    patterns.iter().find(|pattern| pattern.matches_path_with(mount, options))
}

/// Where a filesystem keeps its data, by its type and number alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In memory, or in another filesystem.
    Nowhere,
    /// It only waits to mount something else; whoever touches it makes it do so.
    Automount,
    /// On another machine, or on the host.
    Elsewhere,
    /// On block devices of this guest.
    Disk,
}

/// Types that are served by another machine or by the host. `fuse.` types of the same names are, too.
const ELSEWHERE: &[&str] = &[
    "9p",
    "acfs",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "cvmfs2",
    "davfs",
    "gcsfuse",
    "glusterfs",
    "gpfs",
    "lustre",
    "mfs",
    "moosefs",
    "ncpfs",
    "nfs",
    "nfs4",
    "orangefs",
    "pnfs",
    "prl_fs",
    "pvfs2",
    "quobyte",
    "rclone",
    "s3fs",
    "smb3",
    "smbfs",
    "sshfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
    "vmhgfs-fuse",
];

/// Filesystems with devices of their own that no device number in mountinfo names.
const MANY_DEVICES: &[&str] = &["bcachefs", "btrfs", "zfs"];

/// Says where a filesystem keeps its data.
pub fn place(fs_type: &str, id: DevNum) -> Place {
    let bare = fs_type.strip_prefix("fuse.").unwrap_or(fs_type);
    match bare {
        "autofs" => Place::Automount,
        _ if ELSEWHERE.contains(&bare) => Place::Elsewhere,
        _ if id.major != 0 || MANY_DEVICES.contains(&bare) => Place::Disk,
        _ => Place::Nowhere,
    }
}

/// One filesystem, with all that is known of it.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// What is mounted.
    pub superblock: &'a Superblock,
    /// Where it can be reached: a directory that nothing covers.
    pub reachable: bool,
    /// What lies below it.
    pub stack: &'a Stack,
    /// All devices.
    pub blocks: &'a Blocks,
    /// The mount point that fstab keeps from being trimmed.
    pub opted_out: Option<&'a Path>,
    /// The flag of a freeze hook.
    pub frozen: Option<PathBuf>,
    /// The running kernel, where its release is understood.
    pub kernel: Option<&'a Release>,
}

impl<'a> Candidate<'a> {
    /// What the table of kernels says of it.
    pub fn advice(&self) -> Option<Advice> {
        let layers = self.stack.layers.iter().filter_map(|id| self.blocks.get(*id));
        advice(self.kernel?, &self.superblock.fs_type, layers, self.blocks)
    }

    fn top(&self) -> Option<&'a Block> {
        self.blocks.get(*self.stack.tops.first()?)
    }
}

/// Decides. `None`: it would be trimmed.
pub fn judge(candidate: &Candidate<'_>, policy: &Policy) -> Option<Skip> {
    let Superblock { fs_type, id, points, read_only, .. } = candidate.superblock;
    let shown_type = shown(fs_type);
    let skip = |reason, text| Some(Skip { reason, device: None, text });
    match place(fs_type, *id) {
        Place::Nowhere => {
            return skip(SkipReason::Pseudo, format!("{shown_type} keeps nothing on a disk of its own"));
        }
        Place::Automount => {
            return skip(
                SkipReason::Pseudo,
                "autofs is left untouched: looking into it would mount it".to_owned(),
            );
        }
        Place::Elsewhere => {
            return skip(SkipReason::Network, format!("{shown_type} keeps its data outside of this guest"));
        }
        Place::Disk => {}
    }
    if !policy.trusts(fs_type) {
        return skip(
            SkipReason::Type,
            format!(
                "{shown_type} is not on the list of types whose FITRIM is trusted; also_types can add it"
            ),
        );
    }
    if *read_only {
        return skip(
            SkipReason::ReadOnly,
            "the superblock is read-only; remount it writable to trim it".to_owned(),
        );
    }
    if let Some(mount) = candidate.opted_out {
        return skip(
            SkipReason::OptedOut,
            format!("X-fstrim.notrim stands in /etc/fstab for {}", shown(mount.as_os_str())),
        );
    }
    if let Some((point, pattern)) = points.iter().find_map(|p| Some((p, policy.excluded_by(&p.path)?))) {
        return skip(
            SkipReason::OptedOut,
            format!(
                "the agent's configuration excludes {} by {pattern:?}",
                shown(point.path.as_os_str()),
                pattern = pattern.as_str()
            ),
        );
    }
    if !policy.types.is_empty() && !policy.types.contains(fs_type) {
        let types = policy.types.join(", ");
        return skip(
            SkipReason::OptedOut,
            format!("the agent's configuration trims {} alone", shown(&types)),
        );
    }
    if !points.iter().any(|point| policy.wants(&point.path)) {
        let only = policy.only.iter().map(glob::Pattern::as_str).collect::<Vec<_>>().join(", ");
        return skip(SkipReason::OptedOut, format!("the agent's configuration trims {} alone", shown(&only)));
    }
    if !candidate.reachable {
        return skip(
            SkipReason::OverMounted,
            "no mount point leads to it: each is covered by another mount, or shows a file".to_owned(),
        );
    }
    if let Some(Advice::Refuse(text)) = candidate.advice() {
        return skip(SkipReason::Kernel, text);
    }
    let tops = &candidate.stack.tops;
    if tops.is_empty() || tops.iter().any(|top| candidate.blocks.get(*top).is_none()) {
        return skip(
            SkipReason::NoDiscard,
            "its device is not in /sys/block: it was pulled out, or is hidden from here".to_owned(),
        );
    }
    if let Some(block) = cut(candidate.stack, candidate.blocks).and_then(|id| candidate.blocks.get(id)) {
        return Some(Skip {
            reason: SkipReason::NoDiscard,
            device: Some(block.device.id),
            text: why_cut(block, candidate.top()),
        });
    }
    if let Some(flag) = &candidate.frozen {
        return skip(
            SkipReason::Frozen,
            format!("a backup has frozen it; if none is under way, remove {}", shown(flag.as_os_str())),
        );
    }
    None
}

/// Why a layer passes no discard, and what would change it.
fn why_cut(block: &Block, top: Option<&Block>) -> String {
    let name = shown(if block.dm_name.is_empty() { &block.device.name } else { &block.dm_name });
    let text = match block.device.kind {
        DeviceKind::Crypt => format!(
            "dm-crypt {name} passes no discards: add `discard` to its line in /etc/crypttab and open it again"
        ),
        DeviceKind::Md => match block.md.as_ref().map(|md| md.level.as_str()) {
            Some(level @ ("raid4" | "raid5" | "raid6")) => format!(
                "{name} is {level}, which passes discards only if its disks return zeroes for discarded blocks and \
                 raid456.devices_handle_discard_safely says so"
            ),
            _ => format!("md array {name} passes no discards, though its members do"),
        },
        DeviceKind::Lvm => {
            format!("logical volume {name} passes no discards, though what lies below it does")
        }
        DeviceKind::Multipath | DeviceKind::Mapped => {
            format!("{name} passes no discards, though what lies below it does")
        }
        DeviceKind::Loop => {
            format!("{name} passes no discards: the filesystem that holds its file cannot punch holes")
        }
        DeviceKind::Disk | DeviceKind::Partition if block.device.provisioning_mode == "disabled" => format!(
            "the kernel has switched discards off on {name} (provisioning_mode disabled): the disk refused one; \
             rescan it or reboot"
        ),
        DeviceKind::Disk | DeviceKind::Partition if block.device.discard.max_hw_bytes > Some(0) => {
            format!(
                "discards were switched off on {name} (queue/discard_max_bytes is 0); a reboot brings them back"
            )
        }
        DeviceKind::Disk | DeviceKind::Partition => {
            format!("{name} offers no discard to this guest: its host decides that")
        }
    };
    match top {
        Some(top) if top.device.id != block.device.id => {
            format!(
                "{text} (below {})",
                shown(if top.dm_name.is_empty() { &top.device.name } else { &top.dm_name })
            )
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests;
