//! Each fault at each step: a worker killed, or stopped for longer than its lease; the database crashed, or put back to an
//! earlier state; the network cut, both ways or one. Of each case the account is held against what the guests saw and their
//! images lost.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex},
    time::Instant,
};

use nix::sys::signal::Signal;
use tokio::task::{JoinSet, block_in_place};
use trimtab_tests::{
    campaigns::WorkerProcess,
    netns::{Cut, Net},
    postgres::Postgres,
};

use crate::{
    rig::{Fleet, LEASE_OF_A_NET, LONG_PAUSE, PAUSE},
    steps::{Does, Halt, STEPS, Step},
};

/// Cases at a time: they wait most of theirs.
const LANES: usize = 6;
/// Four at once, and some that wait.
const VMS: u32 = 6;
const REFUSED: &str = "another worker stands for this host";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_is_killed_at_each_step() {
    at_each(&STEPS, no_net, |fleet, step| async move {
        let (worker, halt) = step.reached(&fleet).await;
        drop(worker);
        let _next = another_takes_over(&fleet, step.late(halt)).await;
        fleet.check().await;
        fleet
    })
    .await;
}

/// As where two machines have one machine id: a lock file keeps nobody away there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_is_stopped_for_longer_than_its_lease_at_each_step() {
    at_each(&STEPS, no_net, |fleet, step| async move {
        let (worker, halt) = step.reached(&fleet).await;
        worker.signal(Signal::SIGSTOP).unwrap();
        let _next = another_takes_over(&fleet, step.late(halt)).await;
        worker.signal(Signal::SIGCONT).unwrap();
        fleet.check().await;
        if step.ends() {
            assert_eq!(worker.leave().unwrap(), 0, "{}", fleet.said("a"));
        } else {
            fleet.until_so("it is told", || fleet.said("a").contains(REFUSED)).await;
        }
        fleet
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_database_crashes_at_each_step() {
    at_each(&STEPS, no_net, |mut fleet, step| async move {
        let (_worker, halt) = step.reached(&fleet).await;
        block_in_place(|| fleet.postgres.crash()).unwrap();
        drop(halt);
        let _next = step.ends().then(|| fleet.worker("b"));
        fleet.check().await;
        fleet
    })
    .await;
}

/// As in a failover to a server that was far behind: it knows the campaign, and nothing that has become of it since. A worker
/// that has gone tells nobody again, so those that end are left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_database_is_put_back_at_each_step() {
    let steps: Vec<Step> = STEPS.into_iter().filter(|step| !step.ends()).collect();
    at_each(&steps, no_net, |mut fleet, step| async move {
        block_in_place(|| fleet.postgres.copy()).unwrap();
        let (_worker, halt) = step.reached(&fleet).await;
        block_in_place(|| fleet.postgres.put_back()).unwrap();
        // An answer that was on its way arrives, and nobody else knows of it.
        drop(halt);
        fleet.check().await;
        fleet
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_network_is_cut_at_each_step() {
    at_each(&STEPS, a_net, |fleet, step| cut_off(fleet, step, Cut::Both)).await;
}

/// The store gets all that the worker says, and the worker hears nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_are_lost_from_the_midst_of_a_call_on() {
    let steps: Vec<Step> = STEPS.into_iter().filter(|step| matches!(step.0, Does::IsHeard(_))).collect();
    at_each(&steps, a_net, |fleet, step| cut_off(fleet, step, Cut::Answers)).await;
}

async fn cut_off(fleet: Fleet, step: Step, cut: Cut) -> Fleet {
    let (_worker, halt) = step.reached(&fleet).await;
    let trimming = fleet.cut(cut);
    assert!(trimming > 0 || !step.is_in_a_trim(), "{step}");
    let late = step.late(halt);
    tokio::time::sleep(LEASE_OF_A_NET).await;
    fleet.until_expired().await;
    drop(late);
    fleet.mend();
    let _next = step.ends().then(|| fleet.worker("b"));
    fleet.check().await;
    fleet
}

/// Another worker begins with what is left; what the first one has said arrives after that. No trim comes to its end by itself
/// meanwhile.
async fn another_takes_over(fleet: &Fleet, late: Option<Halt>) -> WorkerProcess {
    fleet.host.rest(LONG_PAUSE);
    let next = fleet.worker("b");
    fleet.until_so("another one takes over", || fleet.said("b").contains(": begins")).await;
    fleet.host.rest(PAUSE);
    drop(late);
    next
}

fn no_net() -> Option<Net> {
    None
}

fn a_net() -> Option<Net> {
    Some(Net::new().unwrap())
}

/// Tries this at each of these steps, in a fleet of its own; several share a server one after the other.
async fn at_each<F: Future<Output = Fleet> + Send + 'static>(
    steps: &[Step],
    net: fn() -> Option<Net>,
    fault: impl Fn(Fleet, Step) -> F + Copy + Send + Sync + 'static,
) {
    let left: Arc<Mutex<VecDeque<Step>>> = Arc::new(Mutex::new(steps.iter().copied().collect()));
    let mut lanes = JoinSet::new();
    for _ in 0..LANES.min(steps.len()) {
        let left = Arc::clone(&left);
        lanes.spawn(async move {
            let (mut server, mut failed) = (None, Vec::new());
            loop {
                let Some(step) = left.lock().unwrap().pop_front() else { return failed };
                let began = Instant::now();
                let tried = tokio::spawn(async move {
                    let server = server.unwrap_or_else(|| block_in_place(Postgres::start).unwrap());
                    let fleet = Fleet::held_up(VMS, server, net()).await;
                    fault(fleet, step).await.end().await
                });
                server = tried.await.ok();
                println!("{step}: {:.1} s", began.elapsed().as_secs_f64());
                if server.is_none() {
                    failed.push(step.to_string());
                }
            }
        });
    }
    let failed: Vec<String> = lanes.join_all().await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{}", failed.join("; "));
}
