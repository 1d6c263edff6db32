//! What a disk has discarded, by the kernel's counters, and when that began and ended.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The kernel counts sectors of this size.
const SECTOR_BYTES: u64 = 512;

/// A device that has discarded nothing for this long has done all of it: of all that was seen, one discard took no more
/// than a third.
pub(super) const STILL: Duration = Duration::from_secs(2);

/// Discards of one device, or of several together, since the boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Discards {
    /// Requests that were done.
    pub(super) requests: u64,
    /// Bytes of them.
    pub(super) bytes: u64,
}

impl Discards {
    /// Of a block device such as `sda` or `/dev/loop0`.
    pub(super) fn of(device: &str) -> Result<Self> {
        let stat = format!("/sys/block/{}/stat", device.trim_start_matches("/dev/"));
        Self::parse(&fs::read_to_string(&stat).with_context(|| format!("cannot read {stat}"))?)
    }

    /// Documentation/block/stat.rst counts from 1: 12 discards done, 14 sectors discarded.
    fn parse(text: &str) -> Result<Self> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let field = |number: usize| -> Result<u64> {
            Ok(fields.get(number.saturating_sub(1)).context("this kernel counts no discards")?.parse()?)
        };
        Ok(Self { requests: field(12)?, bytes: field(14)?.saturating_mul(SECTOR_BYTES) })
    }

    /// Of several devices together.
    pub(super) fn of_all(devices: &[String]) -> Result<Self> {
        devices.iter().try_fold(Self::default(), |sum, device| {
            let more = Self::of(device)?;
            let add = u64::saturating_add;
            Ok(Self { requests: add(sum.requests, more.requests), bytes: add(sum.bytes, more.bytes) })
        })
    }
}

/// Follows the counters through one trim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moves {
    base: Discards,
    seen: Discards,
    looked: Instant,
    /// No later than the first discard was done, and no more than one look before; none until there was one.
    pub(super) first: Option<Instant>,
    /// When the last one was seen; the beginning until there was one.
    pub(super) last: Instant,
}

impl Moves {
    /// Nothing was trimmed yet.
    pub(super) fn from(base: Discards, now: Instant) -> Self {
        Self { base, seen: base, looked: now, first: None, last: now }
    }

    /// What the counters say now.
    pub(super) fn look(&mut self, found: Discards, now: Instant) {
        if found != self.seen {
            self.first = self.first.or(Some(self.looked));
            (self.seen, self.last) = (found, now);
        }
        self.looked = now;
    }

    /// For so long nothing was discarded.
    pub(super) fn still(&self) -> Duration {
        self.looked.saturating_duration_since(self.last)
    }

    /// All that was discarded since the beginning.
    pub(super) fn done(&self) -> Discards {
        let since = u64::saturating_sub;
        let Self { base, seen, .. } = self;
        Discards { requests: since(seen.requests, base.requests), bytes: since(seen.bytes, base.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat() {
        let text = "  10 0 80 4 20 0 160 9 0 12 13 300 7 6144 88 2 1\n";
        assert_eq!(Discards::parse(text).unwrap(), Discards { requests: 300, bytes: 6144 * 512 });
        let old = Discards::parse("10 0 80 4 20 0 160 9 0 12 13").unwrap_err().to_string();
        assert_eq!(old, "this kernel counts no discards");
    }

    #[test]
    fn from_the_first_to_the_last() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let found = |requests| Discards { requests, bytes: requests * 4096 };
        let mut moves = Moves::from(found(7), start);
        for (millis, requests) in [(10, 7), (20, 8), (30, 8), (40, 11), (50, 11), (90, 11)] {
            moves.look(found(requests), at(millis));
        }
        assert_eq!((moves.first, moves.last), (Some(at(10)), at(40)));
        assert_eq!(moves.still(), Duration::from_millis(50));
        assert_eq!(moves.done(), found(4));
    }
}
