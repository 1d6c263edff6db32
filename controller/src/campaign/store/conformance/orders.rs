//! What a person orders, in each state.

use super::*;
use crate::{
    campaign::{
        account::CampaignState,
        run::{Baseline, Counted, Instruction},
        store::{Active, Order},
    },
    model::trouble::Kind,
};

async fn order(store: &impl Store, campaign: i64, order: Order) -> CampaignState {
    store.order(campaign, &order, "ops@h").await.unwrap().state
}

pub(crate) async fn pause_and_resume(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(2, loose())).await.unwrap();
    let running = take(store, id).await;
    assert_eq!(order(store, id, Order::Pause).await, CampaignState::Paused);
    assert_eq!(order(store, id, Order::Pause).await, CampaignState::Paused, "said twice");
    assert_eq!(none(store, id).await, Wait::Campaign);
    let stage = (running.run, running.fence, String::new());
    let answer = store.heartbeat(&worker(), None, &[stage]).await.unwrap();
    assert_eq!(answer[0].1, Instruction::Keep, "what runs goes on");
    assert_eq!(order(store, id, Order::Resume).await, CampaignState::Active);
    take(store, id).await;
    let who: Vec<_> =
        store.events(id).await.unwrap().into_iter().map(|event| (event.what, event.who)).collect();
    assert!(
        who.contains(&("paused".into(), "ops@h".into())) && who.contains(&("resumed".into(), "ops@h".into()))
    );
}

pub(crate) async fn what_admits_or_cancels_is_active(store: &impl Store, _: &TestClock) {
    let over = store.apply(&campaign(1, loose())).await.unwrap();
    order(store, over, Order::Abort).await;
    let paused = store.apply(&campaign(1, loose())).await.unwrap();
    order(store, paused, Order::Pause).await;
    let all_run = store.apply(&campaign(1, loose())).await.unwrap();
    take(store, all_run).await;
    let waits = store.apply(&campaign(1, loose())).await.unwrap();
    let gated = Limits { gates: vec!["ceph".into()], ..loose() };
    let gated = store.apply(&campaign(1, gated)).await.unwrap();
    let aborting = store.apply(&campaign(2, loose())).await.unwrap();
    let last = take(store, aborting).await;
    order(store, aborting, Order::Abort).await;
    let active = |campaign, has_waiting, gates| Active {
        campaign,
        has_waiting,
        is_full: false,
        yields: false,
        cancels: false,
        gates,
    };
    assert_eq!(
        store.active(&worker()).await.unwrap(),
        [
            active(all_run, false, vec![]),
            active(waits, true, vec![]),
            active(gated, true, vec!["ceph".into()]),
            Active { cancels: true, ..active(aborting, false, vec![]) },
        ]
    );
    store.finish(&last, &result(Class::Aborted, 0)).await.unwrap();
    assert!(store.active(&worker()).await.unwrap().iter().all(|one| one.campaign != aborting), "it is over");
    let elsewhere = Claimant { host: "other".into(), ..worker() };
    assert_eq!(store.active(&elsewhere).await.unwrap(), [], "it has no run there");
}

pub(crate) async fn a_claim_in_vain_is_seen_before(store: &impl Store, _: &TestClock) {
    for limits in [Limits { at_once: n(1), ..loose() }, Limits { per_host: Some(n(1)), ..loose() }]
        .map(|limits| campaign(2, limits))
    {
        let id = store.apply(&limits).await.unwrap();
        let waits_and_is_full = async || {
            let active = store.active(&worker()).await.unwrap();
            active.iter().find(|one| one.campaign == id).map(|one| (one.has_waiting, one.is_full))
        };
        assert_eq!(waits_and_is_full().await, Some((true, false)));
        let claimed = take(store, id).await;
        assert_eq!(waits_and_is_full().await, Some((true, true)), "one runs, and one may");
        store.finish(&claimed, &result(Class::Reclaimed, 0)).await.unwrap();
        assert_eq!(waits_and_is_full().await, Some((true, false)));
        let last = take(store, id).await;
        assert_eq!(waits_and_is_full().await, Some((false, false)), "nothing waits");
        store.finish(&last, &result(Class::Reclaimed, 0)).await.unwrap();
        assert_eq!(waits_and_is_full().await, None, "it is over");
    }
}

pub(crate) async fn abort_waits_for_what_runs(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(3, loose())).await.unwrap();
    let running = take(store, id).await;
    assert_eq!(order(store, id, Order::Abort).await, CampaignState::Aborting);
    assert_eq!(store.claim(id, &worker()).await.unwrap(), Claim::Empty);
    let stage = (running.run, running.fence, String::new());
    assert_eq!(store.heartbeat(&worker(), None, &[stage]).await.unwrap()[0].1, Instruction::Cancel);
    assert_eq!(store.baseline(&running, &Baseline::default()).await.unwrap(), Instruction::Cancel);
    assert_eq!(store.finish(&running, &result(Class::Aborted, 77)).await.unwrap(), Counted::Counted);
    let summary = store.status(id).await.unwrap().summary;
    assert_eq!((summary.state, summary.freed_bytes), (CampaignState::Aborted, 77));
    assert_eq!(summary.done.into_iter().collect::<Vec<_>>(), [(Class::Aborted, 3)]);
    assert!(summary.ended.is_some());
}

pub(crate) async fn abort_in_every_state(store: &impl Store, _: &TestClock) {
    let fresh = store.apply(&campaign(1, loose())).await.unwrap();
    assert_eq!(order(store, fresh, Order::Abort).await, CampaignState::Aborted, "nothing ran");
    assert_eq!(order(store, fresh, Order::Abort).await, CampaignState::Aborted, "said twice");

    let paused = store.apply(&campaign(1, loose())).await.unwrap();
    order(store, paused, Order::Pause).await;
    assert_eq!(order(store, paused, Order::Abort).await, CampaignState::Aborted);

    let stopped =
        store.apply(&campaign(3, Limits { failure_budget: Share::Count(1), ..loose() })).await.unwrap();
    let running = take(store, stopped).await;
    turn(store, stopped, Class::Failed).await;
    assert_eq!(order(store, stopped, Order::Abort).await, CampaignState::Aborting);
    assert_eq!(order(store, stopped, Order::Abort).await, CampaignState::Aborting);
    store.finish(&running, &result(Class::Harmed, 0)).await.unwrap();
    assert_eq!(
        order(store, stopped, Order::Abort).await,
        CampaignState::Aborted,
        "harm does not keep it alive"
    );

    let done = store.apply(&campaign(1, loose())).await.unwrap();
    turn(store, done, Class::Reclaimed).await;
    assert_eq!(order(store, done, Order::Abort).await, CampaignState::Done);
    for (id, what) in [(done, Order::Pause), (fresh, Order::Resume)] {
        let trouble = store.order(id, &what, "ops@h").await.unwrap_err();
        assert_eq!(trouble.kind, Kind::UnknownCampaign, "{what:?}");
    }
}

pub(crate) async fn later_while_aborting(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(2, loose())).await.unwrap();
    let (first, second) = (take(store, id).await, take(store, id).await);
    order(store, id, Order::Abort).await;
    let part = Later { did: Did::This(result(Class::Reclaimed, 5)), ..later(Wait::Window, 60) };
    store.later(&first, &part).await.unwrap();
    assert_eq!(store.status(id).await.unwrap().summary.state, CampaignState::Aborting);
    store.later(&second, &later(Wait::Retry, 60)).await.unwrap();
    let summary = store.status(id).await.unwrap().summary;
    assert_eq!(
        (summary.state, summary.freed_bytes),
        (CampaignState::Aborted, 5),
        "nothing goes back to wait"
    );
}

pub(crate) async fn recover_while_aborting(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(2, loose())).await.unwrap();
    let running = take(store, id).await;
    store.baseline(&running, &Baseline::default()).await.unwrap();
    order(store, id, Order::Abort).await;
    store.recover(&Claimant { worker: "w2".into(), ..worker() }).await.unwrap();
    let status = store.status(id).await.unwrap();
    assert_eq!(status.summary.state, CampaignState::Aborted);
    let text = store.runs(id).await.unwrap()[0].result.clone().unwrap().text.unwrap();
    assert_eq!(text, "the campaign was aborted before the end of its turn was known");
}

pub(crate) async fn done_at_the_end(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(2, Limits { failure_budget: Share::Count(1), ..loose() })).await.unwrap();
    turn(store, id, Class::Reclaimed).await;
    assert_eq!(store.status(id).await.unwrap().summary.ended, None);
    turn(store, id, Class::Failed).await;
    let summary = store.status(id).await.unwrap().summary;
    assert_eq!(summary.state, CampaignState::Done, "a stop with nothing left is the end");
    assert!(summary.why.unwrap().contains("the budget is 1"), "and says so");
    assert_eq!(store.claim(id, &worker()).await.unwrap(), Claim::Empty);
}
