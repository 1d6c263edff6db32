//! Settle: when a VM's counters and allocations stand still. Pure; [`super::turn`] does the reading and the waiting.

use std::time::Duration;

use crate::ledger::account::Reading;

/// Between two readings.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// How many readings in a row must be the same.
const SAME_READINGS: u32 = 3;

/// Watches readings until nothing moves that a trim moves. Writes of the guest are no part of it: they never stop.
#[derive(Clone, Debug, Default)]
pub struct Settling {
    last: Vec<(Option<u64>, Option<u64>, Option<u64>)>,
    same: u32,
}

impl Settling {
    /// Takes a reading of all disks; true when they have stood still long enough.
    pub fn observe(&mut self, readings: &[Reading]) -> bool {
        let seen: Vec<_> = readings
            .iter()
            .map(|r| (r.allocated_bytes, r.counters.arrived_bytes, r.counters.failed_requests))
            .collect();
        self.same = if seen == self.last { self.same.saturating_add(1) } else { 1 };
        self.last = seen;
        self.same >= SAME_READINGS
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

    #[test]
    fn three_the_same_settle() {
        let mut settling = Settling::default();
        let seen: Vec<bool> = [5, 4, 4, 3, 3, 3]
            .into_iter()
            .map(|allocated| settling.observe(&[reading(allocated, 0)]))
            .collect();
        assert_eq!(seen, [false, false, false, false, false, true]);
    }

    #[test]
    fn writes_do_not_keep_it_waiting() {
        let mut settling = Settling::default();
        let seen: Vec<bool> = (0..3).map(|written| settling.observe(&[reading(4, written)])).collect();
        assert_eq!(seen, [false, false, true]);
    }
}
