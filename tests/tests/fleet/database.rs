//! The database is brought up to date, and put back to an earlier state.

use crate::rig::Fleet;
use trimtab_controller::campaign::store::Store;

/// The worker is of the version before. What it trims ends before its lease, and it goes on when it is the store's again, as
/// one that was updated does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brought_up_to_date_while_a_worker_trims() {
    let fleet = Fleet::of(9).await;
    let worker = fleet.worker("a");
    let is_of = |version: &str| {
        fleet.postgres.query(&format!("UPDATE trimtab.store SET version = {version}")).unwrap()
    };
    fleet.until(|status| status.running.len() > 2).await;
    is_of("version + 1");
    let refused =
        || fleet.said("a").contains("the store is of version 2 now, and this trimtab knows version 1");
    fleet.until_so("it is refused", refused).await;
    fleet.until_so("its trims end", || fleet.host.trimming() == 0).await;
    let done = Fleet::done(&fleet.until(|_| true).await);
    drop(worker);
    // One that is started now is told the same, and waits.
    let waiting = fleet.worker("b");
    fleet.until_so("it says so", || fleet.said("b").contains("made by a newer trimtab (version 2")).await;
    assert_eq!(Fleet::done(&fleet.until(|_| true).await), done, "nothing is begun");
    drop(waiting);

    is_of("version - 1");
    let _updated = fleet.worker("c");
    fleet.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn put_back_to_what_it_was_before_the_last_claims_and_ends() {
    let mut fleet = Fleet::of(16).await;
    let _worker = fleet.worker("a");
    fleet.until(|status| Fleet::done(status) > 1).await;
    fleet.postgres.copy().unwrap();
    let before = Fleet::done(&fleet.until(|_| true).await);
    let after = fleet.until(|status| Fleet::done(status) > before + 3 && !status.running.is_empty()).await;
    fleet.postgres.put_back().unwrap();
    let summary = fleet.check().await;
    assert!(summary.freed_bytes > after.summary.freed_bytes);
    let events = fleet.store.events(fleet.campaign).await.unwrap();
    assert!(events.iter().any(|event| event.what == "adopted"), "{events:#?}\n{}", fleet.said("a"));
    assert!(fleet.said("a").contains("was put back to an earlier state"), "{}", fleet.said("a"));
}
