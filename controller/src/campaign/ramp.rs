//! The ramp: how many VMs may be admitted until the verdicts of those before are in.
//!
//! It keeps nothing. With the stages 1, 5, 10 % of 200 a campaign may have admitted 1, then 1 + 5, then 1 + 5 + 20 VMs;
//! the next stage opens when all that were admitted so far have ended. After the last stage only the caps hold.

use super::limits::Share;

/// What a campaign has begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Begun {
    /// VMs admitted so far; one that a guard sent back is not among them.
    pub admitted: u32,
    /// Of them, how many have no end yet. One that waits for a retry has none.
    pub open: u32,
}

/// How many more VMs may be admitted now; `u32::MAX` after the last stage.
pub fn room(stages: &[Share], total: u32, begun: Begun) -> u32 {
    let mut before = 0_u32;
    for stage in stages {
        let allowance = before.saturating_add(stage.of(total));
        if begun.admitted < allowance {
            let is_open = begun.admitted > before || begun.open == 0;
            return if is_open { allowance.saturating_sub(begun.admitted) } else { 0 };
        }
        before = allowance;
    }
    if begun.admitted > before || begun.open == 0 { u32::MAX } else { 0 }
}

/// How many VMs all stages admit together: with more than that admitted the ramp is over.
pub fn end(stages: &[Share], total: u32) -> u32 {
    stages.iter().fold(0, |sum, stage| sum.saturating_add(stage.of(total)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAGES: [Share; 3] = [Share::Count(1), Share::Count(5), Share::Percent(10)];

    #[test]
    fn each_stage_waits_for_the_one_before() {
        for (name, admitted, open, expected) in [
            ("the first", 0, 0, 1),
            ("its verdict is awaited", 1, 1, 0),
            ("the second stage", 1, 0, 5),
            ("in the middle of it", 3, 2, 3),
            ("the second is full", 6, 1, 0),
            ("ten in a hundred, rounded up", 6, 0, 20),
            ("the third is full", 26, 26, 0),
            ("the last has ended", 26, 0, u32::MAX),
            ("after it only the caps hold", 27, 27, u32::MAX),
        ] {
            assert_eq!(room(&STAGES, 200, Begun { admitted, open }), expected, "{name}");
        }
        assert_eq!(room(&[], 200, Begun::default()), u32::MAX, "no ramp");
        assert_eq!(end(&STAGES, 200), 26);
    }

    fn share() -> impl Strategy<Value = Share> {
        prop_oneof![(1..50_u32).prop_map(Share::Count), (1..=100_u8).prop_map(Share::Percent)]
    }

    proptest! {
        #[test]
        fn a_share_is_neither_nothing_nor_too_much(share in share(), total in 1..20_000_u32) {
            let part = share.of(total);
            prop_assert!(part >= 1);
            if let Share::Percent(percent) = share {
                prop_assert!(part <= total);
                prop_assert!(u64::from(part) * 100 >= u64::from(total) * u64::from(percent));
                prop_assert!((u64::from(part) - 1) * 100 < u64::from(total) * u64::from(percent));
            }
        }

        /// Ends come in any order; a stage begins only when nothing of the one before is open, all VMs get their turn.
        #[test]
        fn every_campaign_gets_through(
            stages in prop::collection::vec(share(), 0..5),
            total in 1..300_u32,
            coins in prop::collection::vec(any::<bool>(), 64),
        ) {
            let bounds: Vec<u32> = (0..=stages.len()).map(|n| end(&stages[..n], total)).collect();
            let mut begun = Begun::default();
            let mut coins = coins.iter().cycle();
            for _ in 0..10_000 {
                if begun.admitted == total && begun.open == 0 {
                    break;
                }
                let may = room(&stages, total, begun) > 0 && begun.admitted < total;
                prop_assert!(may || begun.open > 0, "stuck at {begun:?}");
                if may && (begun.open == 0 || *coins.next().unwrap()) {
                    let opens_a_stage = bounds[..].contains(&begun.admitted);
                    prop_assert!(!opens_a_stage || begun.open == 0, "{begun:?} opened a stage");
                    begun.admitted += 1;
                    begun.open += 1;
                } else {
                    begun.open -= 1;
                }
            }
            prop_assert_eq!(begun, Begun { admitted: total, open: 0 });
        }
    }
}
