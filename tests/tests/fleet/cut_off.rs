//! The network between worker and database swallows what is sent: nothing breaks, and nothing is answered.

use trimtab_controller::campaign::{
    account::CampaignState,
    store::{Order, Store},
};

use crate::rig::Fleet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_trims_end_before_their_lease_and_the_campaign_goes_on() {
    let fleet = Fleet::of_patient(9).await;
    let _worker = fleet.worker("a");
    for _ in 0..2 {
        fleet.until(|status| status.running.len() > 2).await;
        fleet.way.cut();
        // The store takes a run back with the next change that anybody makes.
        let expired = async {
            let runs = |status: &trimtab_controller::campaign::account::Status| status.summary.running;
            while runs(&fleet.until(|_| true).await) > 0 {
                fleet.store.order(fleet.campaign, &Order::Resume, "test").await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        expired.await;
        assert_eq!(
            fleet.host.trimming(),
            0,
            "it is another one's now, and a guest trims\n{}",
            fleet.said("a")
        );
        fleet.way.mend();
    }
    let said = fleet.said("a");
    assert!(said.contains("): the store has not answered for most of their lease"), "{said}");
    fleet.check().await;
    let said = fleet.said("a");
    let once =
        said.lines().filter(|line| line.starts_with("postgres://") && line.contains("no answer within"));
    assert!(once.count() <= 2, "said once each time:\n{said}");
    assert!(said.contains("the store answers again"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_meanwhile_ends_when_nothing_trims_any_more() {
    let fleet = Fleet::of_patient(16).await;
    let worker = fleet.worker("a");
    fleet.until(|status| status.running.len() > 1 && Fleet::done(status) > 0).await;
    fleet.way.cut();
    let running = usize::try_from(fleet.until(|_| true).await.summary.running).unwrap();
    let mut command = fleet.host.command(&["campaign", "abort"]).unwrap();
    command.env("TRIMTAB_STORE", fleet.postgres.url("trimtab"));
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stdout).contains(": aborted, "), "{ended:?}");
    assert_eq!(fleet.host.trimming(), 0, "aborted, and a guest trims");
    let aborted = fleet.until(|status| status.summary.state == CampaignState::Aborted).await.summary;
    fleet.way.mend();
    // What it had done until then comes too late for the sums, and is in the history.
    let told = || fleet.said("a").matches("nothing is counted").count();
    fleet.until_so("it tells what it had", || told() >= running).await;
    let events = fleet.store.events(fleet.campaign).await.unwrap();
    assert!(running == 0 || events.iter().any(|event| event.what == "fenced"), "{events:#?}");
    assert_eq!(fleet.until(|_| true).await.summary, aborted, "nothing is counted afterwards");
    assert_eq!(worker.leave().unwrap(), 0, "{}", fleet.said("a"));
}
