//! The real `trimtab worker` when its process is stopped for a while, or when the clock is set while it works: nothing is
//! lost, nothing counted twice, caps are kept, and it costs no VM an attempt.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use nix::sys::signal::Signal;
use trimtab_controller::campaign::{
    account::{CampaignState, Status},
    store::{NewCampaign, Store, sqlite::SqliteStore},
};
use trimtab_tests::{
    faketime::{Clock, WithClock},
    sim::killing::Rig,
};

/// Ten pieces of a trim take two seconds.
const PAUSE: Duration = Duration::from_millis(200);
/// Longer than an agent waits for its caller.
const STOPPED: Duration = Duration::from_secs(7);

fn is_over(status: &Status) -> bool {
    status.summary.state == CampaignState::Done
}

/// The account holds, caps were kept, and each VM had one attempt.
async fn check(rig: &Rig, store: &SqliteStore, id: i64) {
    rig.check(store, id).await.unwrap();
    rig.check_caps().unwrap();
    let runs = store.runs(id).await.unwrap();
    assert!(runs.iter().all(|run| run.attempt == 1), "{runs:#?}\n{}", rig.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_stopped_in_the_middle_goes_on() {
    let rig = Rig::attentive(8, 4 * PAUSE, Duration::from_secs(3)).unwrap();
    let store = SqliteStore::open(&rig.store()).await.unwrap();
    let id = store.apply(&rig.campaign()).await.unwrap();
    let worker = rig.start().unwrap();
    for _ in 0..2 {
        rig.until(&store, id, |status| status.running.len() == 4).await.unwrap();
        worker.signal(Signal::SIGSTOP).unwrap();
        tokio::time::sleep(STOPPED).await;
        // It is there, and nobody else takes its place.
        assert_eq!(rig.start().unwrap().end().unwrap(), 75, "{}", rig.said());
        worker.signal(Signal::SIGCONT).unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    rig.until(&store, id, is_over).await.unwrap();
    assert!(rig.said().contains("later: the worker was held up for a while"), "{}", rig.said());
    check(&rig, &store, id).await;
}

/// Open for another forty minutes, and again in two hours.
fn windows(campaign: NewCampaign) -> NewCampaign {
    let now = Timestamp::now();
    let windows = vec![(now - 3.hours(), now + 40.minutes()), (now + 2.hours(), now + 3.hours())];
    NewCampaign { windows, ..campaign }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_an_hour_and_back() {
    let rig = Rig::with_pause(16, PAUSE).unwrap();
    let clock = rig.path("clock");
    let set = |offset: &str| {
        let new = rig.path("clock.new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(&new, &clock).unwrap();
    };
    set("+0");
    let store = SqliteStore::open(&rig.store()).await.unwrap();
    let id = store.apply(&windows(rig.campaign())).await.unwrap();
    let command = rig.command(&["worker"]).unwrap();
    let _worker = WithClock::start(command, Clock::In(&clock), &rig.log()).unwrap();
    rig.until(&store, id, |status| status.running.len() == 4).await.unwrap();

    // Its window is past: what runs comes to its end, and nothing else is begun.
    set("+3600");
    let closed = rig.until(&store, id, |status| status.summary.running == 0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let later = store.status(id).await.unwrap();
    assert!(closed.summary.waiting > 4, "{closed:?}\n{}", rig.said());
    assert_eq!(later.summary, closed.summary, "{}", rig.said());

    // It is open again, and what a clock said is not waited for.
    set("+0");
    rig.until(&store, id, |status| status.running.len() == 4).await.unwrap();
    set("-3600");
    rig.until(&store, id, is_over).await.unwrap();
    check(&rig, &store, id).await;
    let events = store.events(id).await.unwrap();
    let back = events.windows(2).filter(|pair| pair[1].at < pair[0].at - 50.minutes()).count();
    assert_eq!(back, 2, "the clock went back twice: {events:#?}");
}
