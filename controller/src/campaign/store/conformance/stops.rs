//! Ramp, budgets, streak and harm.

use super::*;
use crate::{
    campaign::{account::CampaignState, run::Instruction, store::Order},
    layers::Layer,
};

async fn state(store: &impl Store, campaign: i64) -> (CampaignState, String) {
    let summary = store.status(campaign).await.unwrap().summary;
    (summary.state, summary.why.unwrap_or_default())
}

pub(crate) async fn ramp_waits_for_verdicts(store: &impl Store, _: &TestClock) {
    let limits = Limits { ramp: vec![Share::Count(1), Share::Percent(20)], ..loose() };
    let id = store.apply(&campaign(10, limits)).await.unwrap();
    let first = take(store, id).await;
    assert_eq!(none(store, id).await, Wait::Ramp);
    store.later(&first, &later(Wait::Retry, 0)).await.unwrap();
    let again = take(store, id).await;
    assert_eq!(again.run, first.run, "a retry is no new admission");
    assert_eq!(none(store, id).await, Wait::Ramp, "and has no verdict yet");
    store.finish(&again, &result(Class::Reclaimed, 0)).await.unwrap();
    let second = take(store, id).await;
    let third = take(store, id).await;
    assert_eq!(none(store, id).await, Wait::Ramp, "one and a fifth of ten");
    store.heartbeat(&worker(), None, &[]).await.unwrap();
    let waits = store.status(id).await.unwrap().waiting;
    assert_eq!(waits.into_iter().collect::<Vec<_>>(), [(Wait::Ramp, 7)]);
    store.finish(&second, &result(Class::Away, 0)).await.unwrap();
    assert_eq!(none(store, id).await, Wait::Ramp);
    store.finish(&third, &result(Class::AlreadyCompact, 0)).await.unwrap();
    for _ in 0..7 {
        take(store, id).await;
    }
}

pub(crate) async fn budget_stops(store: &impl Store, _: &TestClock) {
    let limits = Limits { failure_budget: Share::Percent(20), ..loose() };
    let id = store.apply(&campaign(10, limits)).await.unwrap();
    turn(store, id, Class::Failed).await;
    turn(store, id, Class::Away).await;
    assert_eq!(state(store, id).await.0, CampaignState::Active, "away is no failure");
    let running = take(store, id).await;
    turn(store, id, Class::Failed).await;
    let (stopped, why) = state(store, id).await;
    assert_eq!(stopped, CampaignState::Stopped);
    assert_eq!(why, "2 of 10 VMs have failed; the budget is 2");
    assert_eq!(none(store, id).await, Wait::Campaign);
    let stage = (running.run, running.fence, String::new());
    let answer = store.heartbeat(&worker(), None, &[stage]).await.unwrap();
    assert_eq!(answer[0].1, Instruction::Keep, "what runs goes on");
}

pub(crate) async fn strict_holds_back(store: &impl Store, _: &TestClock) {
    let limits = Limits { failure_budget: Share::Count(2), strict: true, ..loose() };
    let id = store.apply(&campaign(5, limits)).await.unwrap();
    let first = take(store, id).await;
    let second = take(store, id).await;
    assert_eq!(none(store, id).await, Wait::Budget, "both might fail");
    store.finish(&first, &result(Class::Failed, 0)).await.unwrap();
    assert_eq!(none(store, id).await, Wait::Budget);
    store.finish(&second, &result(Class::Reclaimed, 0)).await.unwrap();
    turn(store, id, Class::Failed).await;
    assert_eq!(state(store, id).await.0, CampaignState::Stopped, "at the budget, never beyond it");
}

pub(crate) async fn streak_stops(store: &impl Store, _: &TestClock) {
    let limits = Limits { cut_in_a_row: 3, ..loose() };
    let id = store.apply(&campaign(12, limits)).await.unwrap();
    for class in [
        Class::Cut,
        Class::Cut,
        Class::Reclaimed,
        Class::Held,
        Class::AlreadyCompact,
        Class::Cut,
        Class::Away,
    ] {
        turn(store, id, class).await;
        assert_eq!(state(store, id).await.0, CampaignState::Active, "{class:?}");
    }
    let claimed = take(store, id).await;
    let cut = RunResult { layer: Some(Layer::Drive), ..result(Class::Cut, 0) };
    store.finish(&claimed, &cut).await.unwrap();
    let (stopped, why) = state(store, id).await;
    assert_eq!(stopped, CampaignState::Stopped);
    assert_eq!(why, "3 runs in a row were cut or held at drive: something is wired wrong");
}

pub(crate) async fn harm_stops_and_cancels(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(4, loose())).await.unwrap();
    let running = take(store, id).await;
    let harmed = take(store, id).await;
    let harm = RunResult { text: Some("it stopped on an I/O error".into()), ..result(Class::Harmed, 0) };
    store.finish(&harmed, &harm).await.unwrap();
    let (stopped, why) = state(store, id).await;
    assert_eq!((stopped, why.as_str()), (CampaignState::Stopped, "harm: vm1: it stopped on an I/O error"));
    let stage = (running.run, running.fence, String::new());
    let answer = store.heartbeat(&worker(), None, &[stage]).await.unwrap();
    assert_eq!(answer[0].1, Instruction::Cancel);
    store.later(&running, &later(Wait::Campaign, 0)).await.unwrap();
    assert_eq!(none(store, id).await, Wait::Campaign);
    store.order(id, &Order::Resume, "ops@h").await.unwrap();
    let again = take(store, id).await;
    let stage = (again.run, again.fence, String::new());
    assert_eq!(store.heartbeat(&worker(), None, &[stage]).await.unwrap()[0].1, Instruction::Keep);
}

pub(crate) async fn a_stop_is_counted_anew(store: &impl Store, _: &TestClock) {
    let limits = Limits { failure_budget: Share::Count(2), cut_in_a_row: 2, ..loose() };
    let id = store.apply(&campaign(12, limits)).await.unwrap();
    for class in [Class::Failed, Class::Cut] {
        turn(store, id, class).await;
        // A pause is no look at what went wrong.
        store.order(id, &Order::Pause, "ops@h").await.unwrap();
        store.order(id, &Order::Resume, "ops@h").await.unwrap();
    }
    turn(store, id, Class::Cut).await;
    assert_eq!(state(store, id).await.0, CampaignState::Stopped, "two cut in a row, across a pause");
    store.order(id, &Order::Resume, "ops@h").await.unwrap();
    assert_eq!(state(store, id).await, (CampaignState::Active, String::new()));
    turn(store, id, Class::Failed).await;
    turn(store, id, Class::Cut).await;
    assert_eq!(state(store, id).await.0, CampaignState::Active, "one failure and one cut since");
    turn(store, id, Class::Failed).await;
    assert_eq!(state(store, id).await.0, CampaignState::Stopped);
}

/// The streak goes by the order of ends, also when the clock goes back.
pub(crate) async fn ends_in_time_do_not_matter(store: &impl Store, clock: &TestClock) {
    let id = store.apply(&campaign(5, Limits { cut_in_a_row: 2, ..loose() })).await.unwrap();
    turn(store, id, Class::Cut).await;
    clock.back(Duration::from_secs(3600));
    turn(store, id, Class::Reclaimed).await;
    turn(store, id, Class::Cut).await;
    assert_eq!(state(store, id).await.0, CampaignState::Active);
    clock.back(Duration::from_secs(3600));
    turn(store, id, Class::Held).await;
    assert_eq!(state(store, id).await.0, CampaignState::Stopped);
}
