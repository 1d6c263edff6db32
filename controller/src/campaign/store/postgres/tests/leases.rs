//! Who is silent loses his runs; by the database's clock, and by the fence.

use super::*;
use crate::campaign::{
    limits::Limits,
    run::{Class, Did, Wait},
    store::conformance::{campaign, later, loose, n, result, take, worker},
};

const LEASE: Duration = Duration::from_secs(60);

/// A store with leases as they are, under the test's clock.
async fn store(clock: &TestClock) -> PgStore {
    store_with(clock, Terms { lease: LEASE }, &[]).await
}

fn stage(claimed: &Claimed) -> (i64, u64, String) {
    (claimed.run, claimed.fence, "trimming".into())
}

fn other() -> Claimant {
    Claimant { host: "h".into(), worker: "w2".into() }
}

#[tokio::test]
async fn a_silent_worker_loses_its_run_and_its_word() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    assert_eq!(store.lease(), Some(LEASE));
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    let first = take(&store, id).await;
    store.baseline(&first, &Baseline::default()).await.unwrap();
    clock.forward(LEASE);
    let kept = store.heartbeat(&worker(), None, &[stage(&first)]).await.unwrap();
    assert_eq!(kept, [(first.run, Instruction::Keep)], "as long as the lease is");
    clock.forward(LEASE);
    let refused = store.claim(id, &other()).await.unwrap_err();
    assert_eq!(refused.kind, crate::model::trouble::Kind::Busy, "a heartbeat renews it: {refused}");
    clock.forward(Duration::from_secs(1));
    let Claim::Run(second) = store.claim(id, &other()).await.unwrap() else { panic!("it waits again") };
    assert!(second.fence > first.fence && second.agent_run_id == first.agent_run_id);
    assert_eq!(second.baseline, Some(Baseline::default()), "its result is fetched, by its old baseline");
    let gone = store.heartbeat(&worker(), None, &[stage(&first)]).await.unwrap();
    assert_eq!(gone, [(first.run, Instruction::Gone)]);
    let late = store.finish(&first, &result(Class::Reclaimed, 500)).await.unwrap();
    assert_eq!(late, Counted::Fenced);
    let part = crate::campaign::run::Later { did: Did::Nothing, ..later(Wait::Window, 0) };
    assert_eq!(store.later(&first, &part).await.unwrap(), Counted::Fenced);
    assert_eq!(store.finish(&second, &result(Class::Reclaimed, 7)).await.unwrap(), Counted::Counted);
    assert_eq!(store.status(id).await.unwrap().summary.freed_bytes, 7);
    let what: Vec<String> = store.events(id).await.unwrap().into_iter().map(|event| event.what).collect();
    assert_eq!(what, ["applied", "claimed", "expired", "claimed", "fenced", "fenced", "counted", "done"]);
}

#[tokio::test]
async fn a_store_that_was_brought_up_to_date_meanwhile_refuses_who_does_not_know_it() {
    let url = server::database().await;
    init(&url, Terms { lease: LEASE }).await.unwrap();
    let mut operator = PgConnection::connect(&url).await.unwrap();
    let store = PgStore::open(&url).await.unwrap();
    let id = store.apply(&campaign(2, loose())).await.unwrap();
    let claimed = take(&store, id).await;
    let mut is_of = async |version: i64| {
        let update = "UPDATE trimtab.store SET version = $1";
        sqlx::query(update).bind(version).execute(&mut operator).await.unwrap();
    };

    is_of(7).await;
    let refused = store.finish(&claimed, &result(Class::Reclaimed, 5)).await.unwrap_err();
    assert_eq!(refused.kind, crate::model::trouble::Kind::Store);
    assert!(refused.text.contains("the store is of version 7 now"), "{refused}");
    assert!(store.heartbeat(&worker(), None, &[stage(&claimed)]).await.is_err());
    assert!(store.claim(id, &worker()).await.is_err());
    assert!(store.order(id, &Order::Abort, "me").await.is_err());
    let unopened = PgStore::open(&url).await.err().unwrap();
    assert!(unopened.text.contains("made by a newer trimtab"), "{unopened}");

    is_of(1).await;
    assert_eq!(store.finish(&claimed, &result(Class::Reclaimed, 5)).await.unwrap(), Counted::Counted);
    assert_eq!(store.status(id).await.unwrap().summary.freed_bytes, 5, "and nothing of before was kept");
}

#[tokio::test]
async fn one_worker_stands_for_a_host() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    let id = store.apply(&campaign(2, loose())).await.unwrap();
    store.recover(&worker()).await.unwrap();
    let running = take(&store, id).await;
    let refused = store.recover(&other()).await.unwrap_err();
    assert_eq!(refused.kind, crate::model::trouble::Kind::Busy);
    assert!(refused.text.contains("(w1)"), "{refused}");
    let kept = store.heartbeat(&worker(), None, &[stage(&running)]).await.unwrap();
    assert_eq!(kept, [(running.run, Instruction::Keep)], "nothing was taken from it");
    store.leave(&worker()).await.unwrap();
    assert_eq!(store.recover(&other()).await.unwrap(), 1, "it ended in order: its run waits again at once");
    clock.forward(LEASE);
    assert!(store.recover(&worker()).await.is_err(), "the other one is within its lease");
    clock.forward(Duration::from_secs(1));
    assert_eq!(store.recover(&worker()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_answered_again() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    let id = store.apply(&campaign(3, loose())).await.unwrap();
    let mut connection = store.ways.take().await.unwrap();
    let mut claim = async |mark: &str| match work::claim(&mut connection, id, &worker(), mark).await.unwrap()
    {
        Claim::Run(claimed) => (claimed.run, claimed.fence),
        other => panic!("{other:?}"),
    };
    let first = claim("a").await;
    assert_eq!(claim("a").await, first);
    assert_ne!(claim("b").await, first);
    assert_eq!(store.status(id).await.unwrap().summary.running, 2);
}

#[tokio::test]
async fn who_was_taken_for_gone_is_refused_while_another_one_stands() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    let id = store.apply(&campaign(2, loose())).await.unwrap();
    store.recover(&worker()).await.unwrap();
    clock.forward(LEASE * 2);
    store.recover(&other()).await.unwrap();
    let busy = |trouble: Trouble| assert_eq!(trouble.kind, crate::model::trouble::Kind::Busy, "{trouble}");
    busy(store.heartbeat(&worker(), None, &[]).await.unwrap_err());
    busy(store.claim(id, &worker()).await.unwrap_err());
    clock.forward(LEASE * 2);
    store.heartbeat(&worker(), None, &[]).await.unwrap();
    busy(store.claim(id, &other()).await.unwrap_err());
}

/// Has the database forget all that came after it was copied: a failover that lost the last commits.
async fn put_back(store: &PgStore, keep: &str) {
    let db = &mut *store.ways.take().await.unwrap();
    for table in ["run", "event", "host"] {
        let statements = match keep {
            "copy" => format!("CREATE TABLE old_{table} AS TABLE {table}"),
            // Its generated column is not in the way of the others.
            _ if table == "run" => "UPDATE run r SET state = o.state, admitted = o.admitted, fence = o.fence, \
                settled = o.settled, agent_run = o.agent_run, baseline = o.baseline, worker = o.worker, lease = o.lease, \
                class = o.class, result = o.result, freed = o.freed, ended = o.ended, end_event = o.end_event \
                FROM old_run o WHERE o.id = r.id; UPDATE campaign SET state = 'active', ended = NULL"
                .to_owned(),
            _ => format!("DELETE FROM {table} t WHERE NOT EXISTS (SELECT FROM old_{table} o WHERE o.id = t.id)"),
        };
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut *db).await.unwrap();
    }
}

#[tokio::test]
async fn a_claim_that_the_database_has_forgotten_is_its_workers_again() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    let id = store.apply(&campaign(2, loose())).await.unwrap();
    store.recover(&worker()).await.unwrap();
    put_back(&store, "copy").await;
    clock.forward(Duration::from_secs(1));
    let (first, second) = (take(&store, id).await, take(&store, id).await);
    assert_eq!(store.finish(&first, &result(Class::Reclaimed, 500)).await.unwrap(), Counted::Counted);
    put_back(&store, "restore").await;
    let before = store.status(id).await.unwrap().summary;
    assert_eq!((before.running, before.waiting, before.freed_bytes), (0, 2, 0), "it has forgotten all of it");

    assert_eq!(store.finish(&first, &result(Class::Reclaimed, 500)).await.unwrap(), Counted::Counted);
    assert_eq!(store.finish(&first, &result(Class::Reclaimed, 500)).await.unwrap(), Counted::AlreadyCounted);
    let kept = store.heartbeat(&worker(), None, &[stage(&second)]).await.unwrap();
    assert_eq!(kept, [(second.run, Instruction::Keep)]);
    assert_eq!(store.finish(&second, &result(Class::Reclaimed, 7)).await.unwrap(), Counted::Counted);
    let summary = store.status(id).await.unwrap().summary;
    assert_eq!((summary.freed_bytes, summary.waiting), (507, 0));
}

/// The end of a second turn would leave out what the first one did.
#[tokio::test]
async fn what_was_forgotten_is_told_before_anything_that_came_after_it() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    store.recover(&worker()).await.unwrap();
    put_back(&store, "copy").await;
    clock.forward(Duration::from_secs(1));
    let first = take(&store, id).await;
    let part = Later { did: Did::This(result(Class::Reclaimed, 500)), ..later(Wait::Window, 0) };
    assert_eq!(store.later(&first, &part).await.unwrap(), Counted::Counted);
    let (second, rest) = (take(&store, id).await, result(Class::Reclaimed, 7));
    put_back(&store, "restore").await;
    // As after a start of the server.
    store.told.store(store.epoch() + 1, Ordering::Release);
    for refused in [
        store.finish(&second, &rest).await.err(),
        store.later(&second, &part).await.err(),
        store.baseline(&second, &Baseline::default()).await.err(),
    ] {
        assert!(refused.is_some_and(|trouble| trouble.text.contains("started anew")));
    }
    assert_eq!(store.later_again(&first, &part).await.unwrap(), Counted::Counted);
    store.is_told(store.epoch());
    assert_eq!(store.finish(&second, &rest).await.unwrap(), Counted::Counted);
    assert_eq!(store.status(id).await.unwrap().summary.freed_bytes, 507);
}

/// The copy is of a time when the run was a claim's that then lost it.
#[tokio::test]
async fn a_forgotten_claim_comes_before_the_one_that_it_replaced() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    store.recover(&worker()).await.unwrap();
    clock.forward(Duration::from_secs(1));
    let before = take(&store, id).await;
    put_back(&store, "copy").await;
    clock.forward(LEASE * 2);
    let after = take(&store, id).await;
    assert_eq!((after.run, after.fence > before.fence), (before.run, true));
    assert_eq!(store.finish(&after, &result(Class::Reclaimed, 500)).await.unwrap(), Counted::Counted);
    put_back(&store, "restore").await;
    assert_eq!(store.status(id).await.unwrap().summary.running, 1, "it has the first claim's run");

    assert_eq!(store.finish(&after, &result(Class::Reclaimed, 500)).await.unwrap(), Counted::Counted);
    assert_eq!(store.finish(&before, &result(Class::Reclaimed, 3)).await.unwrap(), Counted::Fenced);
    assert_eq!(store.status(id).await.unwrap().summary.freed_bytes, 500);
}

#[tokio::test]
async fn a_fence_that_was_never_given_is_taken_for_nothing() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    clock.forward(Duration::from_secs(10));
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    let claimed = take(&store, id).await;
    store.later(&claimed, &later(Wait::Window, 0)).await.unwrap();
    let now = u64::try_from(clock.micros()).unwrap();
    for fence in [claimed.fence + 4_000_000_000 + now, 5_000_000] {
        let forged = Claimed { fence, ..claimed.clone() };
        let told = store.finish(&forged, &result(Class::Reclaimed, 500)).await.unwrap();
        assert_eq!(told, Counted::Fenced, "{fence}");
    }
}

/// One campaign over VMs of several hosts.
fn over(vms: &[(&str, u32)], limits: Limits) -> NewCampaign {
    let mut all = campaign(vms.iter().map(|(_, many)| many).sum(), limits);
    let hosts = vms.iter().flat_map(|(host, many)| (0..*many).map(|_| (*host).to_owned()));
    for (run, host) in all.runs.iter_mut().zip(hosts) {
        run.vm.host = host;
    }
    all
}

#[tokio::test]
async fn a_free_place_is_first_for_hosts_with_more_that_waits() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    let of = |host: &str| Claimant { host: host.into(), worker: format!("w of {host}") };
    let limits = Limits { per_host: Some(n(2)), ..loose() };
    let id = store.apply(&over(&[("few", 2), ("some", 4), ("many", 6)], limits)).await.unwrap();
    let yields = async |host| store.active(&of(host)).await.unwrap()[0].yields;
    let beats = async |host, held| store.heartbeat(&of(host), held, &[]).await.unwrap();

    beats("few", None).await;
    assert!(!yields("few").await, "nobody else is heard");
    beats("many", None).await;
    beats("some", None).await;
    assert!(yields("few").await && !yields("some").await && !yields("many").await, "the mean is 4");

    beats("many", Some("io pressure")).await;
    assert!(yields("few").await && !yields("some").await, "3 without one that is held");
    beats("many", None).await;
    for _ in 0..2 {
        assert!(matches!(store.claim(id, &of("many")).await.unwrap(), Claim::Run(_)));
    }
    assert!(store.active(&of("many")).await.unwrap()[0].is_full);
    assert!(!yields("some").await && yields("few").await, "3 without one that has all that it may");

    clock.forward(LEASE + Duration::from_secs(1));
    beats("few", None).await;
    assert!(!yields("few").await, "the others are silent");
}
