//! Workers that are killed, stopped for longer than their lease, doubled, or an hour ahead.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
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
