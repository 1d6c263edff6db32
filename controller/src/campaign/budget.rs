//! What stops a campaign: harm, too many failures, a row of runs that show something wired wrong.
//!
//! Pure. The harm budget is 0 and no number: one run that harmed is enough.

use super::run::Class;

/// Whether a campaign with this failure budget may admit one more.
///
/// `strict` counts what runs as if it failed, so that the budget cannot be overshot; otherwise as many as run at once
/// may still fail after the last admission.
pub fn may_admit(budget: u32, strict: bool, failed: u32, running: u32) -> bool {
    failed < budget && (!strict || failed.saturating_add(running) < budget)
}

/// What an end means for the streak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    /// One more.
    Blocked,
    /// The way is open, or something else is wrong: the streak is over.
    Breaks,
    /// It says nothing of the way.
    Ignored,
}

/// Weighs an end. A closed list on purpose: a new class must be decided here.
pub const fn weight(class: Class) -> Weight {
    match class {
        Class::Cut | Class::Held => Weight::Blocked,
        Class::Reclaimed | Class::NotMeasurable | Class::Failed | Class::Harmed => Weight::Breaks,
        Class::AlreadyCompact | Class::NotRun | Class::Away | Class::SetAside | Class::Aborted => {
            Weight::Ignored
        }
    }
}

/// How many of the last ends in a row are cut or held; `newest_first`.
pub fn streak(newest_first: impl IntoIterator<Item = Class>) -> u32 {
    let mut streak = 0_u32;
    for class in newest_first {
        match weight(class) {
            Weight::Blocked => streak = streak.saturating_add(1),
            Weight::Breaks => break,
            Weight::Ignored => {}
        }
    }
    streak
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::campaign::limits::Share;

    #[test]
    fn streaks() {
        use Class::{Aborted, AlreadyCompact, Away, Cut, Failed, Held, NotRun, Reclaimed, SetAside};
        for (name, ends, expected) in [
            ("nothing has ended", vec![], 0),
            ("three", vec![Cut, Held, Cut], 3),
            (
                "what says nothing is passed over",
                vec![Cut, AlreadyCompact, Away, NotRun, SetAside, Aborted, Held],
                2,
            ),
            ("one that came back ends it", vec![Cut, Reclaimed, Cut, Cut], 1),
            ("a failure is the other budget's", vec![Cut, Cut, Failed, Cut], 2),
            ("the newest is good", vec![Reclaimed, Cut, Cut, Cut], 0),
        ] {
            assert_eq!(streak(ends), expected, "{name}");
        }
    }

    proptest! {
        /// Whatever fails, in whatever order: strict ends at the budget at the most, and not before it where all fail.
        #[test]
        fn strict_is_never_overshot(
            percent in 1..=100_u8,
            total in 1..200_u32,
            steps in prop::collection::vec((any::<bool>(), any::<bool>()), 0..800),
        ) {
            let budget = Share::Percent(percent).of(total);
            let (mut waiting, mut running, mut failed) = (total, 0_u32, 0_u32);
            for (admit, fails) in steps {
                if admit && waiting > 0 && may_admit(budget, true, failed, running) {
                    waiting -= 1;
                    running += 1;
                } else if running > 0 {
                    running -= 1;
                    failed += u32::from(fails);
                }
                prop_assert!(failed <= budget);
                prop_assert!(failed + running <= budget || failed < budget);
                prop_assert!(running > 0 || failed >= budget || may_admit(budget, true, failed, 0), "stuck");
            }
        }

        /// Without strict no more than what ran at once is beyond the budget.
        #[test]
        fn otherwise_only_what_ran_at_once_is_beyond_it(
            budget in 1..20_u32,
            at_once in 1..8_u32,
            steps in prop::collection::vec((any::<bool>(), any::<bool>()), 0..400),
        ) {
            let (mut running, mut failed) = (0_u32, 0_u32);
            for (admit, fails) in steps {
                if admit && running < at_once && may_admit(budget, false, failed, running) {
                    running += 1;
                } else if running > 0 {
                    running -= 1;
                    failed += u32::from(fails);
                }
                prop_assert!(failed < budget + at_once);
            }
        }
    }
}
