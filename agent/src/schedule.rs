//! Pure: which filesystem is next. A filesystem holds all of its disks; one at a time on a disk, disks side by side.
//!
//! A filesystem whose device is a file (a loop device) goes before the filesystem that the file lies on: what the
//! inner one frees is free in the outer one only then.

use std::collections::BTreeSet;

use crate::model::DevNum;

/// A filesystem, as far as its turn goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Which.
    pub id: DevNum,
    /// The disks that it holds while it is at work.
    pub disks: Vec<DevNum>,
    /// The filesystems that its devices' files lie on, where it is loop-mounted.
    pub inside: Vec<DevNum>,
    /// Where it is.
    pub stage: Stage,
}

/// Where a filesystem is, as far as others care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Its turn has not come.
    Waiting,
    /// A worker of it is alive.
    Held,
    /// It is over.
    Over,
}

/// All that may start now, in the order of `entries`.
pub fn startable(entries: &[Entry]) -> Vec<DevNum> {
    let mut busy: BTreeSet<DevNum> =
        entries.iter().filter(|e| e.stage == Stage::Held).flat_map(|e| e.disks.iter().copied()).collect();
    let mut found = Vec::new();
    for entry in entries.iter().filter(|e| e.stage == Stage::Waiting) {
        let inner_first = entries.iter().any(|inner| {
            inner.inside.contains(&entry.id) && inner.id != entry.id && inner.stage != Stage::Over
        });
        if inner_first || entry.disks.iter().any(|disk| busy.contains(disk)) {
            continue;
        }
        busy.extend(entry.disks.iter().copied());
        found.push(entry.id);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dev(minor: u32) -> DevNum {
        DevNum { major: 8, minor }
    }

    fn entry(id: u32, disks: &[u32], inside: Option<u32>, stage: Stage) -> Entry {
        Entry {
            id: dev(id),
            disks: disks.iter().map(|d| dev(*d)).collect(),
            inside: inside.map(dev).into_iter().collect(),
            stage,
        }
    }

    #[test]
    fn turns() {
        use Stage::{Held, Over, Waiting};
        for (name, entries, expected) in [
            ("nothing", vec![], vec![]),
            (
                "one on a disk, disks side by side",
                vec![
                    entry(1, &[0], None, Waiting),
                    entry(2, &[0], None, Waiting),
                    entry(17, &[16], None, Waiting),
                ],
                vec![1, 17],
            ),
            ("a held disk", vec![entry(1, &[0], None, Held), entry(2, &[0], None, Waiting)], vec![]),
            ("its turn comes", vec![entry(1, &[0], None, Over), entry(2, &[0], None, Waiting)], vec![2]),
            (
                "btrfs over two disks waits for both",
                vec![entry(1, &[0], None, Held), entry(40, &[0, 16], None, Waiting)],
                vec![],
            ),
            (
                "the inner before the outer",
                vec![entry(1, &[0], None, Waiting), entry(70, &[7], Some(1), Waiting)],
                vec![70],
            ),
            (
                "the outer waits while the inner runs",
                vec![entry(1, &[0], None, Waiting), entry(70, &[7], Some(1), Held)],
                vec![],
            ),
            (
                "the outer after the inner",
                vec![entry(1, &[0], None, Waiting), entry(70, &[7], Some(1), Over)],
                vec![1],
            ),
            ("no disk known", vec![entry(1, &[], None, Waiting), entry(2, &[], None, Waiting)], vec![1, 2]),
            ("a file inside itself", vec![entry(1, &[0], Some(1), Waiting)], vec![1]),
        ] {
            let expected: Vec<DevNum> = expected.into_iter().map(dev).collect();
            assert_eq!(startable(&entries), expected, "{name}");
        }
    }
}
