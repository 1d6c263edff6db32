//! Pure: a filesystem's division and the pace → the FITRIM calls to make.
//!
//! Ranges cover the filesystem exactly once, in order, none empty. Where they may be cut differs:
//! - ext4 on block groups: a smaller step makes older kernels remember half a group as done.
//! - XFS from 6.10 anywhere in a group; before, each call scans its whole group again, so whole groups.
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

    /// The bytes that its ranges cover; `None` where one call does it all.
    pub fn total(&self) -> Option<u64> {
        match self {
            Self::Nowhere => None,
            Self::Groups(groups) | Self::Inside(groups) => Some(groups.total),
        }
    }
}

/// The calls, in order. `step` is how much one call should cover, in whole MiB; `None` for all of it.
pub fn ranges(cut: Cut, step: Option<u64>) -> Ranges {
    let (groups, step, inside) = match (cut, step) {
        (Cut::Nowhere, _) | (_, None) => return Ranges::WholeInOne,
        (Cut::Groups(groups), Some(step)) => (groups, step, false),
        (Cut::Inside(groups), Some(step)) => (groups, step, step < groups.bytes),
    };
    let step = if inside {
        step.max(1)
    } else {
        step.checked_div(groups.bytes).unwrap_or(1).max(1).saturating_mul(groups.bytes)
    };
    Ranges::Cut { at: 0, groups, step, inside }
}

/// An iterator over the calls of one pass.
#[derive(Clone, Copy, Debug)]
pub enum Ranges {
    /// One call for all, not made yet.
    WholeInOne,
    /// Several.
    Cut {
        /// What the calls so far cover.
        at: u64,
        /// The division.
        groups: Groups,
        /// Bytes of a call: whole groups, or less than one.
        step: u64,
        /// Calls are parts of a group.
        inside: bool,
    },
    /// All were made.
    Over,
}

impl Iterator for Ranges {
    type Item = Range;

    fn next(&mut self) -> Option<Range> {
        match *self {
            Self::WholeInOne => {
                *self = Self::Over;
                Some(Range::WHOLE)
            }
            Self::Cut { at, groups, step, inside } if at < groups.total => {
                // The bytes before the first group go with it.
                let from = at.max(groups.first).saturating_sub(groups.first);
                let next_step = if inside {
                    let in_group = from.checked_rem(groups.bytes)?;
                    let group_end = groups.bytes.saturating_sub(in_group);
                    step.saturating_sub(in_group.checked_rem(step)?).min(group_end)
                } else {
                    step
                };
                let end = groups.first.saturating_add(from).saturating_add(next_step).min(groups.total);
                *self = Self::Cut { at: end, groups, step, inside };
                Some(Range { start: at, len: end.saturating_sub(at) })
            }
            Self::Cut { .. } | Self::Over => None,
        }
    }
}

/// The call that makes ext4 look again: a range of its first MiB with an extent as large as a whole group. It finds
/// nothing, since the first group is never all free, but ext4 then remembers that the last trim asked for larger
/// extents than the next one does, and looks at every group anew (`s_last_trim_minblks`, fs/ext4/mballoc.c). Each
/// call lowers that figure again, so this goes before every range.
pub fn arming(groups: Groups) -> (Range, u64) {
    (Range { start: 0, len: 1 << 20 }, groups.bytes)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const OLD: &str = "6.9.12-amd64";
    const NEW: &str = "6.18.0";

    fn groups(first: u64, bytes: u64, total: u64) -> Groups {
        Groups { first, bytes, total }
    }

    fn pairs(cut: Cut, step: Option<u64>) -> Vec<(u64, u64)> {
        ranges(cut, step).map(|r| (r.start, r.len)).collect()
    }

    #[test]
    fn where_a_type_may_be_cut() {
        let g = groups(0, 128 * MIB, 1024 * MIB);
        for (name, fs_type, read, kernel, cut) in [
            ("ext4", "ext4", Some(g), OLD, Cut::Groups(g)),
            ("ext4, superblock not read", "ext4", None, NEW, Cut::Nowhere),
            ("ext2 mounted by itself", "ext2", Some(g), NEW, Cut::Groups(g)),
            ("old xfs", "xfs", Some(g), OLD, Cut::Groups(g)),
            ("new xfs", "xfs", Some(g), NEW, Cut::Inside(g)),
            ("btrfs", "btrfs", None, NEW, Cut::Nowhere),
            ("f2fs by flag", "f2fs", Some(g), NEW, Cut::Nowhere),
        ] {
            assert_eq!(Cut::of(fs_type, read, &kernel.parse().unwrap()), cut, "{name}");
        }
    }

    #[test]
    fn named_cases() {
        let ext4 = groups(0, 128 * MIB, 300 * MIB);
        let small_blocks = groups(1024, 8 * MIB, 20 * MIB);
        let xfs = groups(0, 200 * MIB, 450 * MIB);
        for (name, cut, step, expected) in [
            ("btrfs", Cut::Nowhere, Some(MIB), vec![(0, u64::MAX)]),
            ("full", Cut::Groups(ext4), None, vec![(0, u64::MAX)]),
            ("never less than a group", Cut::Groups(ext4), Some(MIB), vec![(0, 128), (128, 128), (256, 44)]),
            ("many groups", Cut::Groups(ext4), Some(256 * MIB), vec![(0, 256), (256, 44)]),
            (
                "inside xfs groups, never across one",
                Cut::Inside(xfs),
                Some(128 * MIB),
                vec![(0, 128), (128, 72), (200, 128), (328, 72), (400, 50)],
            ),
            ("whole xfs groups", Cut::Inside(xfs), Some(1024 * MIB), vec![(0, 450)]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(s, l)| if l == u64::MAX { (s, l) } else { (s * MIB, l * MIB) })
                .collect();
            assert_eq!(pairs(cut, step), expected, "{name}");
        }
        let got = pairs(Cut::Groups(small_blocks), Some(MIB));
        assert_eq!(got[0], (0, 1024 + 8 * MIB), "the boot block goes with the first group");
        assert_eq!(got[1], (1024 + 8 * MIB, 8 * MIB));
        assert_eq!(got.len(), 3);
    }

    proptest! {
        #[test]
        fn cover_exactly_and_aligned(
            first in prop_oneof![Just(0_u64), Just(1024_u64)],
            group_mib in 1_u64..4096,
            total in 4096_u64..(1 << 44),
            step_mib in 128_u64..65_536,
            inside: bool,
        ) {
            let g = groups(first, group_mib * MIB, total);
            prop_assume!(total / (step_mib.min(group_mib) * MIB) < 50_000);
            let cut = if inside { Cut::Inside(groups(0, g.bytes, total)) } else { Cut::Groups(g) };
            let first = if inside { 0 } else { first };
            let mut covered = 0_u64;
            for range in ranges(cut, Some(step_mib * MIB)) {
                prop_assert_eq!(range.start, covered, "no gap, no overlap");
                prop_assert!(range.len > 0);
                covered += range.len;
                let from_group = (covered - first) % g.bytes;
                prop_assert!(
                    covered == total || from_group == 0 || (inside && from_group.is_multiple_of(step_mib * MIB)),
                    "cut at {covered}"
                );
            }
            prop_assert_eq!(covered, total);
        }
    }
}
