//! Pure: how much of a filesystem one call takes, and how long to wait before the next.
//!
//! `full` makes as few calls as the filesystem needs, one right after the other. The others keep each call short and leave
//! the disk to its users in between; how large a range is follows from how long the ones before took ([`Pacer`]), within
//! the limits below.

mod pacer;
mod strain;

use std::time::Duration;

use trimtab_proto::words::Pace;

pub use self::{
    pacer::{Pacer, Seen},
    strain::{Pressure, Strain},
};

const MIB: u64 = 1024 * 1024;

/// What a pace keeps to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The smallest range, bytes. Each call costs a look into the filesystem's own books (XFS also writes its log), however
    /// little it trims.
    pub floor: u64,
    /// The largest range, bytes: what a range costs is known only once it is done, so this bounds the one that comes to
    /// dense space from empty space.
    pub ceiling: u64,
    /// How long a range should keep the disk busy. A writer that comes in the middle waits for what is left of it.
    pub target: Duration,
    /// How long the disk is left alone after a range, in hundredths of what the range took.
    pub rest_percent: u32,
    /// It is left alone for no less: enough for the writes that waited, on a disk that takes a few milliseconds for one.
    pub least_rest: Duration,
    /// And for no more, so that a trim of a slow disk ends at all.
    pub most_rest: Duration,
}

/// Of large filesystems no more ranges than about this are made: 100 TiB in ranges of 32 MiB would spend a day in rests
/// alone.
pub const MOST_RANGES: u64 = 65_536;

/// Each cut inside of a group costs another look at two of the smallest extents (`ranges.rs`).
const EXTENTS_IN_A_RANGE: u64 = 16;

impl Limits {
    /// Of a pace, for a filesystem of `total` bytes of which extents from `min_extent` on are trimmed. `None`: no limits.
    pub fn of(pace: Pace, total: u64, min_extent: u64) -> Option<Self> {
        let limits = match pace {
            Pace::Full => return None,
            Pace::Steady => Self {
                floor: 4 * MIB,
                ceiling: 64 * MIB,
                target: Duration::from_millis(20),
                rest_percent: 100,
                least_rest: Duration::from_millis(5),
                most_rest: Duration::from_millis(500),
            },
            Pace::Gentle => Self {
                floor: MIB,
                ceiling: 32 * MIB,
                target: Duration::from_millis(10),
                rest_percent: 200,
                least_rest: Duration::from_millis(10),
                most_rest: Duration::from_secs(2),
            },
        };
        let floor = limits.floor.max(min_extent.saturating_mul(EXTENTS_IN_A_RANGE));
        let ceiling = limits.ceiling.max(floor).max(total.div_ceil(MOST_RANGES));
        Some(Self { floor, ceiling, ..limits })
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
    fn limits() {
        const TIB: u64 = 1 << 40;
        for (name, pace, total, min_extent, floor, ceiling) in [
            ("steady", Pace::Steady, TIB, 4096, 4 * MIB, 64 * MIB),
            ("gentle", Pace::Gentle, TIB, 65_536, MIB, 32 * MIB),
            ("gentle and huge", Pace::Gentle, 64 * TIB, 4096, MIB, 1024 * MIB),
            ("large extents alone", Pace::Gentle, TIB, 4 * MIB, 64 * MIB, 64 * MIB),
            ("nonsense", Pace::Steady, 0, u64::MAX, u64::MAX, u64::MAX),
        ] {
            let limits = Limits::of(pace, total, min_extent).unwrap();
            assert_eq!((limits.floor, limits.ceiling), (floor, ceiling), "{name}");
        }
        assert_eq!(Limits::of(Pace::Full, TIB, 0), None);
    }

    #[test]
    fn the_owner_only_slows_down() {
        assert_eq!(at_most(Pace::Full, Pace::Gentle), Pace::Gentle);
        assert_eq!(at_most(Pace::Gentle, Pace::Full), Pace::Gentle);
    }
}
