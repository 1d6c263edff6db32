//! Each byte is counted once, whoever says it how often.

use super::*;
use crate::campaign::{
    account::CampaignState,
    run::{Baseline, Counted},
};

async fn freed(store: &impl Store, campaign: i64) -> i64 {
    let status = store.status(campaign).await.unwrap();
    let runs: i64 = store.runs(campaign).await.unwrap().iter().map(|run| run.freed_bytes).sum();
    let datastores: i64 = status.datastores.iter().map(|sum| sum.freed_bytes).sum();
    assert_eq!((runs, datastores), (status.summary.freed_bytes, status.summary.freed_bytes));
    runs
}

pub(crate) async fn whatever_a_guest_says(store: &impl Store, _: &TestClock) {
    let said = "\0a\u{1b}[31m\\u0000\u{202e}";
    let mut end = result(Class::Failed, 5);
    end.text = Some(said.into());
    end.disks[0].name = said.into();
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    let first = take(store, id).await;
    let later = Later { text: said.into(), did: Did::This(end.clone()), ..later(Wait::Retry, 0) };
    assert_eq!(store.later(&first, &later).await.unwrap(), Counted::Counted);
    let second = take(store, id).await;
    assert_eq!(store.finish(&second, &end).await.unwrap(), Counted::Counted);
    let run = store.runs(id).await.unwrap().remove(0);
    assert!(run.result.unwrap().text.unwrap().ends_with("a\u{1b}[31m\\u0000\u{202e}"));
}

pub(crate) async fn counted_once(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    let claimed = take(store, id).await;
    let done = result(Class::Reclaimed, 500);
    assert_eq!(store.finish(&claimed, &done).await.unwrap(), Counted::Counted);
    for _ in 0..3 {
        assert_eq!(store.finish(&claimed, &done).await.unwrap(), Counted::AlreadyCounted);
    }
    let part = Later { did: Did::This(done), ..later(Wait::Window, 0) };
    assert_eq!(store.later(&claimed, &part).await.unwrap(), Counted::AlreadyCounted);
    assert_eq!(freed(store, id).await, 500);
}

pub(crate) async fn fenced_is_never_counted(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    let old = take(store, id).await;
    store.recover(&Claimant { worker: "w2".into(), ..worker() }).await.unwrap();
    assert_eq!(
        store.finish(&old, &result(Class::Reclaimed, 1)).await.unwrap(),
        Counted::Fenced,
        "taken back, though nobody else has it yet"
    );
    let new = take(store, id).await;
    assert_eq!(store.finish(&old, &result(Class::Reclaimed, 2)).await.unwrap(), Counted::Fenced);
    assert_eq!(store.later(&old, &later(Wait::Retry, 0)).await.unwrap(), Counted::Fenced);
    assert_eq!(freed(store, id).await, 0);
    store.finish(&new, &result(Class::Reclaimed, 40)).await.unwrap();
    assert_eq!(store.finish(&old, &result(Class::Reclaimed, 2)).await.unwrap(), Counted::Fenced);
    assert_eq!(freed(store, id).await, 40);
    let fenced = store.events(id).await.unwrap().into_iter().filter(|event| event.what == "fenced").count();
    assert_eq!(fenced, 4, "in the history");
}

pub(crate) async fn turns_add_up(store: &impl Store, clock: &TestClock) {
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    let first = take(store, id).await;
    let part = Later { did: Did::This(result(Class::Reclaimed, 300)), ..later(Wait::Window, 60) };
    assert_eq!(store.later(&first, &part).await.unwrap(), Counted::Counted);
    assert_eq!(store.later(&first, &part).await.unwrap(), Counted::AlreadyCounted);
    assert_eq!(none(store, id).await, Wait::Window);
    clock.forward(Duration::from_secs(60));
    let second = take(store, id).await;
    assert_ne!(second.agent_run_id, first.agent_run_id, "its result is known: another turn");
    assert_eq!((second.attempt, second.baseline.clone()), (1, None));
    store.finish(&second, &result(Class::AlreadyCompact, 30)).await.unwrap();
    assert_eq!(freed(store, id).await, 330);
    assert_eq!(store.status(id).await.unwrap().summary.state, CampaignState::Done);
}

pub(crate) async fn a_lost_result_keeps_its_id(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    let first = take(store, id).await;
    store.baseline(&first, &Baseline::default()).await.unwrap();
    store.later(&first, &later(Wait::Retry, 0)).await.unwrap();
    let second = take(store, id).await;
    store.later(&second, &later(Wait::Guard, 0)).await.unwrap();
    let third = take(store, id).await;
    assert_eq!((&second.agent_run_id, &third.agent_run_id), (&first.agent_run_id, &first.agent_run_id));
    assert_eq!(third.baseline, Some(Baseline::default()), "a guard in between changes nothing");
}

pub(crate) async fn not_now_is_no_start(store: &impl Store, clock: &TestClock) {
    let limits = Limits { ramp: vec![Share::Count(1)], ..loose() };
    let id = store.apply(&campaign(3, limits)).await.unwrap();
    for why in [Wait::Guard, Wait::Gate] {
        let claimed = take(store, id).await;
        assert_eq!(claimed.attempt, 1);
        store.later(&claimed, &later(why, 60)).await.unwrap();
    }
    let claimed = take(store, id).await;
    assert_eq!(claimed.vm.name, "vm2", "the ramp still has its one");
    assert_eq!(none(store, id).await, Wait::Guard);
    // Its guest was called, and refused.
    store.baseline(&claimed, &Baseline::default()).await.unwrap();
    let refused = Later { did: Did::Nothing, ..later(Wait::Guard, 30) };
    store.later(&claimed, &refused).await.unwrap();
    clock.to(at(60));
    let next = take(store, id).await;
    assert_eq!((next.vm.name.as_str(), next.put_off), ("vm0", 1), "its stage is another's");
    store.later(&next, &refused).await.unwrap();
    let next = take(store, id).await;
    store.later(&next, &refused).await.unwrap();
    let next = take(store, id).await;
    assert_eq!((next.vm.name.as_str(), next.put_off), ("vm2", 1), "it was put off, which is counted");
    assert_eq!(next.baseline, None, "what others free meanwhile is not its own");
}

pub(crate) async fn retries_are_counted(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    for (attempt, put_off, why) in [
        (1, 0, Wait::Retry),
        (2, 0, Wait::Guard),
        (2, 1, Wait::Gate),
        (2, 2, Wait::Window),
        (2, 0, Wait::Retry),
        (3, 0, Wait::Room),
    ] {
        let claimed = take(store, id).await;
        assert_eq!((claimed.attempt, claimed.put_off), (attempt, put_off), "{why:?}");
        store.later(&claimed, &later(why, 0)).await.unwrap();
    }
    assert_eq!(store.runs(id).await.unwrap()[0].attempt, 3);
}

pub(crate) async fn growth_counts_against(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(2, loose())).await.unwrap();
    for grown in [100, -40] {
        let claimed = take(store, id).await;
        store.finish(&claimed, &result(Class::Reclaimed, grown)).await.unwrap();
    }
    assert_eq!(freed(store, id).await, 60);
}
