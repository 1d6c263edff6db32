//! What every store must do, whatever engine it has: small cases over the trait alone.
//!
//! An engine brings a [`Rig`] and takes all cases with `conformance!(ItsRig);`. The store's clock is the test's.

pub(crate) mod account;
pub(crate) mod caps;
pub(crate) mod ends;
pub(crate) mod model;
pub(crate) mod orders;
pub(crate) mod stops;
pub(crate) mod takes;
pub(crate) mod windows;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    campaign::{
        limits::{Limits, Share},
        run::{Claimed, Class, Did, DiskResult, Later, NewRun, RunResult, VmKey, Wait},
        store::{Claim, Claimant, NewCampaign, Store},
    },
    ledger::verdict::Verdict,
};

/// A store to try, with a clock to turn.
pub(crate) trait Rig {
    /// The engine.
    type Store: Store;
    /// An empty store.
    async fn new(clock: TestClock) -> Self;
    /// It.
    fn store(&self) -> &Self::Store;
}

/// The store's clock, in the test's hand.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(at(0).as_microsecond())))
    }

    pub(crate) fn micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn to(&self, time: Timestamp) {
        self.0.store(time.as_microsecond(), Ordering::SeqCst);
    }

    pub(crate) fn forward(&self, span: Duration) {
        self.0.fetch_add(i64::try_from(span.as_micros()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn back(&self, span: Duration) {
        self.0.fetch_sub(i64::try_from(span.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

/// So many seconds after the beginning of the test.
pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + secs).unwrap()
}

pub(crate) fn n(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// Limits that hold nothing back.
pub(crate) fn loose() -> Limits {
    Limits {
        at_once: n(100),
        per_datastore: n(100),
        ramp: Vec::new(),
        failure_budget: Share::Count(100),
        cut_in_a_row: 0,
        ..Limits::default()
    }
}

/// VMs `vm0`, `vm1`, … of host `h`, on datastore `d`, in that order.
pub(crate) fn campaign(vms: u32, limits: Limits) -> NewCampaign {
    let run = |position| NewRun {
        vm: VmKey { host: "h".into(), name: format!("vm{position}"), uuid: None },
        datastores: vec!["d".into()],
        position,
        expected_bytes: 1000,
        is_first: false,
    };
    NewCampaign {
        name: "nightly".into(),
        who: "ops@h".into(),
        plan: "schema = \"trimtab.plan/1\"".into(),
        limits,
        windows: Vec::new(),
        runs: (0..vms).map(run).collect(),
    }
}

/// The worker of host `h`.
pub(crate) fn worker() -> Claimant {
    Claimant { host: "h".into(), worker: "w1".into() }
}

pub(crate) fn result(class: Class, freed: i64) -> RunResult {
    let verdict = match class {
        Class::Reclaimed => Verdict::Reclaimed,
        Class::Cut => Verdict::CutInVmm,
        Class::Held => Verdict::HeldOnHost,
        _ => Verdict::Failed,
    };
    RunResult {
        class,
        disks: vec![DiskResult {
            name: "vda".into(),
            image: Some("/guests/x.img".into()),
            datastore: Some("d".into()),
            verdict,
            freed_bytes: Some(freed),
            held_bytes: Some(1),
        }],
        text: None,
        kind: None,
        layer: None,
        duration_ms: 1000,
    }
}

/// Not over, with nothing to count.
pub(crate) fn later(why: Wait, secs: u64) -> Later {
    Later { after: Duration::from_secs(secs), why, text: "not now".into(), did: Did::Unknown }
}

/// A claim that must give a run.
pub(crate) async fn take(store: &impl Store, campaign: i64) -> Claimed {
    match store.claim(campaign, &worker()).await.unwrap() {
        Claim::Run(claimed) => *claimed,
        other => panic!("no run: {other:?}"),
    }
}

/// A claim that must give none: why.
pub(crate) async fn none(store: &impl Store, campaign: i64) -> Wait {
    match store.claim(campaign, &worker()).await.unwrap() {
        Claim::Nothing { why, .. } => why,
        other => panic!("not nothing: {other:?}"),
    }
}

/// A claim and its end.
pub(crate) async fn turn(store: &impl Store, campaign: i64, class: Class) -> Claimed {
    let claimed = take(store, campaign).await;
    store.finish(&claimed, &result(class, 0)).await.unwrap();
    claimed
}

/// Makes a test of each case for one engine.
macro_rules! conformance {
    ($rig:ty) => {
        conformance!(@ $rig,
            account { keeps_what_was_applied, refuses_nonsense, sums_and_history, vms_outlive_campaigns, a_uuid_is_one_vm,
                what_waits_for_what, latest_moves, an_unknown_campaign },
            takes { best_first, each_once, fences_rise, only_of_its_host, recover_keeps_what_is_needed,
                baseline_and_heartbeat },
            ends { counted_once, whatever_a_guest_says, fenced_is_never_counted, turns_add_up, a_lost_result_keeps_its_id,
                not_now_is_no_start, retries_are_counted, growth_counts_against },
            caps { at_once, per_host, per_datastore_over_campaigns, a_full_datastore_idles_nobody,
                a_vm_on_several, first_trims_one_by_one, a_vm_runs_once },
            stops { ramp_waits_for_verdicts, budget_stops, strict_holds_back, streak_stops, harm_stops_and_cancels,
                a_stop_is_counted_anew, ends_in_time_do_not_matter },
            orders { pause_and_resume, what_admits_or_cancels_is_active, a_claim_in_vain_is_seen_before, abort_waits_for_what_runs, abort_in_every_state, later_while_aborting,
                recover_while_aborting, done_at_the_end },
            windows { only_inside, expected_must_fit, after_the_last_it_stops, clock_jumps },
        );
    };
    (@ $rig:ty, $($file:ident { $($case:ident),* $(,)? }),* $(,)?) => {
        $(mod $file {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    let clock = $crate::campaign::store::conformance::TestClock::new();
                    let rig = <$rig as $crate::campaign::store::conformance::Rig>::new(clock.clone()).await;
                    let store = $crate::campaign::store::conformance::Rig::store(&rig);
                    $crate::campaign::store::conformance::$file::$case(store, &clock).await;
                }
            )*
        })*
    };
}
pub(crate) use conformance;
