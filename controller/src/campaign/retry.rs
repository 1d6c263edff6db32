//! When a run that is not over is tried again, and when it is over all the same. Pure: chance comes in as a number.
//!
//! | after | waits | at most |
//! |---|---|---|
//! | a failure | 1, 4, 16 … minutes, up to an hour | the campaign's `retries` |
//! | a guard, a paused VM | 2, 4, 8 … minutes, up to half an hour | a day |
//! | a window's end | until the next window | as long as there are windows |
//!
//! Each but the last is spread over three quarters to five quarters of itself, so that what failed together is not tried
//! together.

use std::time::Duration;

use super::{
    classify::Outlook,
    run::{Class, Wait},
};

const FAILED_FIRST: Duration = Duration::from_secs(60);
const FAILED_FACTOR: u32 = 4;
const FAILED_MOST: Duration = Duration::from_secs(60 * 60);

const GUARD_FIRST: Duration = Duration::from_secs(2 * 60);
const GUARD_FACTOR: u32 = 2;
const GUARD_MOST: Duration = Duration::from_secs(30 * 60);

/// A guard that says no for longer than a day does not pass by itself: 2 + 4 + 8 + 16 minutes, then half-hours.
const MOST_PUT_OFF: u32 = 51;

/// How often a run was tried so far, the turn that has just ended included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tries {
    /// Turns that began, 1 for the first.
    pub attempt: u32,
    /// Turns that a guard put off before they began.
    pub put_off: u32,
}

/// What becomes of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// It is over.
    Finish(Class),
    /// It goes back to wait.
    Later {
        /// What for.
        why: Wait,
        /// So long at least.
        after: Duration,
        /// What the agent was asked for has a known end: the next turn is a run of its own, by a new id.
        new_agent_run: bool,
    },
}

/// Where a run goes from here. `retries` is the campaign's; `chance` is any number.
pub fn next(outlook: Outlook, tries: Tries, retries: u32, chance: u32) -> Next {
    let failed = |class, new_agent_run| match tries.attempt > retries {
        true => Next::Finish(class),
        false => {
            let after = backoff(FAILED_FIRST, FAILED_FACTOR, FAILED_MOST, tries.attempt);
            Next::Later { why: Wait::Retry, after: spread(after, chance), new_agent_run }
        }
    };
    match outlook {
        Outlook::Over(class) => Next::Finish(class),
        Outlook::Again(class) => failed(class, true),
        Outlook::Fetch(class) => failed(class, false),
        Outlook::Partial(_) => Next::Later { why: Wait::Window, after: Duration::ZERO, new_agent_run: true },
        Outlook::NotNow(class) => match tries.put_off > MOST_PUT_OFF {
            true => Next::Finish(class),
            false => {
                let after = backoff(GUARD_FIRST, GUARD_FACTOR, GUARD_MOST, tries.put_off);
                Next::Later { why: Wait::Guard, after: spread(after, chance), new_agent_run: true }
            }
        },
    }
}

/// `first` × `factor` for each time after the first, and never more than `most`.
fn backoff(first: Duration, factor: u32, most: Duration, times: u32) -> Duration {
    let grown = factor.checked_pow(times.saturating_sub(1)).and_then(|by| first.checked_mul(by));
    grown.map_or(most, |grown| grown.min(most))
}

/// Three quarters to five quarters of it.
fn spread(wait: Duration, chance: u32) -> Duration {
    let per_mille = chance.checked_rem(501).unwrap_or(0).saturating_add(750);
    wait.saturating_mul(per_mille).checked_div(1000).unwrap_or(wait)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIDDLE: u32 = 250;

    fn after(outlook: Outlook, attempt: u32, put_off: u32) -> Option<(Wait, u64)> {
        match next(outlook, Tries { attempt, put_off }, 6, MIDDLE) {
            Next::Finish(_) => None,
            Next::Later { why, after, .. } => Some((why, after.as_secs())),
        }
    }

    #[test]
    fn waits_grow_up_to_their_cap() {
        let failed: Vec<_> =
            (1..=7).map(|attempt| after(Outlook::Again(Class::Failed), attempt, 0)).collect();
        let retry = |secs| Some((Wait::Retry, secs));
        assert_eq!(
            failed,
            [60, 240, 960, 3600, 3600, 3600].map(retry).into_iter().chain([None]).collect::<Vec<_>>()
        );
        let put_off: Vec<_> =
            [1, 2, 4, 5, 50, 51, 52].map(|times| after(Outlook::NotNow(Class::NotRun), 9, times)).into();
        let guard = |secs| Some((Wait::Guard, secs));
        let expected: Vec<_> =
            [120, 240, 960, 1800, 1800, 1800].map(guard).into_iter().chain([None]).collect();
        assert_eq!(put_off, expected, "attempts do not matter to a guard");
    }

    #[test]
    fn a_guard_that_never_passes_ends_within_about_a_day() {
        let waits = (1..=MOST_PUT_OFF).filter_map(|times| after(Outlook::NotNow(Class::NotRun), 1, times));
        let hours = waits.map(|(_, secs)| secs).sum::<u64>() / 3600;
        assert_eq!(hours, 24);
    }

    #[test]
    fn how_each_outlook_goes_on() {
        let tries = |attempt| Tries { attempt, put_off: 0 };
        let later =
            |why, secs, new_agent_run| Next::Later { why, after: Duration::from_secs(secs), new_agent_run };
        for (outlook, attempt, expected) in [
            (Outlook::Over(Class::Cut), 1, Next::Finish(Class::Cut)),
            (Outlook::Again(Class::Failed), 2, later(Wait::Retry, 240, true)),
            (Outlook::Again(Class::Away), 3, Next::Finish(Class::Away)),
            (Outlook::Fetch(Class::Failed), 1, later(Wait::Retry, 60, false)),
            (Outlook::Fetch(Class::NotRun), 3, Next::Finish(Class::NotRun)),
            (Outlook::Partial(Class::Reclaimed), 9, later(Wait::Window, 0, true)),
        ] {
            assert_eq!(next(outlook, tries(attempt), 2, MIDDLE), expected, "{outlook:?} {attempt}");
        }
        assert_eq!(next(Outlook::Again(Class::Failed), tries(1), 0, MIDDLE), Next::Finish(Class::Failed));
    }

    proptest! {
        #[test]
        fn waits_stay_within_their_bounds(attempt: u32, put_off in 0..=MOST_PUT_OFF, chance: u32) {
            let tries = Tries { attempt, put_off };
            for (outlook, least, most) in [
                (Outlook::Again(Class::Failed), 45, 75 * 60),
                (Outlook::NotNow(Class::NotRun), 90, 75 * 30),
            ] {
                if let Next::Later { after, .. } = next(outlook, tries, u32::MAX, chance) {
                    prop_assert!((least..=most).contains(&after.as_secs()), "{outlook:?} {after:?}");
                }
            }
        }
    }
}
