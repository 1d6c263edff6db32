//! Pure: a filesystem's division → the FITRIM calls to make, each as large as the pace wants it then.
//!
//! Ranges cover the filesystem in order, without a gap, none empty. Where they may be cut differs:
//! - ext4 on block groups: a smaller step makes older kernels remember half a group as done.
//! - XFS from 6.10 anywhere in a group, and no more than a part of one: there each call goes by place. One for whole groups
//!   goes by size instead, and gives up a group after its first hundred or so extents (measured on 6.18: 2733 of 3281 MiB,
//!   however often it was repeated).
//! - XFS before, each call scans its whole group again, so whole groups.
//! - btrfs never: its addresses are logical, the first call does all unallocated space whatever its range, and
//!   0..size misses block groups that lie above the device's size.
//! - others never: nothing is known of them.

use crate::{
    kernel::{fitrim::Range, geometry::Groups},
    kernels::Release,
};

/// Where a filesystem may be cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// One call.
    Nowhere,
    /// On the boundaries of its groups.
    Groups(Groups),
    /// On the boundaries of its groups, and between blocks inside them.
    Inside(Groups),
}

/// Since when XFS takes any range without scanning the whole group (fs/xfs/xfs_discard.c, "xfs: fix performance
/// problems when fstrimming a subset of a fragmented AG").
const XFS_ANY_RANGE: (u32, u32) = (6, 10);

/// No piece that a cut leaves is smaller than a block, and few filesystems have smaller ones.
const SMALLEST_BLOCK: u64 = 4096;

/// More than an XFS keeps for itself of each group: its headers, and what its free space needs to be described.
const OWN_OF_A_GROUP: u64 = 4 << 20;

/// Ranges inside of a group end on whole MiB, where partitions, clusters and chunks begin too.
const ALIGN: u64 = 1 << 20;

impl Cut {
    /// Where `fs_type` may be cut on this kernel; `groups` as far as they could be read.
    pub fn of(fs_type: &str, groups: Option<Groups>, kernel: &Release) -> Self {
        let any_range = kernel.is_at_least(XFS_ANY_RANGE.0, XFS_ANY_RANGE.1);
        match (fs_type, groups) {
            ("ext2" | "ext3" | "ext4", Some(groups)) => Self::Groups(groups),
            ("xfs", Some(groups)) if any_range => Self::Inside(groups),
            ("xfs", Some(groups)) => Self::Groups(groups),
            _ => Self::Nowhere,
        }
    }

    /// The largest smallest extent that FITRIM takes here; more is EINVAL (ext4_trim_fs: a block group; xfs_ioc_trim: what
    /// can be used of an allocation group). `None`: not known.
    pub fn largest_min_extent(&self) -> Option<u64> {
        match self {
            Self::Nowhere => None,
            Self::Groups(groups) | Self::Inside(groups) => Some(
                groups.bytes.checked_sub(OWN_OF_A_GROUP).filter(|bytes| *bytes > 0).unwrap_or(groups.bytes),
            ),
        }
    }

    /// The bytes that its ranges cover; `None` where one call does it all.
    pub fn total(&self) -> Option<u64> {
        match self {
            Self::Nowhere => None,
            Self::Groups(groups) | Self::Inside(groups) => Some(groups.total),
        }
    }
}

/// What is left of one pass.
#[derive(Clone, Copy, Debug)]
pub struct Ranges {
    cut: Cut,
    /// The calls so far cover all before it; `None`: all of it.
    at: Option<u64>,
    /// What the kernel leaves out below.
    least: u64,
    /// Cuts inside of a group that were not looked at again, the older one first.
    seams: [Option<u64>; 2],
}

/// One call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// What FITRIM is asked for.
    pub range: Range,
    /// How much of the filesystem it covers that no call before it did. 0: it is about the seam of two ranges.
    pub passes: u64,
}

impl Ranges {
    /// One pass. A free extent below `min_extent` is left alone by the kernel, and so is a piece of a larger one that a
    /// cut leaves; and a cluster of the image's that lies across a cut is freed by neither of its two halves. So where
    /// extents can be smaller than that, a short call goes over each cut once more: some ranges later, since XFS leaves
    /// out what it still discards (xfs_extent_busy_search in fs/xfs/xfs_discard.c).
    pub fn new(cut: Cut, min_extent: u64) -> Self {
        Self { cut, at: Some(0), least: min_extent, seams: [None; 2] }
    }

    /// The next call: about `step` bytes, as near to that as a cut allows; without a step as much as one call does well.
    /// `None` when all were made.
    pub fn next(&mut self, step: Option<u64>) -> Option<Call> {
        if let Some(seam) = self.next_seam() {
            return Some(seam);
        }
        let at = self.at?;
        let cut_end = match (self.cut, step) {
            (Cut::Nowhere, _) | (Cut::Groups(_), None) => {
                self.at = None;
                return Some(Call { range: Range::WHOLE, passes: self.cut.total().unwrap_or(u64::MAX) });
            }
            (Cut::Groups(groups), Some(step)) => after_whole_groups(groups, at, step),
            (Cut::Inside(groups), step) => {
                let in_group = in_group(groups, at);
                if in_group > 0 && self.least > SMALLEST_BLOCK {
                    self.seams = [self.seams.into_iter().flatten().last(), Some(at)];
                }
                inside(groups, at, in_group, step.unwrap_or(u64::MAX))
            }
        };
        // Never less than something, so that a pass ends.
        let end = cut_end.max(at.saturating_add(1)).min(self.cut.total().unwrap_or(u64::MAX));
        self.at = self.cut.total().and_then(|total| (end < total).then_some(end));
        let len = end.saturating_sub(at);
        Some(Call { range: Range { start: at, len }, passes: len })
    }

    /// A seam, once a range was made after the one behind it.
    fn next_seam(&mut self) -> Option<Call> {
        let Cut::Inside(groups) = self.cut else { return None };
        let [older, newer] = self.seams;
        let seam = match (older, newer) {
            (Some(older), newer) => {
                self.seams = [None, newer];
                older
            }
            (None, Some(newer)) if self.at.is_none() => {
                self.seams = [None; 2];
                newer
            }
            _ => return None,
        };
        let from_group = in_group(groups, seam);
        let start = seam.saturating_sub(self.least.min(from_group));
        let group_end = seam.saturating_add(groups.bytes.saturating_sub(from_group)).min(groups.total);
        let len = seam.saturating_add(self.least).min(group_end).saturating_sub(start);
        Some(Call { range: Range { start, len }, passes: 0 })
    }
}

/// How far behind the start of its group.
fn in_group(groups: Groups, at: u64) -> u64 {
    at.saturating_sub(groups.first).checked_rem(groups.bytes).unwrap_or(0)
}

/// Where as many whole groups end as `step` holds; one at least. The bytes before the first group go with it.
fn after_whole_groups(groups: Groups, at: u64, step: u64) -> u64 {
    let count = step.checked_div(groups.bytes).unwrap_or(1).max(1);
    at.max(groups.first).saturating_add(count.saturating_mul(groups.bytes))
}

/// Where a step ends that began `in_group` bytes behind the start of its group. Half a group at most: what XFS takes for
/// the whole of one it goes through by size.
fn inside(groups: Groups, at: u64, in_group: u64, step: u64) -> u64 {
    let group_end = at.saturating_add(groups.bytes.saturating_sub(in_group));
    let end = at.saturating_add(step.min(groups.bytes.div_ceil(2)));
    let aligned = end.saturating_sub(end.checked_rem(ALIGN).unwrap_or(0));
    (if aligned > at { aligned } else { at.saturating_add(ALIGN) }).min(group_end)
}

/// The call that makes ext4 look again: a range of its first MiB with an extent as large as a whole group. It finds
/// nothing, since the first group is never all free, but ext4 then remembers that the last trim asked for larger
/// extents than the next one does, and looks at every group anew (`s_last_trim_minblks`, fs/ext4/mballoc.c). Each
/// call lowers that figure again, so this goes before every range.
pub fn arming(groups: Groups) -> (Range, u64) {
    (Range { start: 0, len: 1 << 20 }, groups.bytes)
}

#[cfg(test)]
mod tests;
