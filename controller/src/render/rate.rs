//! How fast a filesystem is passed, or its disks are sent discards, over the last seconds.

use std::{collections::VecDeque, time::Instant};

/// An agent tells of its progress twice a second at most.
const KEPT: usize = 16;

/// What was told lately of one VM's filesystems.
#[derive(Default, Debug)]
pub(super) struct Rate(VecDeque<Told>);

#[derive(Debug)]
struct Told {
    at: Instant,
    mount: String,
    bytes: u64,
}

impl Rate {
    /// Bytes per second since the oldest that is kept of this filesystem; `None` until they have moved.
    pub(super) fn seen(&mut self, at: Instant, mount: &str, bytes: Option<u64>) -> Option<u64> {
        let bytes = bytes?;
        self.0.truncate(KEPT - 1);
        self.0.push_front(Told { at, mount: mount.to_owned(), bytes });
        let first = self.0.iter().rfind(|told| told.mount == mount)?;
        let millis = at.duration_since(first.at).as_millis();
        let moved = bytes.checked_sub(first.bytes).filter(|moved| *moved > 0)?;
        u64::try_from(u128::from(moved).checked_mul(1000)?.checked_div(millis)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_moved_lately() {
        let begin = Instant::now();
        for (name, told, expected) in [
            ("one look has no rate", vec![(0, "/", Some(5))], None),
            (
                "since the first",
                vec![(0, "/", Some(0)), (500, "/", Some(50)), (2000, "/", Some(400))],
                Some(200),
            ),
            (
                "each filesystem by itself",
                vec![(0, "/", Some(0)), (0, "/a", Some(90)), (1000, "/a", Some(100))],
                Some(10),
            ),
            ("it stands", vec![(0, "/", Some(7)), (1000, "/", Some(7))], None),
            ("a counter that went back", vec![(0, "/", Some(7)), (1000, "/", Some(3))], None),
            ("not counted", vec![(0, "/", None), (1000, "/", None)], None),
            ("at one time", vec![(0, "/", Some(0)), (0, "/", Some(9))], None),
        ] {
            let mut rate = Rate::default();
            let mut last = None;
            for (at, mount, bytes) in told {
                last = rate.seen(begin + Duration::from_millis(at), mount, bytes);
            }
            assert_eq!(last, expected, "{name}");
        }
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let (begin, mut rate, mut last) = (Instant::now(), Rate::default(), None);
        for step in 0..100_u64 {
            // Slow for the first half.
            let bytes = if step < 50 { step } else { 50 + (step - 50) * 1000 };
            last = rate.seen(begin + Duration::from_secs(step), "/", Some(bytes));
        }
        assert_eq!((last, rate.0.len()), (Some(1000), KEPT));
    }
}
