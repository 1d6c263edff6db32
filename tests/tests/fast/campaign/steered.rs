//! Campaigns that a person, a window, harm or the worker's own end stops on the way.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use trimtab_controller::campaign::{
    account::CampaignState,
    limits::Limits,
    run::{Class, RunState},
    store::{Order, Store},
};
use trimtab_tests::sim::{
    World, check,
    fleet::campaign,
    log::Log,
    play::{NIGHT, Play},
    vm::{Behaviour, SimVm, Spec},
};

use super::nights::limits;

const SECOND: Duration = Duration::from_secs(1);

/// So many VMs on two datastores, each of which trims for so long.
fn world(vms: usize, takes: Duration, odd: &[(usize, Behaviour)]) -> World {
    let log = Arc::new(Log::default());
    let vm = |number: usize| {
        let behaviour = odd.iter().find(|(at, _)| *at == number).map_or(Behaviour::Well, |(_, odd)| *odd);
        let spec = Spec {
            name: format!("vm-{number}"),
            datastores: vec![format!("store-{}", number % 2)],
            garbage_bytes: 7_000_000_001,
            growth_bytes: 0,
            takes,
            latency: Duration::from_millis(20),
            behaviour,
            is_first: false,
        };
        Arc::new(SimVm::new(spec, Arc::clone(&log)))
    };
    World::new((0..vms).map(vm).collect(), log)
}

fn at_once_four() -> Limits {
    Limits { ramp: Vec::new(), ..limits(4, 2) }
}

async fn checked(play: &Play, id: i64) {
    check::caps(&play.world.log.entries(), &at_once_four()).unwrap();
    check::bytes(&play.world, &play.store.runs(id).await.unwrap()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn harm_stops_admission_and_cancels_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(12, Duration::from_secs(200), &[(3, Behaviour::IoError)]);
    let play = Play::new(world, folder.path()).await.unwrap();
    let (id, _) = play.carry(&campaign(&play.world, at_once_four())).await.unwrap();
    let status = play.store.status(id).await.unwrap();
    assert_eq!(status.summary.state, CampaignState::Stopped, "{:?}", status.summary);
    assert_eq!(status.summary.done.get(&Class::Harmed), Some(&1), "{:?}", status.summary);
    assert_eq!((status.summary.running, play.world.log.entries().len()), (0, 4), "nothing more was begun");
    checked(&play, id).await;
}

#[tokio::test(start_paused = true)]
async fn a_vm_whose_images_were_moved_is_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let play = Play::new(world(2, SECOND, &[]), folder.path()).await.unwrap();
    let mut campaign = campaign(&play.world, at_once_four());
    campaign.runs[0].datastores = vec!["another".to_owned()];
    let (id, _) = play.carry(&campaign).await.unwrap();
    let run = play.store.runs(id).await.unwrap().remove(0);
    let result = run.result.unwrap();
    assert_eq!((result.class, run.attempt), (Class::NotRun, 1), "{result:?}");
    assert!(result.text.unwrap().contains("its images lie on store-0 now, and its plan knows another"));
    assert_eq!(play.world.log.entries().len(), 1, "its guest was not called");
}

#[tokio::test(start_paused = true)]
async fn a_windows_end_stops_trims_and_the_next_night_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let play = Play::new(world(4, Duration::from_secs(3000), &[]), folder.path()).await.unwrap();
    let at = |secs: i64| Timestamp::from_microsecond(NIGHT + secs * 1_000_000).unwrap();
    let windows = vec![(at(0), at(2400)), (at(86_400), at(86_400 + 7200))];
    let campaign = trimtab_controller::campaign::store::NewCampaign {
        windows: windows.clone(),
        ..campaign(&play.world, at_once_four())
    };
    let began = tokio::time::Instant::now();
    let (id, took) = play.carry(&campaign).await.unwrap();
    let summary = play.store.status(id).await.unwrap().summary;
    assert_eq!(summary.state, CampaignState::Done, "{summary:?}");
    assert!(took > Duration::from_secs(86_400), "{took:?}");
    let entries = play.world.log.entries();
    assert_eq!(entries.len(), 8, "each had a turn in both nights: {entries:?}");
    for entry in entries {
        let (from, to) = (entry.began - began, entry.ended - began);
        let is_within = |opens: u64, closes: u64| {
            from >= Duration::from_secs(opens) && to <= Duration::from_secs(closes) + 5 * SECOND
        };
        assert!(is_within(0, 2400) || is_within(86_400, 93_600), "{from:?} to {to:?}");
    }
    checked(&play, id).await;
}

#[tokio::test(start_paused = true)]
async fn aborted_is_said_when_nothing_runs_any_more() {
    for first in [None, Some(Order::Pause)] {
        let folder = tempfile::tempdir().unwrap();
        let play = Play::new(world(9, Duration::from_secs(100), &[]), folder.path()).await.unwrap();
        let id = play.store.apply(&campaign(&play.world, at_once_four())).await.unwrap();
        let (worker, leave) = play.start();
        tokio::time::sleep(30 * SECOND).await;
        if let Some(order) = &first {
            play.store.order(id, order, "test").await.unwrap();
            tokio::time::sleep(2 * SECOND).await;
        }
        let ordered = play.store.order(id, &Order::Abort, "test").await.unwrap();
        assert_eq!((ordered.state, ordered.running), (CampaignState::Aborting, 4));
        play.until(id, &[CampaignState::Aborted]).await.unwrap();
        assert_eq!(play.world.log.entries().len(), 4, "what ran has ended by then, and nothing was begun");
        let runs = play.store.runs(id).await.unwrap();
        assert!(runs.iter().all(|run| run.state == RunState::Done), "{runs:?}");
        assert!(play.world.freed_bytes() > 0, "what was done until then counts");
        checked(&play, id).await;
        leave.send_replace(true);
        worker.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_lets_what_runs_go_on_and_a_resume_begins_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let play = Play::new(world(9, Duration::from_secs(100), &[]), folder.path()).await.unwrap();
    let id = play.store.apply(&campaign(&play.world, at_once_four())).await.unwrap();
    let (worker, leave) = play.start();
    tokio::time::sleep(30 * SECOND).await;
    play.store.order(id, &Order::Pause, "test").await.unwrap();
    tokio::time::sleep(1000 * SECOND).await;
    assert_eq!(play.world.log.entries().len(), 4);
    play.store.order(id, &Order::Resume, "test").await.unwrap();
    play.until(id, &[CampaignState::Done]).await.unwrap();
    assert_eq!(play.world.log.entries().len(), 9, "each was trimmed once");
    checked(&play, id).await;
    leave.send_replace(true);
    worker.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_leaves_puts_back_what_runs_and_one_that_dies_leaves_what_the_next_needs() {
    let folder = tempfile::tempdir().unwrap();
    let play = Play::new(world(9, Duration::from_secs(100), &[]), folder.path()).await.unwrap();
    let id = play.store.apply(&campaign(&play.world, at_once_four())).await.unwrap();
    let (worker, leave) = play.start();
    tokio::time::sleep(30 * SECOND).await;
    leave.send_replace(true);
    worker.await.unwrap();
    assert_eq!(play.store.status(id).await.unwrap().summary.running, 0);
    let counted = play.store.status(id).await.unwrap().summary.freed_bytes;
    assert_eq!(counted, play.world.freed_bytes(), "what was done until then is counted already");
    let (worker, _leave) = play.start();
    tokio::time::sleep(30 * SECOND).await;
    worker.abort();
    assert!(worker.await.unwrap_err().is_cancelled());
    assert_eq!(play.store.status(id).await.unwrap().summary.running, 4, "orphans");
    let (worker, leave) = play.start();
    play.until(id, &[CampaignState::Done]).await.unwrap();
    assert!(play.ear.words().iter().any(|word| word == "Recovered(4)"), "{:?}", play.ear.words());
    checked(&play, id).await;
    leave.send_replace(true);
    worker.await.unwrap();
}
