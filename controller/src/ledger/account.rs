//! Before and after → the ledger of one disk. Every difference is signed or checked; what is not known stays `None`.

use crate::model::disk::DiskCounters;

/// The host's readings of one disk at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// st_blocks × 512; `None` where it is no measure (a block device) or could not be read.
    pub allocated_bytes: Option<u64>,
    /// QEMU's.
    pub counters: DiskCounters,
}

/// What the guest said of one disk's run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GuestSide {
    /// FITRIM's answers, added up over the filesystems that stand on this disk alone.
    pub claimed_bytes: Option<u64>,
    /// One of them only echoes the range it was asked for.
    pub claim_is_echo: bool,
    /// Its counter of discarded bytes moved by this.
    pub sent_bytes: Option<u64>,
    /// Its counter of written bytes moved by this.
    pub written_bytes: Option<u64>,
    /// How often the disk was passed over at most; 1 or more.
    pub passes: u32,
}

/// claimed → sent → arrived → freed, for one disk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// What FITRIM returned.
    pub claimed_bytes: Option<u64>,
    /// It only echoes the range.
    pub claim_is_echo: bool,
    /// What the guest's disk counters saw.
    pub sent_bytes: Option<u64>,
    /// What QEMU passed to the image.
    pub arrived_bytes: Option<u64>,
    /// Requests that failed there.
    pub arrived_failed_requests: Option<u64>,
    /// Allocation before.
    pub allocated_before_bytes: Option<u64>,
    /// Allocation after.
    pub allocated_after_bytes: Option<u64>,
    /// What the allocation fell by; growth is negative.
    pub freed_bytes: Option<i64>,
    /// The interval around it, where the guest wrote meanwhile.
    pub freed_min_bytes: Option<i64>,
    /// Never above what was allocated before.
    pub freed_max_bytes: Option<i64>,
    /// What the guest wrote during the trim, as QEMU counted it.
    pub written_meanwhile_bytes: Option<u64>,
    /// Numbers that cannot be true, a sentence each.
    pub impossible: Vec<String>,
}

/// Writes below this share of what was freed do not blur it.
const BLUR_DIVISOR: u64 = 100;

/// Draws up the ledger of one disk.
pub fn account(before: &Reading, after: &Reading, guest: &GuestSide, virtual_bytes: Option<u64>) -> Ledger {
    let arrived = moved(before.counters.arrived_bytes, after.counters.arrived_bytes);
    let written = moved(before.counters.written_bytes, after.counters.written_bytes);
    let fall = match (before.allocated_bytes, after.allocated_bytes) {
        (Some(before), Some(after)) => Some(signed_difference(before, after)),
        _ => None,
    };
    let freed_max = fall.map(|fall| match written {
        Some(written) if blurs(written, fall) => upper_bound(fall, written, arrived, before.allocated_bytes),
        _ => fall,
    });
    let mut ledger = Ledger {
        claimed_bytes: guest.claimed_bytes,
        claim_is_echo: guest.claim_is_echo,
        sent_bytes: guest.sent_bytes,
        arrived_bytes: arrived,
        arrived_failed_requests: moved(before.counters.failed_requests, after.counters.failed_requests),
        allocated_before_bytes: before.allocated_bytes,
        allocated_after_bytes: after.allocated_bytes,
        freed_bytes: fall,
        freed_min_bytes: fall,
        freed_max_bytes: freed_max,
        written_meanwhile_bytes: written,
        impossible: Vec::new(),
    };
    flag_impossible(&mut ledger, guest.passes.max(1), virtual_bytes);
    ledger
}

/// A counter's movement. One that fell began anew (the node was opened again): what it shows since is a lower bound,
/// so it is not known.
fn moved(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    after?.checked_sub(before?)
}

fn signed_difference(before: u64, after: u64) -> i64 {
    match before.checked_sub(after) {
        Some(fall) => i64::try_from(fall).unwrap_or(i64::MAX),
        None => i64::try_from(after.saturating_sub(before)).map_or(i64::MIN, i64::saturating_neg),
    }
}

fn blurs(written: u64, fall: i64) -> bool {
    written > fall.unsigned_abs().checked_div(BLUR_DIVISOR).unwrap_or(0)
}

/// min(fall + written meanwhile, arrived), but never below the fall itself and never above what was there.
fn upper_bound(fall: i64, written: u64, arrived: Option<u64>, allocated_before: Option<u64>) -> i64 {
    let clip = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut bound = fall.saturating_add(clip(written));
    for limit in [arrived, allocated_before].into_iter().flatten() {
        bound = bound.min(clip(limit));
    }
    bound.max(fall)
}

/// With P passes at most P × virtual size can have been sent, or have arrived.
fn flag_impossible(ledger: &mut Ledger, passes: u32, virtual_bytes: Option<u64>) {
    let Some(most) = virtual_bytes.map(|size| size.saturating_mul(u64::from(passes))) else { return };
    for (what, bytes) in [("sent", ledger.sent_bytes), ("arrived", ledger.arrived_bytes)] {
        if let Some(bytes) = bytes.filter(|bytes| *bytes > most) {
            ledger.impossible.push(format!(
                "{what} {bytes} bytes is more than {passes} pass(es) over a disk of {} bytes can be: others discard \
                 there too, or the number is not true",
                virtual_bytes.unwrap_or(0)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn reading(allocated: u64, arrived: u64, written: u64) -> Reading {
        Reading {
            allocated_bytes: Some(allocated),
            counters: DiskCounters {
                written_bytes: Some(written),
                arrived_bytes: Some(arrived),
                failed_requests: Some(0),
                failed_io: None,
            },
        }
    }

    fn freed(before: Reading, after: Reading) -> (i64, i64, i64) {
        let ledger = account(&before, &after, &GuestSide::default(), None);
        (ledger.freed_bytes.unwrap(), ledger.freed_min_bytes.unwrap(), ledger.freed_max_bytes.unwrap())
    }

    #[test]
    fn freed_is_the_fall() {
        assert_eq!(freed(reading(500, 0, 0), reading(200, 300, 0)), (300, 300, 300));
        assert_eq!(freed(reading(200, 0, 0), reading(500, 0, 0)), (-300, -300, -300), "growth is negative");
    }

    #[test]
    fn writes_above_one_percent_make_an_interval() {
        let fall = 100 * MIB;
        let cases = [
            ("one percent does not blur", MIB, u64::MAX, fall),
            ("above it does", 2 * MIB, u64::MAX, fall + 2 * MIB),
            ("arrived bounds it", 50 * MIB, fall + MIB, fall + MIB),
            ("never below the fall", 50 * MIB, MIB, fall),
            ("never above what was there", 9000 * MIB, u64::MAX, 500 * MIB),
        ];
        for (name, written, arrived, expected) in cases {
            let (_, min, max) = freed(reading(500 * MIB, 0, 0), reading(500 * MIB - fall, arrived, written));
            assert_eq!(
                (min, max),
                (i64::try_from(fall).unwrap(), i64::try_from(expected).unwrap()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_counter_that_began_anew_is_not_known() {
        let ledger = account(&reading(5, 100, 100), &reading(5, 7, 7), &GuestSide::default(), None);
        assert_eq!((ledger.arrived_bytes, ledger.written_meanwhile_bytes), (None, None));
    }

    #[test]
    fn what_cannot_be_is_flagged_and_not_clipped() {
        let guest = GuestSide { sent_bytes: Some(201), passes: 2, ..GuestSide::default() };
        let ledger = account(&reading(0, 0, 0), &reading(0, 201, 0), &guest, Some(100));
        assert_eq!(ledger.sent_bytes, Some(201));
        assert_eq!(ledger.impossible.len(), 2, "{:?}", ledger.impossible);
        let guest = GuestSide { sent_bytes: Some(200), passes: 2, ..GuestSide::default() };
        assert!(account(&reading(0, 0, 0), &reading(0, 200, 0), &guest, Some(100)).impossible.is_empty());
    }

    prop_compose! {
        fn any_reading()(allocated in any::<Option<u64>>(), written in any::<Option<u64>>(),
                         arrived in any::<Option<u64>>(), failed in any::<Option<u64>>()) -> Reading {
            Reading {
                allocated_bytes: allocated,
                counters: DiskCounters { written_bytes: written, arrived_bytes: arrived, failed_requests: failed, failed_io: None },
            }
        }
    }

    proptest! {
        #[test]
        fn no_reading_breaks_the_books(before in any_reading(), after in any_reading(),
                                       sent in any::<Option<u64>>(), passes in any::<u32>(),
                                       size in any::<Option<u64>>()) {
            let guest = GuestSide { sent_bytes: sent, passes, ..GuestSide::default() };
            let ledger = account(&before, &after, &guest, size);
            prop_assert_eq!(ledger.sent_bytes, sent);
            if let (Some(min), Some(freed), Some(max)) =
                (ledger.freed_min_bytes, ledger.freed_bytes, ledger.freed_max_bytes)
            {
                prop_assert!(min <= freed && freed <= max);
                let there = i64::try_from(before.allocated_bytes.unwrap()).unwrap_or(i64::MAX);
                prop_assert!(max <= there.max(0));
            } else {
                prop_assert!(before.allocated_bytes.is_none() || after.allocated_bytes.is_none());
            }
        }
    }
}
