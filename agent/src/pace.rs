//! Pure: how much of a filesystem one call takes, and how long to wait before the next.
//!
//! The figures are fixed. Measured on Linux 6.18 (16 GiB, 6000 files of 1 MiB, every second one deleted, one writer
//! in an fsync loop), a writer's worst wait: ext4 in one call 59 ms, in 128 MiB steps with pauses 15-50 ms; XFS in
//! one call 1223 ms, in which no fsync got through, in 128 MiB steps with 10 ms pauses 368 ms, and 600 fsyncs got
//! through.

use std::time::Duration;

use trimtab_proto::words::Pace;

const MIB: u64 = 1024 * 1024;

/// What a pace means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Bytes of the filesystem that one call should cover, whole MiB; `None`: all of it.
    pub bytes: Option<u64>,
    /// Between two calls.
    pub pause: Duration,
}

/// A filesystem is cut into no more than about this many calls: 64 TiB in steps of 128 MiB would be half a million,
/// and would spend more than an hour in its pauses alone.
pub const MAX_STEPS: u64 = 16_384;

/// The step of a pace, for a filesystem of `total` bytes.
pub fn step(pace: Pace, total: u64) -> Step {
    let at_least = total.div_ceil(MAX_STEPS).checked_next_multiple_of(MIB).unwrap_or(u64::MAX);
    match pace {
        Pace::Full => Step { bytes: None, pause: Duration::ZERO },
        Pace::Steady => Step { bytes: Some(at_least.max(1024 * MIB)), pause: Duration::ZERO },
        Pace::Gentle => Step { bytes: Some(at_least.max(128 * MIB)), pause: Duration::from_millis(10) },
    }
}

/// The slower of the two: a guest's owner sets the fastest pace.
pub fn at_most(asked: Pace, fastest: Pace) -> Pace {
    asked.min(fastest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps() {
        const TIB: u64 = 1 << 40;
        for (name, pace, total, bytes, pause_ms) in [
            ("full", Pace::Full, 64 * TIB, None, 0),
            ("steady", Pace::Steady, TIB, Some(1 << 30), 0),
            ("gentle", Pace::Gentle, TIB, Some(128 << 20), 10),
            ("gentle and huge", Pace::Gentle, 64 * TIB, Some(4 << 30), 10),
        ] {
            let expected = Step { bytes, pause: Duration::from_millis(pause_ms) };
            assert_eq!(step(pace, total), expected, "{name}");
        }
    }

    #[test]
    fn the_owner_only_slows_down() {
        assert_eq!(at_most(Pace::Full, Pace::Gentle), Pace::Gentle);
        assert_eq!(at_most(Pace::Gentle, Pace::Full), Pace::Gentle);
    }
}
