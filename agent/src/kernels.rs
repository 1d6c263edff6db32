//! Kernels on which a trim is known to harm: a table, each row with its source. Pure.
//!
//! A distribution's kernel can carry the fix of a row under an older number, or the fault of one; where that is known
//! the row names the builds, otherwise it errs on the side of leaving the filesystem alone. A bound that nobody has
//! looked up is said to be such.

use std::{fmt, str::FromStr};

use trimtab_proto::words::DeviceKind;

use crate::sys::block::{Block, Blocks};

/// A kernel's release, as uname -r gives it.
///
/// The default is older than any: no rule that needs a newer kernel holds for it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Release {
    version: [u32; 3],
    text: String,
}

/// A text that does not begin with two numbers.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a kernel release like \"6.12.4-amd64\"")]
pub struct NotARelease(String);

impl FromStr for Release {
    type Err = NotARelease;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map_while(|word| word.parse().ok());
        let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
            return Err(NotARelease(text.to_owned()));
        };
        // "6.12-rc3" has no third number of its own; the 3 there says which candidate of 6.12.0 it is.
        let patch = if text.matches('.').count() >= 2 { numbers.next().unwrap_or(0) } else { 0 };
        Ok(Self { version: [major, minor, patch], text: text.to_owned() })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Release {
    /// Whether it is this version or a later one.
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        self.version >= [major, minor, 0]
    }

    fn is_in(&self, ranges: &[Range]) -> bool {
        ranges.iter().any(|range| match range {
            Range::Versions(from, before) => *from <= self.version && self.version < *before,
            Range::Builds(prefix) => self.text.starts_with(prefix),
        })
    }
}

/// Some of all kernels.
enum Range {
    /// From the first (with it) to the second (without it).
    Versions([u32; 3], [u32; 3]),
    /// A distribution's builds, by the beginning of their release.
    Builds(&'static str),
}

/// What a trim does there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    /// It destroys data or crashes the guest: the filesystem is left out.
    Refuse,
    /// It stalls writers: it is trimmed, and a person is told.
    Warn,
}

struct Row {
    harm: Harm,
    ranges: &'static [Range],
    /// Whether a layer of the stack is of the kind that has the fault.
    layer: fn(&Block, &Blocks) -> bool,
    /// Or the filesystem's type has.
    fs_type: Option<&'static str>,
    /// What happens, as the end of a sentence.
    what: &'static str,
    source: &'static str,
}

use Range::{Builds, Versions};

const ROWS: &[Row] = &[
    Row {
        harm: Harm::Refuse,
        // The fix is in 6.5 and, by the announcements of the stable kernels, in these series from the named patch on.
        // The fault came with the two layouts (c84a1372df92, 5.4) and their backports, to which patches was not
        // looked up: a series counts from its beginning.
        ranges: &[
            Versions([4, 14, 0], [4, 14, 322]),
            Versions([4, 15, 0], [4, 19, 291]),
            Versions([4, 20, 0], [5, 4, 251]),
            Versions([5, 5, 0], [5, 10, 188]),
            Versions([5, 11, 0], [5, 15, 121]),
            Versions([5, 16, 0], [6, 1, 40]),
            Versions([6, 2, 0], [6, 4, 5]),
        ],
        layer: |block, blocks| {
            has_level(block, &["raid0"])
                && block.md.as_ref().is_some_and(|md| md.layout != Some(2))
                && members_differ(block, blocks)
        },
        fs_type: None,
        what: "a discard can hit the wrong blocks of a raid0 whose disks differ in size",
        source: "Linux commit e836007089ba, md/raid0: add discard support for the 'original' layout",
    },
    Row {
        harm: Harm::Refuse,
        ranges: &[
            // Patches of the autumn of 2020 corrupt data: seen on 5.10-rc7 and on Ubuntu's kernels with a backport,
            // and reverted in both (https://lkml.iu.edu/hypermail/linux/kernel/2012.1/01288.html). Which of Ubuntu's
            // builds is written from memory.
            Builds("4.15.0-126-"),
            Builds("4.15.0-127-"),
            Builds("5.4.0-56-"),
            Builds("5.4.0-57-"),
            Builds("5.8.0-31-"),
            Builds("5.8.0-32-"),
            Builds("5.10.0-rc"),
        ],
        layer: |block, _| has_level(block, &["raid10"]),
        fs_type: None,
        what: "a discard corrupts a raid10",
        source: "https://bugs.launchpad.net/ubuntu/+source/linux/+bug/1907262",
    },
    Row {
        harm: Harm::Refuse,
        // 144 is the build of the report; its neighbours are here for caution.
        ranges: &[Builds("5.15.0-143-"), Builds("5.15.0-144-"), Builds("5.15.0-145-")],
        layer: |block, _| has_level(block, &["raid10"]),
        fs_type: None,
        what: "a discard on a raid10 crashes the kernel",
        source: "https://github.com/Open-CAS/open-cas-linux/issues/1671",
    },
    Row {
        harm: Harm::Refuse,
        // The pull request names 5.1 as where the fault came from; the fix is in the announcement of 5.1.5.
        ranges: &[Versions([5, 1, 0], [5, 1, 5])],
        layer: |block, _| {
            use DeviceKind::{Crypt, Lvm, Mapped, Multipath};
            matches!(block.device.kind, Lvm | Crypt | Multipath | Mapped)
        },
        fs_type: None,
        what: "device-mapper discards blocks that are in use",
        source: "Linux commit 51b86f9a8d1c, dm: make sure to obey max_io_len_target_boundary",
    },
    Row {
        harm: Harm::Refuse,
        // The fix came with 4.2. Older series got it in the summer of 2015, at patches that were not looked up, and
        // the lower bound, where split requests began to share their pages, is from memory: both err to the wide.
        ranges: &[Versions([3, 14, 0], [4, 2, 0])],
        layer: |block, _| has_level(block, &["raid0", "raid10", "linear"]),
        fs_type: None,
        what: "a discard that md splits overwrites blocks that are in use",
        source: "Linux commit f3f5da624e0a; \
                 https://hipporoll.net/blog/2015/07/21/data-corruption-trim-md-raid-linux-kernel/",
    },
    Row {
        harm: Harm::Warn,
        // Among the btrfs updates for the kernel after 6.19, which is 7.0.
        ranges: &[Versions([0, 0, 0], [7, 0, 0])],
        layer: |_, _| false,
        fs_type: Some("btrfs"),
        what: "every commit of a btrfs waits while its unallocated space is trimmed",
        source: "Linux commit b291ad4458df, btrfs: fix transaction commit blocking during trim of unallocated space",
    },
];

/// What the table says of a filesystem on this kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Advice {
    /// Leave it alone. One sentence.
    Refuse(String),
    /// Trim it, and say this. One sentence.
    Warn(String),
}

/// Looks a filesystem up. A refusal comes before a warning.
pub fn advice<'a>(
    release: &Release,
    fs_type: &str,
    layers: impl Iterator<Item = &'a Block> + Clone,
    blocks: &Blocks,
) -> Option<Advice> {
    let row = ROWS.iter().find(|row| {
        release.is_in(row.ranges)
            && (row.fs_type == Some(fs_type) || layers.clone().any(|block| (row.layer)(block, blocks)))
    })?;
    let Row { what, source, .. } = row;
    let sentence = format!("Linux {release} may lack a fix: {what} ({source})");
    Some(match row.harm {
        Harm::Refuse => Advice::Refuse(sentence),
        Harm::Warn => Advice::Warn(sentence),
    })
}

fn has_level(block: &Block, levels: &[&str]) -> bool {
    block.md.as_ref().is_some_and(|md| levels.contains(&md.level.as_str()))
}

fn members_differ(block: &Block, blocks: &Blocks) -> bool {
    let mut sizes = block.device.lower.iter().filter_map(|id| blocks.get(*id)).map(|b| b.device.size);
    let first = sizes.next();
    sizes.any(|size| Some(size) != first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(text: &str) -> Release {
        text.parse().unwrap()
    }

    #[test]
    fn releases() {
        for (text, version) in [
            ("6.18.44-fc-v445", [6, 18, 44]),
            ("5.15.0-144-generic\n", [5, 15, 0]),
            ("6.12-rc3", [6, 12, 0]),
            ("6.12.0-rc3+", [6, 12, 0]),
            ("4.18.0-553.el8_10.x86_64", [4, 18, 0]),
            ("7.0", [7, 0, 0]),
        ] {
            assert_eq!(release(text).version, version, "{text}");
        }
        for bad in ["", "linux", "6", "-6.1"] {
            assert!(bad.parse::<Release>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_end_before_their_second_number() {
        let range = [Versions([5, 1, 0], [5, 1, 5])];
        for (text, inside) in [("5.0.21", false), ("5.1.0", true), ("5.1.4", true), ("5.1.5", false)] {
            assert_eq!(release(text).is_in(&range), inside, "{text}");
        }
        assert!(release("5.4.0-56-generic").is_in(&[Builds("5.4.0-56-")]));
        assert!(!release("5.4.0-561-generic").is_in(&[Builds("5.4.0-56-")]));
    }

    #[test]
    fn the_stable_series_that_have_raid0_s_fix() {
        let ranges = ROWS[0].ranges;
        for (last_without, first_with) in [
            ("4.14.321", "4.14.322"),
            ("4.19.290-1", "4.19.291"),
            ("5.4.250", "5.4.251"),
            ("5.10.187", "5.10.188"),
            ("5.15.120", "5.15.121"),
            ("6.1.39", "6.1.40"),
            ("6.4.4", "6.4.5"),
            ("6.3.13", "6.5.0"),
        ] {
            assert!(release(last_without).is_in(ranges), "{last_without}");
            assert!(!release(first_with).is_in(ranges), "{first_with}");
        }
    }

    #[test]
    fn each_row_names_a_source() {
        for row in ROWS {
            assert!(row.source.contains("commit ") || row.source.starts_with("https://"), "{}", row.what);
        }
    }
}
