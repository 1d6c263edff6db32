//! The network between worker and database swallows what is sent: nothing breaks, and nothing is answered. Both are in
//! namespaces of their own, and what is swallowed are packets.

use trimtab_controller::campaign::{account::CampaignState, store::Store};
use trimtab_tests::netns::Cut;

use crate::rig::{Fleet, LONG_PAUSE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_trims_end_before_their_lease_and_the_campaign_goes_on() {
    let fleet = Fleet::apart(9).await;
    let _worker = fleet.worker("a");
    for _ in 0..2 {
        fleet.until(|status| status.running.len() > 2).await;
        fleet.host.rest(LONG_PAUSE);
        fleet.until_so("guests trim", || fleet.host.trimming() > 0).await;
        let before = troubles(&fleet);
        assert!(fleet.cut(Cut::Both) > 0);
        fleet.until_expired().await;
        assert!(troubles(&fleet) <= before + 1, "said once:\n{}", fleet.said("a"));
        fleet.mend();
    }
    let said = fleet.said("a");
    assert!(said.contains("): the store has not answered for most of their lease"), "{said}");
    fleet.check().await;
    assert!(
        troubles(&fleet) > 0 && fleet.said("a").contains("the store answers again"),
        "{}",
        fleet.said("a")
    );
}

/// How often it has said that the store does not answer.
fn troubles(fleet: &Fleet) -> usize {
    let said = fleet.said("a");
    said.lines().filter(|line| line.starts_with("postgres://") && line.contains("no answer within")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_meanwhile_ends_when_nothing_trims_any_more() {
    let fleet = Fleet::apart(16).await;
    let worker = fleet.worker("a");
    fleet.until(|status| status.running.len() > 1 && Fleet::done(status) > 0).await;
    fleet.host.rest(LONG_PAUSE);
    fleet.until_so("guests trim", || fleet.host.trimming() > 0).await;
    assert!(fleet.cut(Cut::Both) > 0);
    let running = usize::try_from(fleet.until(|_| true).await.summary.running).unwrap();
    let mut command = fleet.host.command(&["campaign", "abort"]).unwrap();
    command.env("TRIMTAB_STORE", fleet.postgres.url("trimtab"));
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stdout).contains(": aborted, "), "{ended:?}");
    assert_eq!(fleet.host.trimming(), 0, "aborted, and a guest trims");
    let aborted = fleet.until(|status| status.summary.state == CampaignState::Aborted).await.summary;
    fleet.mend();
    // What it had done until then comes too late for the sums, and is in the history.
    let told = || fleet.said("a").matches("nothing is counted").count();
    fleet.until_so("it tells what it had", || told() >= running).await;
    let events = fleet.store.events(fleet.campaign).await.unwrap();
    assert!(running == 0 || events.iter().any(|event| event.what == "fenced"), "{events:#?}");
    assert_eq!(fleet.until(|_| true).await.summary, aborted, "nothing is counted afterwards");
    assert_eq!(worker.leave().unwrap(), 0, "{}", fleet.said("a"));
}
