//! Workers that are killed, stopped for longer than their lease, doubled, or an hour ahead.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use nix::sys::signal::Signal;
use trimtab_controller::campaign::store::{NewCampaign, Order, Store};
use trimtab_tests::{
    faketime::{Clock, WithClock},
    sim::fleet::Dice,
};

use crate::rig::{Fleet, LEASE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment() {
    let fleet = Fleet::of(16).await;
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    for _ in 0..5 {
        let worker = fleet.worker("a");
        // It stands for its host when the one before is forgotten.
        fleet.until(|status| !status.running.is_empty() || status.summary.waiting == 0).await;
        tokio::time::sleep(Duration::from_millis(dice.roll(2500))).await;
        drop(worker);
    }
    let _worker = fleet.worker("a");
    fleet.check().await;
    assert!(fleet.said("a").contains("another worker stands for this host"), "{}", fleet.said("a"));
}

/// Another one takes its place meanwhile, as where two machines have one machine id: a lock file keeps nobody away there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_for_longer_than_its_lease() {
    let fleet = Fleet::of(20).await;
    let (mut stopped, mut other) = (("a", fleet.worker("a")), ("b", fleet.worker("b")));
    fleet.until_so("one of them begins", || fleet.host.trimming() > 2).await;
    if fleet.said("b").contains("begins") {
        (stopped, other) = (other, stopped);
    }
    let mut dice = Dice::new(std::process::id().into());
    for _ in 0..3 {
        let begun = |place: &str| fleet.said(place).matches(": begins").count();
        let (mine, before) = (begun(stopped.0), begun(other.0));
        let goes = || begun(stopped.0) > mine || fleet.host.trimming() > 0;
        fleet.until_so("it is at it", goes).await;
        tokio::time::sleep(Duration::from_millis(dice.roll(1000))).await;
        stopped.1.signal(Signal::SIGSTOP).unwrap();
        let all_over = |status: &trimtab_controller::campaign::account::Status| status.summary.waiting == 0;
        if fleet.until(|status| all_over(status) || begun(other.0) > before).await.summary.waiting == 0 {
            stopped.1.signal(Signal::SIGCONT).unwrap();
            break;
        }
        stopped.1.signal(Signal::SIGCONT).unwrap();
        let refused = "another worker stands for this host";
        fleet.until_so("it is told", || fleet.said(stopped.0).contains(refused)).await;
        (stopped, other) = (other, stopped);
    }
    fleet.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_worker_of_a_host() {
    let fleet = Fleet::of(8).await;
    let first = fleet.worker("a");
    fleet.until(|status| status.running.len() > 2).await;
    let mut same = fleet.worker("a");
    assert_eq!(same.end().unwrap(), 75, "{}", fleet.said("a"));
    // Where the lock does not reach it waits, says so once, and takes over when the first one has ended in order.
    let second = fleet.worker("b");
    let waits = "nothing is begun now: another worker stands for this host";
    fleet.until_so("it says so", || fleet.said("b").contains(waits)).await;
    tokio::time::sleep(LEASE).await;
    assert!(!fleet.said("b").contains(": begins"), "{}", fleet.said("b"));
    assert_eq!(fleet.said("b").matches(waits).count(), 1, "{}", fleet.said("b"));
    assert_eq!(first.leave().unwrap(), 0, "{}", fleet.said("a"));
    fleet.check().await;
    assert_eq!(second.leave().unwrap(), 0, "{}", fleet.said("b"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_clock_is_an_hour_ahead() {
    let mut fleet = Fleet::of(6).await;
    fleet.store.order(fleet.campaign, &Order::Abort, "test").await.unwrap();
    // Open for half an hour more by the database's clock; by the worker's it is over.
    let now = Timestamp::now();
    let campaign = fleet.host.campaign();
    let windows = vec![(now - 1.hour(), now + 30.minutes())];
    fleet.campaign = fleet.store.apply(&NewCampaign { windows, ..campaign }).await.unwrap();
    let command = fleet.command(&["worker"], "a");
    let _worker = WithClock::start(command, Clock::Off("+3600"), &fleet.log("a")).unwrap();
    fleet.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_is_not_made_yet_is_waited_for() {
    let fleet = Fleet::of(4).await;
    let role = fleet.postgres.query("SELECT role FROM trimtab.host_role").unwrap();
    fleet.postgres.query(&format!("ALTER ROLE \"{role}\" NOLOGIN")).unwrap();
    let _worker = fleet.worker("a");
    let refused = "is not permitted to log in";
    fleet.until_so("it says so", || fleet.said("a").contains(refused)).await;
    tokio::time::sleep(LEASE).await;
    assert_eq!(fleet.said("a").matches(refused).count(), 1, "{}", fleet.said("a"));
    fleet.postgres.query(&format!("ALTER ROLE \"{role}\" LOGIN")).unwrap();
    fleet.check().await;
}
