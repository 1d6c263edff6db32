//! How far others are held up, by the kernel's pressure stall information (Documentation/accounting/psi.rst): the share of
//! time in which some task waits for I/O, without the time in which the trim itself does, against what it was before.
//!
//! A task that does nothing but write and sync waits all the time anyway; then this says nothing, and what ranges take is
//! what counts.

use std::time::{Duration, Instant};

/// The kernel sums up every two seconds (kernel/sched/psi.c, PSI_FREQ); between two sums nothing moves.
const LOOK_EVERY: Duration = Duration::from_millis(2_100);

/// So much more than before, in thousandths of the time, is no chance.
const RISE: u64 = 100;

/// A quarter of the range's time, and four times the rest.
const MOST: u32 = 2;

/// What was made of the pressure so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strain {
    /// Thousandths of the time, before the trim.
    before: u64,
    last: Option<(Instant, u64)>,
    /// In calls since the last look.
    own: Duration,
    level: u32,
}

/// One reading of /proc/pressure/io, its line `some`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pressure {
    /// Thousandths of the last ten seconds.
    pub recent: u64,
    /// Microseconds since boot.
    pub total: u64,
}

impl Strain {
    /// Begins with what was read before the first range.
    pub fn new(first: Option<Pressure>, now: Instant) -> Self {
        let before = first.map_or(0, |pressure| pressure.recent);
        Self { before, last: first.map(|pressure| (now, pressure.total)), ..Self::default() }
    }

    /// How far others are held up: 0, or one more for each look that found them worse off.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// The trim itself has waited for so long.
    pub fn own(&mut self, waited: Duration) {
        self.own = self.own.saturating_add(waited);
    }

    /// Whether it is time to read the pressure. Never, where it could not be read at first.
    pub fn is_due(&self, now: Instant) -> bool {
        self.last.is_some_and(|(at, _)| now.saturating_duration_since(at) >= LOOK_EVERY)
    }

    /// Takes a reading into account.
    pub fn look(&mut self, pressure: Option<Pressure>, now: Instant) {
        let own = std::mem::take(&mut self.own);
        let (Some(pressure), Some((at, total))) = (pressure, self.last) else {
            (self.last, self.level) = (None, 0);
            return;
        };
        self.last = Some((now, pressure.total));
        let waited = Duration::from_micros(pressure.total.saturating_sub(total)).saturating_sub(own);
        let time = now.saturating_duration_since(at).as_micros().max(1);
        let share = waited.as_micros().saturating_mul(1000).checked_div(time).unwrap_or(0);
        let share = u64::try_from(share).unwrap_or(u64::MAX);
        self.level = if share >= self.before.saturating_add(RISE) {
            self.level.saturating_add(1).min(MOST)
        } else {
            self.level.saturating_sub(1)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks two seconds apart: how long some task waited, and how long the trim itself did, in ms.
    fn levels(before: u64, looks: &[(u64, u64)]) -> Vec<u32> {
        let mut now = Instant::now();
        let mut total = 7_000_000;
        let mut strain = Strain::new(Some(Pressure { recent: before, total }), now);
        let mut levels = Vec::new();
        for (waited, own) in looks {
            now = now.checked_add(Duration::from_secs(2)).unwrap();
            total = waited.checked_mul(1000).and_then(|us| us.checked_add(total)).unwrap();
            strain.own(Duration::from_millis(*own));
            strain.look(Some(Pressure { recent: 0, total }), now);
            levels.push(strain.level());
        }
        levels
    }

    #[test]
    fn who_waits() {
        for (name, before, looks, expected) in [
            ("nobody", 0, vec![(0, 0), (10, 0)], vec![0, 0]),
            ("the trim alone", 0, vec![(900, 900)], vec![0]),
            ("others", 0, vec![(900, 600), (900, 600), (900, 600)], vec![1, 2, 2]),
            ("and then no more", 0, vec![(900, 0), (900, 0), (100, 0), (0, 0)], vec![1, 2, 1, 0]),
            ("no more than before", 500, vec![(1100, 0)], vec![0]),
            ("all the time, before and now", 990, vec![(2000, 0)], vec![0]),
        ] {
            assert_eq!(levels(before, &looks), expected, "{name}");
        }
    }

    #[test]
    fn without_pressure_there_is_no_strain() {
        let now = Instant::now();
        let later = now.checked_add(LOOK_EVERY).unwrap();
        assert!(!Strain::new(None, now).is_due(later), "it could not be read");
        let mut strain = Strain::new(Some(Pressure { recent: 0, total: 0 }), now);
        assert!(strain.is_due(later) && !strain.is_due(now));
        strain.look(None, later);
        assert!(!strain.is_due(later.checked_add(LOOK_EVERY).unwrap()), "it can be read no more");
    }
}
