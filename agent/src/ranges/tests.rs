#![allow(clippy::arithmetic_side_effects, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;
const OLD: &str = "6.9.12-amd64";
const NEW: &str = "6.18.0";

fn groups(first: u64, bytes: u64, total: u64) -> Groups {
    Groups { first, bytes, total }
}

fn calls(cut: Cut, step: Option<u64>, min_extent: u64) -> Vec<Call> {
    let mut ranges = Ranges::new(cut, min_extent);
    std::iter::from_fn(|| ranges.next(step)).collect()
}

fn pairs(cut: Cut, step: Option<u64>) -> Vec<(u64, u64)> {
    calls(cut, step, 0).iter().map(|call| (call.range.start, call.range.len)).collect()
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
    let xfs = groups(0, 200 * MIB, 450 * MIB);
    let whole = vec![(0, u64::MAX)];
    for (name, cut, step, expected) in [
        ("btrfs", Cut::Nowhere, Some(MIB), whole.clone()),
        ("full", Cut::Groups(ext4), None, whole),
        ("never less than a group", Cut::Groups(ext4), Some(MIB), vec![(0, 128), (128, 128), (256, 44)]),
        ("many groups", Cut::Groups(ext4), Some(256 * MIB), vec![(0, 256), (256, 44)]),
        (
            "inside xfs groups, never across two",
            Cut::Inside(xfs),
            Some(80 * MIB),
            vec![(0, 80), (80, 80), (160, 40), (200, 80), (280, 80), (360, 40), (400, 50)],
        ),
        (
            "full on new xfs: never a whole group",
            Cut::Inside(xfs),
            None,
            vec![(0, 100), (100, 100), (200, 100), (300, 100), (400, 50)],
        ),
        (
            "an odd step",
            Cut::Inside(xfs),
            Some(70 * MIB + 7),
            vec![(0, 70), (70, 70), (140, 60), (200, 70), (270, 70), (340, 60), (400, 50)],
        ),
        (
            "next to nothing",
            Cut::Inside(groups(0, 4 * MIB, 6 * MIB)),
            Some(0),
            (0..6).map(|n| (n, 1)).collect(),
        ),
    ] {
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(s, l)| if l == u64::MAX { (s, l) } else { (s * MIB, l * MIB) })
            .collect();
        assert_eq!(pairs(cut, step), expected, "{name}");
    }
}

#[test]
fn a_smallest_extent_that_no_group_has() {
    for (name, cut, most) in [
        ("btrfs", Cut::Nowhere, None),
        ("ext4", Cut::Groups(groups(0, 128 * MIB, 1024 * MIB)), Some(124 * MIB)),
        ("xfs", Cut::Inside(groups(0, 1024 * MIB, 4096 * MIB)), Some(1020 * MIB)),
        ("tiny", Cut::Groups(groups(1024, 2 * MIB, 16 * MIB)), Some(2 * MIB)),
    ] {
        assert_eq!(cut.largest_min_extent(), most, "{name}");
    }
}

#[test]
fn the_boot_block_goes_with_the_first_group() {
    let got = pairs(Cut::Groups(groups(1024, 8 * MIB, 20 * MIB)), Some(MIB));
    assert_eq!(got[0], (0, 1024 + 8 * MIB));
    assert_eq!(got[1], (1024 + 8 * MIB, 8 * MIB));
    assert_eq!(got.len(), 3);
}

#[test]
fn seams_are_looked_at_again() {
    let cut = Cut::Inside(groups(0, 12 * MIB, 20 * MIB));
    let got: Vec<_> = calls(cut, Some(4 * MIB), 65_536)
        .iter()
        .map(|call| (call.range.start / 1024, call.range.len / 1024, call.passes > 0))
        .collect();
    let (range, seam) = (|mib: u64| (mib * 1024, 4096, true), |mib: u64| (mib * 1024 - 64, 128, false));
    assert_eq!(got, [range(0), range(4), range(8), seam(4), range(12), range(16), seam(8), seam(16)]);
    assert_eq!(calls(cut, Some(4 * MIB), 4096).len(), 5, "no extent is smaller than a block");
}

proptest! {
    /// Whatever the steps are: each byte is passed once, a cut lies where it may, and each free extent of at least
    /// the smallest size has all of its bytes in calls that see at least that much of it.
    #[test]
    fn cover_once_and_lose_no_extent(
        first in prop_oneof![Just(0_u64), Just(1024_u64)],
        group_mib in 1_u64..4096,
        total in 4096_u64..(1 << 38),
        steps in prop::collection::vec(1_u64..512, 1..9),
        min_extent in prop_oneof![Just(0_u64), Just(4096_u64), Just(65_536_u64), Just(2 * MIB)],
        extent in (0_u64..(1 << 38), 0_u64..(64 * MIB)),
        is_inside: bool,
    ) {
        prop_assume!(total / (group_mib.min(64) * MIB) < 50_000);
        let g = groups(if is_inside { 0 } else { first }, group_mib * MIB, total);
        let cut = if is_inside { Cut::Inside(g) } else { Cut::Groups(g) };
        let (from, len) = (extent.0 % total, min_extent + extent.1);
        // A free extent never lies in two groups.
        let group_end = g.first + ((from.saturating_sub(g.first)) / g.bytes + 1) * g.bytes;
        let to = (from + len).min(group_end).min(total);
        let counts = to - from >= min_extent;

        let mut ranges = Ranges::new(cut, min_extent);
        let mut sizes = steps.iter().cycle();
        let (mut covered, mut trimmed) = (0_u64, Vec::new());
        while let Some(call) = ranges.next(sizes.next().map(|mib| mib * MIB)) {
            let (start, end) = (call.range.start, call.range.start + call.range.len);
            if call.passes > 0 {
                prop_assert_eq!((start, call.range.len), (covered, call.passes), "no gap, no overlap");
                covered = end;
                let in_group = (covered - g.first) % g.bytes;
                prop_assert!(
                    covered == total || in_group == 0 || is_inside && covered.is_multiple_of(MIB),
                    "cut at {}", covered
                );
            }
            if is_inside {
                prop_assert_eq!(start / g.bytes, (end - 1) / g.bytes, "never across two groups");
            }
            let seen = (start.max(from), end.min(to));
            if seen.1 > seen.0 && seen.1 - seen.0 >= min_extent {
                trimmed.push(seen);
            }
        }
        prop_assert_eq!(covered, total);
        if counts && to > from {
            trimmed.sort_unstable();
            let reached = trimmed.iter().fold(from, |at, seen| if seen.0 <= at { at.max(seen.1) } else { at });
            prop_assert!(reached >= to, "{}..{} is trimmed up to {}", from, to, reached);
        }
    }
}
