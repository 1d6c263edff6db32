//! The real `trimtab worker`, killed at any moment, over agents that go on: nothing is lost, nothing counted twice.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use trimtab_controller::campaign::{
    account::CampaignState,
    store::{Order, Store, sqlite::SqliteStore},
};
use trimtab_tests::sim::{fleet::Dice, killing::Rig};

const KILLS: u32 = 12;

async fn opened(store: &Path) -> SqliteStore {
    SqliteStore::open(store).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_a_dozen_moments() {
    let rig = Rig::new(16).unwrap();
    let store = opened(&rig.store()).await;
    let id = store.apply(&rig.campaign()).await.unwrap();
    let seed = std::process::id().into();
    println!("seed {seed}");
    rig.kill(&store, id, KILLS, &mut Dice::new(seed), Duration::from_secs(2)).await.unwrap();
    rig.carry_on(&store, id).await.unwrap();
    assert!(rig.said().contains("of a worker before this one"), "no kill met a run:\n{}", rig.said());
    rig.check(&store, id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_puts_back_what_runs_and_a_second_worker_is_told_of_the_first() {
    let rig = Rig::new(6).unwrap();
    let store = opened(&rig.store()).await;
    let id = store.apply(&rig.campaign()).await.unwrap();
    let worker = rig.start().unwrap();
    let began = Instant::now();
    while store.status(id).await.unwrap().running.len() < 4 {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", rig.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut second = rig.start().unwrap();
    assert_eq!(second.end().unwrap(), 75, "{}", rig.said());
    assert!(rig.said().contains(&format!("process {}", worker.id())), "{}", rig.said());
    assert_eq!(worker.leave().unwrap(), 0, "{}", rig.said());
    let status = store.status(id).await.unwrap();
    assert_eq!((status.summary.running, status.summary.state), (0, CampaignState::Active), "{}", rig.said());
    // What was done until then is counted, and the rest is another turn's.
    let aborted = store.order(id, &Order::Abort, "test").await.unwrap();
    assert_eq!(aborted.state, CampaignState::Aborted);
    let lost = rig.lost_bytes().unwrap();
    assert_eq!(aborted.freed_bytes, lost, "{}", rig.said());
}
