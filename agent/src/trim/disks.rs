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
pub(crate) type Read = Box<dyn Fn(DevNum) -> DiskCounters + Send>;

pub(crate) struct Disks {
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
    pub(crate) fn new(read: Read) -> Self {
        Self { read, disks: BTreeMap::new() }
    }

    /// Takes the baseline of the disks that have none yet.
    pub(crate) fn begin(&mut self, disks: &[DevNum], now: Instant) {
        for id in disks {
            if !self.disks.contains_key(id) {
                let base = (self.read)(*id);
                let disk = Disk { base, last: base, moved: now, discarded: now, idle: false };
                self.disks.insert(*id, disk);
            }
        }
    }

    /// Reads all counters anew.
    pub(crate) fn look(&mut self, now: Instant) {
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
    pub(crate) fn settled(&self, now: Instant) -> bool {
        self.disks.values().all(|d| d.idle || now.saturating_duration_since(d.discarded) >= STILL)
    }

    /// Whether each disk's discards can be counted at all (kernel 4.18 and later).
    pub(crate) fn counted(&self) -> bool {
        self.disks.values().all(|d| d.base.discarded_bytes.is_some() && d.last.discarded_bytes.is_some())
    }

    /// When one of these disks moved last.
    pub(crate) fn moved(&self, disks: &[DevNum]) -> Option<Instant> {
        disks.iter().filter_map(|id| Some(self.disks.get(id)?.moved)).max()
    }

    /// What each moved by. `None` for a counter that is not there, or that began anew.
    pub(crate) fn sent(&self) -> Vec<Sent> {
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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque};

    use super::*;

    const DISK: DevNum = DevNum { major: 8, minor: 0 };

    fn counters(discarded_bytes: Option<u64>, in_flight: u64) -> DiskCounters {
        let in_flight = Some(in_flight);
        DiskCounters { discarded_bytes, written_bytes: Some(4096), in_flight, ..DiskCounters::default() }
    }

    /// A disk that is read once for its baseline and once for each of the others.
    fn read(readings: &[DiskCounters], now: Instant) -> Disks {
        let left = RefCell::new(VecDeque::from(readings.to_vec()));
        let mut disks = Disks::new(Box::new(move |_| left.borrow_mut().pop_front().unwrap()));
        disks.begin(&[DISK], now);
        for _ in 1..readings.len() {
            disks.look(now);
        }
        disks
    }

    #[test]
    fn what_was_sent() {
        for (name, base, last, expected) in [
            ("it moved", Some(512), Some(2048), Some(1536)),
            ("it did not", Some(512), Some(512), Some(0)),
            ("no counter, as before Linux 4.18", None, None, None),
            ("it went away", Some(512), None, None),
            ("it began anew", Some(512), Some(0), None),
        ] {
            let disks = read(&[counters(base, 0), counters(last, 0)], Instant::now());
            assert_eq!(disks.sent()[0].discarded, expected, "{name}");
            assert_eq!(disks.sent()[0].written, Some(0), "{name}");
            assert_eq!(disks.counted(), base.is_some() && last.is_some(), "{name}");
        }
    }

    #[test]
    fn it_settles_when_nothing_is_in_flight_or_nothing_has_moved_for_long() {
        let now = Instant::now();
        let later = now.checked_add(STILL).unwrap();
        let moving = read(&[counters(Some(0), 0), counters(Some(512), 0)], now);
        assert!(!moving.settled(now), "the count has just moved");
        let still = read(&[counters(Some(0), 0), counters(Some(0), 0)], now);
        assert!(still.settled(now));
        let busy = read(&[counters(Some(0), 3), counters(Some(0), 3)], now);
        assert!(!busy.settled(now), "requests are in flight");
        assert!(busy.settled(later), "on a guest that always writes, some always are");
    }
}
