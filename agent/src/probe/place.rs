//! Pure: where a probe's file lies → the FITRIM calls that cover it, and what of the file stays until they are done.
//!
//! - ext4 trims whole block groups, as always: a smaller range makes older kernels remember half a group as done. It
//!   remembers each group that was trimmed until a block of it is freed (`EXT4_GROUP_INFO_WAS_TRIMMED`,
//!   fs/ext4/mballoc.c). So one block of the file stays in each group and is freed after the trim: ext4 forgets the mark,
//!   and a later trim looks at these groups as if there had been no probe.
//! - XFS takes any range from 6.10. Before, it scans a whole allocation group for each call and discards whole extents
//!   that touch the range, so the calls are few.
//! - btrfs passes over the block group that a range begins in the middle of, so a range begins where the block group does.
//!   It trims all unallocated space beside it, which it then remembers until it is mounted anew.

use std::collections::BTreeMap;

use crate::{
    kernel::{fiemap::Extent, fitrim::Range, geometry::Groups},
    kernels::Release,
    ranges::Cut,
};

/// A file in pieces: not more calls than this, and rather more of the filesystem in each.
const MOST_CALLS: usize = 16;

/// Where each call costs a scan of its own.
const MOST_COSTLY_CALLS: usize = 4;

/// How a filesystem's ranges are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scheme {
    /// Whole groups.
    Groups(Groups),
    /// The extents, in at most so many calls.
    Extents { most: usize, beyond: bool },
}

impl Scheme {
    /// For a type of filesystem; `groups` as far as they could be read.
    ///
    /// # Errors
    /// Why it cannot be probed.
    pub(super) fn of(fs_type: &str, groups: Option<Groups>, kernel: &Release) -> Result<Self, &'static str> {
        match (fs_type, Cut::of(fs_type, groups, kernel)) {
            ("xfs", Cut::Inside(_)) => Ok(Self::Extents { most: MOST_CALLS, beyond: false }),
            ("xfs", Cut::Groups(_)) => Ok(Self::Extents { most: MOST_COSTLY_CALLS, beyond: true }),
            ("xfs", Cut::Nowhere) => Err("it has a realtime device, or its geometry cannot be read"),
            ("btrfs", _) => Ok(Self::Extents { most: MOST_COSTLY_CALLS, beyond: true }),
            (_, Cut::Groups(groups)) => Ok(Self::Groups(groups)),
            ("ext2" | "ext3" | "ext4", _) => Err("its superblock cannot be read"),
            _ => Err("only ext2, ext3, ext4, xfs and btrfs can be probed"),
        }
    }

    /// The calls, in order of place.
    pub(super) fn ranges(&self, extents: &[Extent]) -> Vec<Range> {
        match self {
            Self::Groups(groups) => {
                // The bytes before the first group go with it, and none lie behind the last one.
                let range = |index: &u64| {
                    let from = index.saturating_mul(groups.bytes).saturating_add(groups.first);
                    let end = from.saturating_add(groups.bytes).min(groups.total);
                    let start = if *index == 0 { 0 } else { from };
                    (start, end)
                };
                let whole: Vec<(u64, u64)> = in_groups(groups, extents).keys().map(range).collect();
                joined(&whole, 0).into_iter().map(to_range).collect()
            }
            Self::Extents { most, .. } => {
                let mut pieces: Vec<(u64, u64)> =
                    extents.iter().map(|e| (e.trim_from, e.physical.saturating_add(e.len))).collect();
                pieces.sort_unstable();
                let mut gap = 0_u64;
                loop {
                    let ranges = joined(&pieces, gap);
                    if ranges.len() <= *most {
                        return ranges.into_iter().map(to_range).collect();
                    }
                    gap = gap.saturating_mul(2).max(1 << 20);
                }
            }
        }
    }

    /// The places in the file whose blocks stay until all calls are done, bytes.
    pub(super) fn keep(&self, extents: &[Extent]) -> Vec<u64> {
        match self {
            Self::Groups(groups) => in_groups(groups, extents).into_values().collect(),
            Self::Extents { .. } => Vec::new(),
        }
    }

    /// A call trims more than its range.
    pub(super) fn beyond(&self) -> bool {
        matches!(self, Self::Extents { beyond: true, .. })
    }
}

/// The groups that the extents lie in, each with a place in the file that lies in it.
fn in_groups(groups: &Groups, extents: &[Extent]) -> BTreeMap<u64, u64> {
    let index = |at: u64| at.saturating_sub(groups.first).checked_div(groups.bytes).unwrap_or(0);
    let mut found = BTreeMap::new();
    for extent in extents.iter().filter(|extent| extent.len > 0) {
        let last = extent.physical.saturating_add(extent.len).saturating_sub(1);
        for group in index(extent.physical)..=index(last) {
            let begin = group.saturating_mul(groups.bytes).saturating_add(groups.first);
            let into = begin.saturating_sub(extent.physical);
            found.entry(group).or_insert_with(|| extent.logical.saturating_add(into));
        }
    }
    found
}

/// Ranges (from, to) in order, with those joined that are no further apart than `gap`.
fn joined(ranges: &[(u64, u64)], gap: u64) -> Vec<(u64, u64)> {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, to) in ranges {
        match joined.last_mut() {
            Some((_, end)) if *from <= end.saturating_add(gap) => *end = (*end).max(*to),
            _ => joined.push((*from, *to)),
        }
    }
    joined
}

fn to_range((from, to): (u64, u64)) -> Range {
    Range { start: from, len: to.saturating_sub(from) }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn extent(logical: u64, physical: u64, len: u64) -> Extent {
        Extent { logical: logical * MIB, physical: physical * MIB, len: len * MIB, trim_from: physical * MIB }
    }

    fn calls(scheme: Scheme, extents: &[Extent]) -> Vec<(u64, u64)> {
        scheme.ranges(extents).into_iter().map(|r| (r.start / MIB, r.len / MIB)).collect()
    }

    const EXT4: Scheme = Scheme::Groups(Groups { first: 0, bytes: 128 * MIB, total: 1000 * MIB });
    const XFS: Scheme = Scheme::Extents { most: 2, beyond: false };

    #[test]
    fn which_scheme() {
        let groups = Some(Groups { first: 0, bytes: 128 * MIB, total: 1 << 40 });
        let new = "6.18.0".parse().unwrap();
        let old = "6.1.0-28-amd64".parse().unwrap();
        for (fs_type, groups, kernel, expected) in [
            ("ext3", groups, &old, Ok((true, false))),
            ("ext4", None, &new, Err("its superblock cannot be read")),
            ("xfs", groups, &new, Ok((false, false))),
            ("xfs", groups, &old, Ok((false, true))),
            ("xfs", None, &new, Err("it has a realtime device, or its geometry cannot be read")),
            ("btrfs", None, &new, Ok((false, true))),
            ("vfat", None, &new, Err("only ext2, ext3, ext4, xfs and btrfs can be probed")),
        ] {
            let scheme = Scheme::of(fs_type, groups, kernel);
            let seen = scheme.map(|s| (matches!(s, Scheme::Groups(_)), s.beyond()));
            assert_eq!(seen, expected, "{fs_type} {kernel}");
        }
    }

    #[test]
    fn ext4_in_whole_groups_of_which_one_block_stays() {
        for (name, extents, ranges, keep) in [
            ("one piece", vec![extent(0, 130, 16)], vec![(128, 128)], vec![0]),
            ("two in a group", vec![extent(0, 200, 8), extent(8, 130, 8)], vec![(128, 128)], vec![0]),
            ("over a boundary", vec![extent(0, 250, 16)], vec![(128, 256)], vec![0, 6]),
            (
                "two groups apart",
                vec![extent(0, 900, 8), extent(8, 3, 8)],
                vec![(0, 128), (896, 104)],
                vec![8, 0],
            ),
        ] {
            assert_eq!(calls(EXT4, &extents), ranges, "{name}");
            let kept: Vec<u64> = EXT4.keep(&extents).into_iter().map(|at| at / MIB).collect();
            assert_eq!(kept, keep, "{name}");
        }
        let small = Scheme::Groups(Groups { first: 1024, bytes: 8 * MIB, total: 64 * MIB });
        let ranges = small.ranges(&[Extent { logical: 0, physical: 2048, len: MIB, trim_from: 2048 }]);
        assert_eq!(
            ranges,
            [Range { start: 0, len: 8 * MIB + 1024 }],
            "the boot block goes with the first group"
        );
    }

    #[test]
    fn xfs_by_extents_in_few_calls() {
        for (name, extents, ranges) in [
            ("one piece", vec![extent(0, 130, 16)], vec![(130, 16)]),
            ("pieces that touch", vec![extent(8, 138, 8), extent(0, 130, 8)], vec![(130, 16)]),
            (
                "two pieces of one block group",
                vec![
                    Extent { trim_from: 64 * MIB, ..extent(0, 90, 4) },
                    Extent { trim_from: 64 * MIB, ..extent(4, 70, 4) },
                ],
                vec![(64, 30)],
            ),
            (
                "three pieces in two calls",
                vec![extent(0, 1, 1), extent(1, 5, 1), extent(2, 900, 1)],
                vec![(1, 5), (900, 1)],
            ),
        ] {
            assert_eq!(calls(XFS, &extents), ranges, "{name}");
            assert!(XFS.keep(&extents).is_empty(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_byte_is_covered_once(
            pieces in prop::collection::vec((0_u64..1 << 40, 1_u64..1 << 24), 1..200), grouped in any::<bool>(),
        ) {
            let scheme = if grouped {
                Scheme::Groups(Groups { first: 0, bytes: 128 * MIB, total: u64::MAX })
            } else {
                Scheme::Extents { most: MOST_CALLS, beyond: false }
            };
            let extents: Vec<Extent> =
                pieces.into_iter().map(|(physical, len)| Extent { logical: 0, physical, len, trim_from: physical }).collect();
            let ranges = scheme.ranges(&extents);
            prop_assert!(grouped || ranges.len() <= MOST_CALLS);
            prop_assert!(ranges.is_sorted_by(|a, b| a.start + a.len < b.start));
            for extent in &extents {
                let (from, to) = (extent.physical, extent.physical + extent.len);
                prop_assert!(ranges.iter().any(|r| r.start <= from && to <= r.start + r.len));
            }
        }
    }
}
