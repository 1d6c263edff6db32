//! What is kept, and what is told of it.

use std::time::Duration;

use super::*;
use crate::{
    campaign::{account::CampaignState, run::RunState, store::Order},
    model::trouble::Kind,
};

pub(crate) async fn keeps_what_was_applied(store: &impl Store, _: &TestClock) {
    let mut new = campaign(3, loose());
    new.limits.gates = vec!["ceph".into()];
    new.limits.pace = Some(trimtab_proto::words::Pace::Gentle);
    new.windows = vec![(at(0), at(60)), (at(120), at(180))];
    new.runs[1].datastores = vec!["e".into(), "d".into()];
    new.runs[2].vm.uuid = Some("0f0e".into());
    let id = store.apply(&new).await.unwrap();
    let status = store.status(id).await.unwrap();
    assert_eq!(status.limits, new.limits);
    assert_eq!(status.window, Some((at(0), at(60))));
    assert_eq!(status.summary.state, CampaignState::Active);
    assert_eq!((status.summary.total, status.summary.waiting, status.summary.running), (3, 3, 0));
    assert_eq!(status.summary.expected_bytes, 3000);
    assert_eq!(status.summary.applied, at(0));
    let runs = store.runs(id).await.unwrap();
    assert_eq!(
        runs.iter().map(|run| &run.vm).collect::<Vec<_>>(),
        new.runs.iter().map(|run| &run.vm).collect::<Vec<_>>()
    );
    assert_eq!(runs[1].datastores, ["d", "e"]);
    assert!(runs.iter().all(|run| run.state == RunState::Waiting && run.attempt == 0));
    let names: Vec<_> = status.datastores.iter().map(|sum| (sum.datastore.as_str(), sum.total)).collect();
    assert_eq!(names, [("d", 3), ("e", 1)]);
    assert_eq!(store.list().await.unwrap(), [status.summary]);
}

pub(crate) async fn refuses_nonsense(store: &impl Store, _: &TestClock) {
    type Change = fn(&mut NewCampaign);
    let cases: [(&str, Change); 4] = [
        ("no VM", |new| new.runs.clear()),
        ("a VM twice", |new| new.runs[1].vm = new.runs[0].vm.clone()),
        ("a window that ends before it begins", |new| new.windows = vec![(at(60), at(0))]),
        ("no datastore's name", |new| new.runs[0].datastores = vec!["a\nb".into()]),
    ];
    for (name, change) in cases {
        let mut new = campaign(2, loose());
        change(&mut new);
        assert_eq!(store.apply(&new).await.unwrap_err().kind, Kind::Usage, "{name}");
    }
    assert!(store.list().await.unwrap().is_empty(), "all of it or nothing");
    assert!(store.vms().await.unwrap().is_empty());
}

pub(crate) async fn sums_and_history(store: &impl Store, clock: &TestClock) {
    let id = store.apply(&campaign(3, loose())).await.unwrap();
    let first = take(store, id).await;
    clock.forward(Duration::from_secs(5));
    store.finish(&first, &result(Class::Reclaimed, 700)).await.unwrap();
    turn(store, id, Class::Away).await;
    let status = store.status(id).await.unwrap();
    assert_eq!(
        status.summary.done.iter().map(|(class, n)| (*class, *n)).collect::<Vec<_>>(),
        [(Class::Reclaimed, 1), (Class::Away, 1)]
    );
    assert_eq!((status.summary.freed_bytes, status.summary.held_bytes, status.summary.waiting), (700, 2, 1));
    assert_eq!((status.datastores[0].freed_bytes, status.datastores[0].done), (700, 2));
    let run = store.runs(id).await.unwrap().remove(0);
    assert_eq!((run.claimed, run.ended, run.attempt, run.freed_bytes), (Some(at(0)), Some(at(5)), 1, 700));
    assert_eq!(run.result, Some(result(Class::Reclaimed, 700)));
    let events = store.events(id).await.unwrap();
    let words: Vec<_> = events.iter().map(|event| (event.what.as_str(), event.vm.as_deref())).collect();
    assert_eq!(
        words,
        [
            ("applied", None),
            ("claimed", Some("vm0")),
            ("counted", Some("vm0")),
            ("claimed", Some("vm1")),
            ("counted", Some("vm1")),
        ]
    );
    assert_eq!((events[0].who.as_str(), events[1].who.as_str()), ("ops@h", "w1"));
    assert_eq!(events[2].at, at(5));
}

pub(crate) async fn vms_outlive_campaigns(store: &impl Store, clock: &TestClock) {
    for (secs, class) in [(0, Class::Failed), (100, Class::Failed), (200, Class::Away)] {
        clock.to(at(secs));
        let id = store.apply(&campaign(1, loose())).await.unwrap();
        turn(store, id, class).await;
    }
    let vm = store.vms().await.unwrap().remove(0);
    assert_eq!((vm.failed_in_a_row, vm.proven, vm.seen), (2, None, at(200)), "away says nothing");
    clock.to(at(300));
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    turn(store, id, Class::Reclaimed).await;
    let vm = store.vms().await.unwrap().remove(0);
    assert_eq!((vm.failed_in_a_row, vm.proven), (0, Some(at(300))));
}

pub(crate) async fn a_uuid_is_one_vm(store: &impl Store, _: &TestClock) {
    let named = |name: &str| {
        let mut new = campaign(1, loose());
        new.runs[0].vm.name = name.into();
        new.runs[0].vm.uuid = Some("0f0e".into());
        new
    };
    let id = store.apply(&named("old")).await.unwrap();
    turn(store, id, Class::Failed).await;
    let waits = store.apply(&named("old")).await.unwrap();
    store.apply(&named("new")).await.unwrap();
    let vms = store.vms().await.unwrap();
    let [vm] = vms.as_slice() else { panic!("{vms:?}") };
    assert_eq!((vm.vm.name.as_str(), vm.failed_in_a_row), ("new", 1), "it keeps its past");
    assert_eq!(take(store, waits).await.vm.name, "new", "a run that waits finds it again");
    let mut twice = named("one");
    twice.runs.push(named("other").runs.remove(0));
    assert_eq!(store.apply(&twice).await.unwrap_err().kind, Kind::Usage);
}

pub(crate) async fn what_waits_for_what(store: &impl Store, clock: &TestClock) {
    let id = store.apply(&campaign(5, Limits { at_once: n(2), ..loose() })).await.unwrap();
    let first = take(store, id).await;
    store.later(&first, &later(Wait::Guard, 60)).await.unwrap();
    let second = take(store, id).await;
    store.later(&second, &later(Wait::Retry, 30)).await.unwrap();
    take(store, id).await;
    let waits: Vec<_> = store.status(id).await.unwrap().waiting.into_iter().collect();
    assert_eq!(waits, [(Wait::Worker, 4)], "none has said that it is there");
    store.heartbeat(&worker(), None, &[]).await.unwrap();
    let status = store.status(id).await.unwrap();
    let waits: Vec<_> = status.waiting.into_iter().collect();
    assert_eq!(waits, [(Wait::Room, 2), (Wait::Guard, 1), (Wait::Retry, 1)]);
    assert_eq!(status.next, None, "two wait for room alone");
    let run = store.runs(id).await.unwrap().remove(1);
    assert_eq!(run.wait, Some((Wait::Retry, at(30), "not now".into())));
    store.order(id, &Order::Pause, "ops@h").await.unwrap();
    let waits: Vec<_> = store.status(id).await.unwrap().waiting.into_iter().collect();
    assert_eq!(waits, [(Wait::Campaign, 4)]);
    store.order(id, &Order::Resume, "ops@h").await.unwrap();
    clock.to(at(61));
    clock.forward(store.lease().unwrap_or_default());
    let status = store.status(id).await.unwrap();
    assert_eq!(status.now, store.now().await.unwrap(), "by the store's clock");
    let waits: Vec<_> = status.waiting.into_iter().collect();
    assert_eq!(waits, [(Wait::Worker, 4)], "it has said nothing for a minute");
}

pub(crate) async fn latest_moves(store: &impl Store, _: &TestClock) {
    let mut last = store.latest().await.unwrap().newest;
    assert_eq!(last, 0);
    let id = store.apply(&campaign(2, loose())).await.unwrap();
    let mut moved = async |what: &str| {
        let now = store.latest().await.unwrap().newest;
        assert!(now > last, "{what}");
        last = now;
    };
    moved("apply").await;
    store.order(id, &Order::Pause, "ops@h").await.unwrap();
    moved("pause").await;
    store.order(id, &Order::Resume, "ops@h").await.unwrap();
    moved("resume").await;
    turn(store, id, Class::Reclaimed).await;
    moved("an end").await;
    store.order(id, &Order::Abort, "ops@h").await.unwrap();
    moved("abort").await;
}

pub(crate) async fn an_unknown_campaign(store: &impl Store, _: &TestClock) {
    assert_eq!(store.status(7).await.unwrap_err().kind, Kind::UnknownCampaign);
    assert_eq!(store.runs(7).await.unwrap_err().kind, Kind::UnknownCampaign);
    assert_eq!(store.events(7).await.unwrap_err().kind, Kind::UnknownCampaign);
    assert_eq!(store.claim(7, &worker()).await.unwrap_err().kind, Kind::UnknownCampaign);
    assert_eq!(store.order(7, &Order::Abort, "me").await.unwrap_err().kind, Kind::UnknownCampaign);
}
