//! The disks below a run: where their counters stood when it began on them, how far they moved, whether they stand
//! still.
//!
//! XFS since 6.6 returns from FITRIM with discards in flight, and a killed FITRIM leaves some too, so what was sent is
//! known only when nothing is in flight and the count stands still.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::report::Sent;
use crate::{model::DevNum, sys::counters::DiskCounters};

/// On a guest that writes all the time something is always in flight; a count of discards that stood still for this
/// long has settled too.
const STILL: Duration = Duration::from_secs(2);

/// How a disk's counters are read.
pub(super) type Read = Box<dyn Fn(DevNum) -> DiskCounters + Send>;

pub(super) struct Disks {
    read: Read,
    disks: BTreeMap<DevNum, Disk>,
}

struct Disk {
    base: DiskCounters,
    last: DiskCounters,
    /// When anything of it moved.
    moved: Instant,
    /// When its count of discards moved.
    discarded: Instant,
    /// Nothing was in flight and the count had not moved, at the last reading.
    idle: bool,
}

impl Disks {
    pub(super) fn new(read: Read) -> Self {
        Self { read, disks: BTreeMap::new() }
    }

    /// Takes the baseline of the disks that have none yet.
    pub(super) fn begin(&mut self, disks: &[DevNum], now: Instant) {
        for id in disks {
            if !self.disks.contains_key(id) {
                let base = (self.read)(*id);
                let disk = Disk { base, last: base, moved: now, discarded: now, idle: false };
                self.disks.insert(*id, disk);
            }
        }
    }

    /// Reads all counters anew.
    pub(super) fn look(&mut self, now: Instant) {
        for (id, disk) in &mut self.disks {
            let found = (self.read)(*id);
            let still = found.discarded_bytes == disk.last.discarded_bytes;
            if !still {
                disk.discarded = now;
            }
            if found != disk.last {
                disk.moved = now;
            }
            disk.idle = still && found.in_flight.unwrap_or(0) == 0;
            disk.last = found;
        }
    }

    /// Whether every disk stands still, by the last two readings.
    pub(super) fn settled(&self, now: Instant) -> bool {
        self.disks.values().all(|d| d.idle || now.saturating_duration_since(d.discarded) >= STILL)
    }

    /// Whether each disk's discards can be counted at all (kernel 4.18 and later).
    pub(super) fn counted(&self) -> bool {
        self.disks.values().all(|d| d.base.discarded_bytes.is_some() && d.last.discarded_bytes.is_some())
    }

    /// When one of these disks moved last.
    pub(super) fn moved(&self, disks: &[DevNum]) -> Option<Instant> {
        disks.iter().filter_map(|id| Some(self.disks.get(id)?.moved)).max()
    }

    /// What each moved by. `None` for a counter that is not there, or that began anew.
    pub(super) fn sent(&self) -> Vec<Sent> {
        let moved = |base: Option<u64>, last: Option<u64>| last?.checked_sub(base?);
        self.disks
            .iter()
            .map(|(id, d)| Sent {
                device_id: *id,
                discarded: moved(d.base.discarded_bytes, d.last.discarded_bytes),
                written: moved(d.base.written_bytes, d.last.written_bytes),
            })
            .collect()
    }
}
