//! The controller of ranges: what the last one took → how large the next one is, and how long the disk is left alone before.
//!
//! The size follows the rate that was seen, by no more than twice or a quarter at a time: up slowly, since what comes is not
//! known, down fast, since a writer waits.

use std::time::Duration;

use super::Limits;

/// What was seen of one range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Bytes of the filesystem that it passed.
    pub bytes: u64,
    /// From its order until the disk had done its discards, as far as that is known.
    pub busy: Duration,
    /// What the disk took for one discard of it, on average.
    pub discard: Option<Duration>,
    /// How far others are held up: [`super::Strain::level`].
    pub strain: u32,
}

/// Paces one filesystem.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    limits: Limits,
    step: u64,
}

/// At most this much larger than the range before.
const GROW: u64 = 2;
/// At most this much smaller.
const SHRINK: u64 = 4;

impl Pacer {
    /// Begins with small ranges.
    pub fn new(limits: Limits) -> Self {
        let step = limits.floor.saturating_mul(GROW).min(limits.ceiling);
        Self { limits, step }
    }

    /// How much the next range should cover.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Takes a range into account. Returns how long the disk is to be left alone.
    pub fn seen(&mut self, seen: &Seen) -> Duration {
        let Limits { floor, ceiling, target, rest_percent, least_rest, most_rest } = self.limits;
        // Discards that take longer than the call that made them are still under way.
        let busy = seen.busy.max(seen.discard.unwrap_or_default());
        let target = target.checked_div(1_u32.checked_shl(seen.strain).unwrap_or(u32::MAX)).unwrap_or(target);
        // Below a tick of the clock nothing can be said of the rate but that it is high.
        let micros = busy.as_micros().max(1);
        let fitting = u128::from(seen.bytes).saturating_mul(target.as_micros()).checked_div(micros);
        let fitting = fitting.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(u64::MAX);
        let (least, most) = (self.step.checked_div(SHRINK).unwrap_or(0), self.step.saturating_mul(GROW));
        self.step = fitting.clamp(least, most).clamp(floor, ceiling);

        let rest = busy.checked_mul(rest_percent.checked_shl(seen.strain).unwrap_or(u32::MAX));
        rest.and_then(|rest| rest.checked_div(100)).unwrap_or(most_rest).clamp(least_rest, most_rest)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;
    use trimtab_proto::words::Pace;

    use super::*;
    use crate::{
        kernel::geometry::Groups,
        ranges::{Cut, Ranges},
    };

    const MIB: u64 = 1 << 20;

    fn pacer(pace: Pace) -> Pacer {
        Pacer::new(Limits::of(pace, 1 << 40, 4096).unwrap())
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn one_range() {
        let plain = |bytes, busy| Seen { bytes, busy, discard: None, strain: 0 };
        for (name, seen, step, rest) in [
            ("as long as it should", plain(8 * MIB, millis(20)), 8 * MIB, 20),
            ("free of charge", plain(8 * MIB, Duration::ZERO), 16 * MIB, 5),
            ("a little too long", plain(8 * MIB, millis(40)), 4 * MIB, 40),
            ("a stall", plain(8 * MIB, millis(10_000)), 4 * MIB, 500),
            ("the short end of a group", plain(MIB, millis(20)), 4 * MIB, 20),
            (
                "returned before its discards",
                Seen { discard: Some(millis(40)), ..plain(8 * MIB, millis(1)) },
                4 * MIB,
                40,
            ),
            ("others are held up", Seen { strain: 1, ..plain(8 * MIB, millis(10)) }, 8 * MIB, 20),
            ("and badly", Seen { strain: 40, ..plain(8 * MIB, millis(10)) }, 4 * MIB, 500),
        ] {
            let mut pacer = pacer(Pace::Steady);
            let got = pacer.seen(&seen);
            assert_eq!((pacer.step() / MIB, got.as_millis()), (step / MIB, rest), "{name}");
        }
    }

    /// A disk that takes this long for a range.
    fn takes(bytes: u64, fixed_us: u64, us_per_mib: u64) -> Duration {
        Duration::from_micros(fixed_us + bytes * us_per_mib / MIB)
    }

    proptest! {
        /// On a disk that always does the same, ranges soon take what they should, as far as the limits allow, and stay so.
        #[test]
        fn converges(
            fixed_us in 0_u64..2_000, us_per_mib in 1_u64..20_000, is_gentle: bool,
        ) {
            let pace = if is_gentle { Pace::Gentle } else { Pace::Steady };
            let limits = Limits::of(pace, 1 << 40, 4096).unwrap();
            let mut pacer = Pacer::new(limits);
            for n in 0..40 {
                let bytes = pacer.step();
                prop_assert!((limits.floor..=limits.ceiling).contains(&bytes), "{bytes}");
                let busy = takes(bytes, fixed_us, us_per_mib);
                let rest = pacer.seen(&Seen { bytes, busy, discard: None, strain: 0 });
                prop_assert!((limits.least_rest..=limits.most_rest).contains(&rest));
                if n >= 20 {
                    let long = busy > limits.target.mul_f64(1.1) && bytes > limits.floor;
                    let short = busy < limits.target.mul_f64(0.5) && bytes < limits.ceiling;
                    prop_assert!(!long && !short, "range {n}: {bytes} bytes take {busy:?}");
                }
            }
        }

        /// Whatever the disk does, a pass covers the filesystem once, and no range is out of bounds.
        #[test]
        fn covers_once_at_any_pace(
            group_mib in 64_u64..2048, total_mib in 1_u64..40_000,
            times in prop::collection::vec((0_u64..2_000_000, 0_u32..4), 1..30),
        ) {
            let groups = Groups { first: 0, bytes: group_mib * MIB, total: total_mib * MIB };
            let mut pacer = pacer(Pace::Steady);
            let limits = pacer.limits;
            let mut ranges = Ranges::new(Cut::Inside(groups), 4096);
            let (mut passed, mut n) = (0, 0);
            while let Some(call) = ranges.next(Some(pacer.step())) {
                prop_assert!(call.passes <= limits.ceiling);
                passed += call.passes;
                prop_assert_eq!(call.range.start + call.range.len, passed);
                let (micros, strain) = times[n % times.len()];
                let busy = Duration::from_micros(micros);
                pacer.seen(&Seen { bytes: call.passes, busy, discard: None, strain });
                n += 1;
            }
            prop_assert_eq!(passed, groups.total);
        }
    }
}
