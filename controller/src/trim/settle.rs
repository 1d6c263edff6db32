//! Settle: when a VM's counters and allocations stand still. Pure; [`super::turn`] does the reading and the waiting.
//!
//! How long they must stand still is the host filesystem's matter: some account as they go, some in groups every few
//! seconds, and of some nobody here knows.

use std::time::Duration;

use crate::ledger::account::Reading;

/// Between two readings.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// They account as they go, or with the commit that `Storage::settle` makes; what is waited for is QEMU and the guest.
const AT_ONCE: [&str; 9] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "f2fs", "bcachefs", "thin-pool"];

/// How long the accounts below a VM take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// So many readings in a row must be the same.
    pub same_readings: u32,
    /// No longer than this in any case.
    pub at_most: Duration,
    /// What was freed shows after a commit alone: one more before the last reading.
    pub commits: bool,
}

impl Patience {
    /// For datastores of these types, as mountinfo names them.
    pub fn of<'a>(fs_types: impl IntoIterator<Item = &'a str>) -> Self {
        let quick = Self { same_readings: 3, at_most: Duration::from_secs(30), commits: false };
        fs_types.into_iter().map(Self::of_one).fold(quick, |one, other| Self {
            same_readings: one.same_readings.max(other.same_readings),
            at_most: one.at_most.min(other.at_most),
            commits: one.commits || other.commits,
        })
    }

    fn of_one(fs_type: &str) -> Self {
        let (same_readings, at_most) = match fs_type {
            known if AT_ONCE.contains(&known) => (3, 30),
            // A transaction group is written every 5 s (zfs_txg_timeout): stand still for longer than that.
            "zfs" => (25, 15),
            // NFS's server is asked at each reading; two seconds for whatever lies behind it, and for the unknown.
            _ => (9, 30),
        };
        Self { same_readings, at_most: Duration::from_secs(at_most), commits: fs_type == "btrfs" }
    }
}

/// Watches readings until nothing moves that a trim moves. Writes of the guest are no part of it: they never stop.
#[derive(Clone, Debug)]
pub struct Settling {
    needed: u32,
    last: Vec<Seen>,
    same: u32,
}

/// Allocation, bytes that arrived, requests that failed.
type Seen = (Option<u64>, Option<u64>, Option<u64>);

impl Settling {
    /// Until so many readings in a row are the same.
    pub fn new(patience: Patience) -> Self {
        Self { needed: patience.same_readings, last: Vec::new(), same: 0 }
    }

    /// Takes a reading of all disks; true when they have stood still long enough.
    pub fn observe(&mut self, readings: &[Reading]) -> bool {
        let seen: Vec<Seen> = readings
            .iter()
            .map(|r| (r.allocated_bytes, r.counters.arrived_bytes, r.counters.failed_requests))
            .collect();
        self.same = if seen == self.last { self.same.saturating_add(1) } else { 1 };
        self.last = seen;
        self.same >= self.needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::disk::DiskCounters;

    fn reading(allocated: u64, written: u64) -> Reading {
        let counters = DiskCounters { written_bytes: Some(written), ..DiskCounters::default() };
        Reading { allocated_bytes: Some(allocated), counters }
    }

    fn on(fs_types: &[&str]) -> Patience {
        Patience::of(fs_types.iter().copied())
    }

    #[test]
    fn three_the_same_settle() {
        let mut settling = Settling::new(on(&["ext4"]));
        let seen: Vec<bool> = [5, 4, 4, 3, 3, 3, 3, 2]
            .into_iter()
            .map(|allocated| settling.observe(&[reading(allocated, 0)]))
            .collect();
        assert_eq!(seen, [false, false, false, false, false, true, true, false]);
    }

    #[test]
    fn writes_do_not_keep_it_waiting() {
        let mut settling = Settling::new(on(&[]));
        let seen: Vec<bool> = (0..3).map(|written| settling.observe(&[reading(4, written)])).collect();
        assert_eq!(seen, [false, false, true]);
    }

    #[test]
    fn each_filesystem_takes_its_time() {
        let secs = Duration::from_secs;
        for (fs_types, same_readings, at_most, commits) in [
            (vec!["ext4"], 3, secs(30), false),
            (vec!["btrfs"], 3, secs(30), true),
            (vec!["zfs"], 25, secs(15), false),
            (vec!["nfs4"], 9, secs(30), false),
            (vec!["new"], 9, secs(30), false),
            (vec!["xfs", "btrfs", "zfs"], 25, secs(15), true),
            (vec![], 3, secs(30), false),
        ] {
            assert_eq!(on(&fs_types), Patience { same_readings, at_most, commits }, "{fs_types:?}");
        }
        // A group that is written every 5 s cannot be missed.
        assert!(INTERVAL * (on(&["zfs"]).same_readings - 1) > secs(5));
    }
}
