//! Windows: whether a run that begins now is likely to end before its window closes.
//!
//! Pure. All times are microseconds of the store's clock. A trim that is not over when its window closes stops at its
//! next range and goes on in the next one, so a wrong guess costs little.

/// With fewer ends than this, what they took says little.
pub(crate) const ENOUGH_ENDS: u32 = 10;

/// How long a run is expected to take until there are enough ends: ten minutes.
pub(crate) const MODEST_MICROS: i64 = 600_000_000;

/// Opens and closes.
pub(crate) type Window = (i64, i64);

/// What the windows say to a run that would begin now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hours {
    /// Go; it closes then, if ever.
    Open(Option<i64>),
    /// Not before this.
    Closed(i64),
    /// The last one is over.
    Past,
}

/// Looks at the windows that are open or to come, in order; `any` tells whether the campaign has windows at all.
///
/// A run fits when its expected time is over before the window closes. One that takes longer than half of a window may
/// begin in its first half: otherwise it would never begin.
pub(crate) fn look(any: bool, coming: &[Window], now: i64, expected: i64) -> Hours {
    if !any {
        return Hours::Open(None);
    }
    for &(opens, closes) in coming.iter().filter(|(_, closes)| now < *closes) {
        if now < opens {
            return Hours::Closed(opens);
        }
        let half = closes.saturating_sub(opens).checked_div(2).unwrap_or(0);
        if now.saturating_add(expected.min(half)) <= closes {
            return Hours::Open(Some(closes));
        }
    }
    Hours::Past
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_begins_where_it_fits() {
        let nights = [(100, 200), (300, 400)];
        for (name, now, expected, hours) in [
            ("before the first", 50, 10, Hours::Closed(100)),
            ("as it opens", 100, 10, Hours::Open(Some(200))),
            ("it just fits", 190, 10, Hours::Open(Some(200))),
            ("it does not fit any more", 191, 10, Hours::Closed(300)),
            ("between", 200, 10, Hours::Closed(300)),
            ("longer than a window, in its first half", 150, 1000, Hours::Open(Some(200))),
            ("longer than a window, later", 151, 1000, Hours::Closed(300)),
            ("at the end of the last", 395, 10, Hours::Past),
            ("after the last", 400, 0, Hours::Past),
        ] {
            assert_eq!(look(true, &nights, now, expected), hours, "{name}");
        }
        assert_eq!(look(false, &[], 1, 1), Hours::Open(None), "always");
        assert_eq!(look(true, &[], 1, 1), Hours::Past);
    }
}
