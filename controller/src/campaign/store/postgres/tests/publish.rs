//! What hosts publish, and whose a VM is.

use super::*;
use crate::campaign::{
    plan::samples::seen_disk,
    run::{Class, VmKey, Wait},
    seen::{SeenHost, SeenImage, SeenVm},
    store::{
        conformance::{at, campaign, later, loose, n, result},
        fleet::{Has, Sighting},
    },
};

const LEASE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_secs(1);

async fn store(clock: &TestClock) -> PgStore {
    store_with(clock, Terms { lease: LEASE }, &[]).await
}

fn of(host: &str) -> Claimant {
    Claimant { host: host.into(), worker: format!("w of {host}") }
}

/// A VM with this uuid, and as name "vm-" and the uuid.
fn vm(uuid: &str, is_on: bool) -> SeenVm {
    SeenVm::not_looked_at(format!("vm-{uuid}"), Some(uuid.into()), Vec::new(), is_on)
}

/// All that a host has.
fn all(vms: Vec<SeenVm>) -> News {
    let changed = vms.into_iter().map(Sighting::from).collect();
    News { since: None, about: Some(SeenHost::default()), changed, gone: Vec::new() }
}

async fn says(store: &PgStore, host: &str, uuids: &[&str]) -> i64 {
    let vms = uuids.iter().map(|uuid| vm(uuid, true)).collect();
    store.publish(&of(host), &all(vms)).await.unwrap().unwrap()
}

/// "a: vm-1, (vm-2)", in brackets what a host only claims or has off.
async fn whose(store: &PgStore) -> Vec<String> {
    let hosts = store.published().await.unwrap();
    let told = hosts.into_iter().map(|host| {
        let vms = host.vms.into_iter().map(|vm| match vm.has {
            Has::Yes => vm.seen.name,
            Has::Off => format!("({} off)", vm.seen.name),
            Has::Claims(other) => format!("({} of {})", vm.seen.name, other.unwrap_or_default()),
        });
        format!("{}: {}", host.host, vms.collect::<Vec<_>>().join(", "))
    });
    told.collect()
}

/// A campaign over VMs of host a.
fn over(uuids: &[&str]) -> NewCampaign {
    let mut new = campaign(uuids.len().try_into().unwrap(), loose());
    for (run, uuid) in new.runs.iter_mut().zip(uuids) {
        run.vm = VmKey { host: "a".into(), name: format!("vm-{uuid}"), uuid: Some((*uuid).into()) };
    }
    new
}

async fn claims(store: &PgStore, id: i64, host: &str) -> Option<Claimed> {
    match store.claim(id, &of(host)).await.unwrap() {
        Claim::Run(claimed) => Some(*claimed),
        _ => None,
    }
}

#[tokio::test]
async fn only_what_is_different_travels() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    let first = says(&store, "a", &["1", "2"]).await;
    let again = News { since: Some(first), about: None, changed: Vec::new(), gone: Vec::new() };
    clock.forward(MOMENT);
    assert_eq!(store.publish(&of("a"), &again).await.unwrap(), Some(first), "nothing was new");
    let host = store.published().await.unwrap().remove(0);
    assert_eq!((host.at, host.vms[0].at), (at(1), at(0)));
    let mut two = vm("2", true);
    two.labels = vec!["prod".into()];
    let news = News {
        changed: vec![two.clone().into(), vm("3", true).into()],
        gone: vec!["vm-1".into()],
        ..again.clone()
    };
    let second = store.publish(&of("a"), &news).await.unwrap().unwrap();
    assert!(second > first);
    assert_eq!(whose(&store).await, ["a: vm-2, vm-3"]);
    assert_eq!(store.published().await.unwrap()[0].vms[0].seen, two);
    assert_eq!(store.publish(&of("a"), &news).await.unwrap(), None, "it is of another revision");
    // A worker that has begun anew knows who is there, and not yet how it is.
    let listed = |is_on| Sighting { name: "vm-2".into(), uuid: Some("2".into()), is_on, seen: None };
    for is_on in [true, false] {
        let anew = News { since: None, about: None, changed: vec![listed(is_on)], gone: Vec::new() };
        store.publish(&of("a"), &anew).await.unwrap();
        let kept = store.published().await.unwrap().remove(0).vms.remove(0).seen;
        assert_eq!((kept.labels, kept.is_on), (two.labels.clone(), is_on));
    }
    says(&store, "a", &["9"]).await;
    assert_eq!(whose(&store).await, ["a: vm-9"], "all that there is is all");
}

#[tokio::test]
async fn a_vm_is_taken_over_only_when_it_was_released() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    says(&store, "a", &["1", "2", "3"]).await;
    says(&store, "b", &["1", "2", "3"]).await;
    let claimed = "b: (vm-1 of a), (vm-2 of a), (vm-3 of a)";
    assert_eq!(whose(&store).await, ["a: vm-1, vm-2, vm-3", claimed]);
    // It publishes without the first, and the second is off.
    let off = all(vec![vm("2", false), vm("3", true)]);
    store.publish(&of("a"), &off).await.unwrap();
    assert_eq!(whose(&store).await, ["a: (vm-2 off), vm-3", "b: vm-1, vm-2, (vm-3 of a)"]);
    says(&store, "a", &["2", "3"]).await;
    assert_eq!(whose(&store).await, ["a: (vm-2 of b), vm-3", "b: vm-1, vm-2, (vm-3 of a)"]);
    // As long as a lease it may be silent; its worker's heartbeat is a word of it too.
    clock.forward(LEASE);
    store.heartbeat(&of("a"), None, &[]).await.unwrap();
    clock.forward(LEASE);
    says(&store, "b", &["1", "2", "3"]).await;
    assert_eq!(whose(&store).await[1], "b: vm-1, vm-2, (vm-3 of a)");
    clock.forward(MOMENT);
    says(&store, "b", &["1", "2", "3"]).await;
    assert_eq!(whose(&store).await, ["a: (vm-2 of b), (vm-3 of b)", "b: vm-1, vm-2, vm-3"]);
    assert!(store.published().await.unwrap()[0].is_silent);
}

#[tokio::test]
async fn a_vm_without_a_uuid_is_each_hosts_own() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    let plain = || SeenVm { uuid: None, ..vm("1", true) };
    for host in ["a", "b"] {
        store.publish(&of(host), &all(vec![plain()])).await.unwrap();
    }
    assert_eq!(whose(&store).await, ["a: vm-1", "b: vm-1"]);
}

#[tokio::test]
async fn what_waits_goes_with_a_vm_and_what_runs_follows() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    says(&store, "a", &["1", "2", "3"]).await;
    let mut new = over(&["1", "2", "3"]);
    new.limits.per_host = Some(n(1));
    let id = store.apply(&new).await.unwrap();
    let runs = claims(&store, id, "a").await.unwrap();
    says(&store, "a", &["3"]).await;
    says(&store, "b", &["1", "2"]).await;
    assert_eq!(whose(&store).await, ["a: vm-3", "b: vm-1, vm-2"]);
    let second = claims(&store, id, "b").await.unwrap();
    assert_eq!((second.vm.name.as_str(), second.vm.host.as_str()), ("vm-2", "b"));
    assert!(
        claims(&store, id, "b").await.is_none(),
        "one at once on a host, also on one that no plan has named"
    );
    // Its own host is heard to its end, and only then the next one has it.
    assert_eq!(store.baseline(&runs, &Baseline::default()).await.unwrap(), Instruction::Keep);
    assert_eq!(store.later(&runs, &later(Wait::Retry, 0)).await.unwrap(), Counted::Counted);
    assert_eq!(claims(&store, id, "a").await.unwrap().vm.name, "vm-3");
    store.finish(&second, &result(Class::Reclaimed, 5)).await.unwrap();
    let first = claims(&store, id, "b").await.unwrap();
    assert_eq!(
        (first.run, &first.agent_run_id),
        (runs.run, &runs.agent_run_id),
        "its result is fetched there"
    );
    assert_eq!(
        store.finish(&runs, &result(Class::Reclaimed, 9)).await.unwrap_err().kind,
        crate::model::trouble::Kind::UnknownCampaign
    );
    store.finish(&first, &result(Class::Reclaimed, 7)).await.unwrap();
    let moved: Vec<String> = store
        .events(id)
        .await
        .unwrap()
        .into_iter()
        .filter(|event| event.what == "moved")
        .map(|event| event.text)
        .collect();
    assert_eq!(moved, ["its VM has migrated from host a to host b"; 2]);
    let vms = store.vms().await.unwrap();
    assert_eq!(vms.iter().map(|row| row.vm.host.as_str()).collect::<Vec<_>>(), ["a", "b", "b"]);
    assert!(
        vms.iter().filter(|row| row.vm.host == "b").all(|row| row.proven.is_some()),
        "its past goes with it"
    );
}

#[tokio::test]
async fn a_plan_of_before_a_migration_goes_where_the_vm_is() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    says(&store, "a", &["2"]).await;
    says(&store, "b", &["1"]).await;
    let id = store.apply(&over(&["1", "2"])).await.unwrap();
    assert_eq!(claims(&store, id, "a").await.unwrap().vm.name, "vm-2");
    assert!(claims(&store, id, "a").await.is_none());
    assert_eq!(claims(&store, id, "b").await.unwrap().vm.name, "vm-1");
}

#[tokio::test]
async fn an_image_that_another_hosts_vm_has_come_to_use() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    let with_image = |uuid: &str, key: &str| {
        let image = SeenImage {
            path: "/guests/x.img".into(),
            inode: 7,
            datastore: Some("nas".into()),
            known_as: vec!["nfs:nas:/y\n1".into(), key.into()],
        };
        SeenVm { disks: vec![seen_disk(image)], ..vm(uuid, true) }
    };
    says(&store, "a", &["1"]).await;
    let id = store.apply(&over(&["1"])).await.unwrap();
    let run = claims(&store, id, "a").await.unwrap();
    let keys = ["nfs:nas:/x\n7".to_owned()];
    let about = Some(SeenHost { name: "node-b".into(), ..SeenHost::default() });
    for (name, host, vm, expected) in [
        ("nobody", "b", vm("2", true), None),
        ("another image", "b", with_image("2", "nfs:nas:/x\n8"), None),
        ("another VM", "b", with_image("2", &keys[0]), Some("vm-2 of host node-b")),
        (
            "another VM without a uuid",
            "b",
            SeenVm { uuid: None, ..with_image("2", &keys[0]) },
            Some("vm-2 of host node-b"),
        ),
        ("itself, on its way", "b", with_image("1", &keys[0]), None),
        ("one that is off", "b", SeenVm { is_on: false, ..with_image("2", &keys[0]) }, None),
        ("its own host sees that itself", "a", with_image("3", &keys[0]), None),
    ] {
        let news = News { about: about.clone(), ..all(vec![vm]) };
        store.publish(&of(host), &news).await.unwrap();
        assert_eq!(store.used_elsewhere(&run, &keys).await.unwrap().as_deref(), expected, "{name}");
        store.publish(&of("b"), &all(Vec::new())).await.unwrap();
    }
    store.publish(&of("b"), &all(vec![with_image("2", &keys[0])])).await.unwrap();
    clock.forward(LEASE + MOMENT);
    store.publish(&of("a"), &all(vec![vm("1", true)])).await.unwrap();
    let again = claims(&store, id, "a").await.unwrap();
    let users = store.used_elsewhere(&again, &keys).await.unwrap();
    assert_eq!(users.as_deref(), Some("vm-2 of host b"), "its host is silent, and it may write");
    // Only of what it has to do.
    store.finish(&again, &result(Class::Reclaimed, 1)).await.unwrap();
    assert_eq!(store.used_elsewhere(&again, &keys).await.unwrap(), None);
}

#[tokio::test]
async fn a_host_that_was_lost_loses_its_runs_with_its_vms() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    says(&store, "a", &["1"]).await;
    let id = store.apply(&over(&["1"])).await.unwrap();
    let runs = claims(&store, id, "a").await.unwrap();
    clock.forward(LEASE + MOMENT);
    says(&store, "b", &["1"]).await;
    let again = claims(&store, id, "b").await.unwrap();
    assert_eq!(again.run, runs.run);
    assert!(again.fence > runs.fence, "its agent refuses who comes back");
    says(&store, "a", &["1"]).await;
    assert_eq!(whose(&store).await, ["a: (vm-1 of b)", "b: vm-1"]);
}

#[tokio::test]
async fn a_host_keeps_no_more_than_its_part() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    says(&store, "a", &["1"]).await;
    let many: Vec<SeenVm> = (0..5001).map(|number| vm(&number.to_string(), true)).collect();
    let refused = store.publish(&of("a"), &all(many)).await.unwrap_err();
    assert!(refused.text.contains("host a would publish 5001 VMs"), "{refused}");
    assert!(refused.hint.unwrap().contains("at most 5000 VMs"));
    let talks = SeenVm { notes: vec!["x".repeat(3000); 30], ..vm("2", true) };
    let wide = store.publish(&of("a"), &all(vec![talks])).await.unwrap_err();
    assert!(wide.text.contains("VM of more than 65536 bytes"), "{wide}");
    let heavy = "SELECT publish('a', NULL, NULL, array_agg('v' || n), array_agg(n::TEXT), array_agg(TRUE), \
        array_agg(jsonb_build_object('name', 'v', 'labels', '[]'::JSONB, 'is_on', TRUE, 'disks', '[]'::JSONB, \
        'notes', array_fill(repeat('x', 3000), '{20}'))::TEXT), '{}') FROM generate_series(1, 600) AS n";
    let db = &mut *store.ways.take().await.unwrap();
    let refused = sqlx::query(heavy).execute(db).await.unwrap_err();
    assert!(refused.to_string().contains("host a would publish 600 VMs in 36"), "{refused}");
    assert_eq!(whose(&store).await, ["a: vm-1"], "nothing of it was kept");
}

#[tokio::test]
async fn who_could_not_be_heard_is_not_silent() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    says(&store, "a", &["1"]).await;
    clock.forward(LEASE);
    // Somebody held the store's lock, and all others waited.
    let db = &mut *store.ways.take().await.unwrap();
    sqlx::query("INSERT INTO stall (at) VALUES ($1)").bind(clock.micros()).execute(db).await.unwrap();
    clock.forward(LEASE);
    says(&store, "b", &["1"]).await;
    assert_eq!(whose(&store).await, ["a: vm-1", "b: (vm-1 of a)"]);
    clock.forward(MOMENT);
    says(&store, "b", &["1"]).await;
    assert_eq!(whose(&store).await, ["a: (vm-1 of b)", "b: vm-1"]);
}

/// As docs/usage/fleets.md has it.
#[tokio::test]
async fn what_a_host_that_was_shut_out_had_is_free() {
    let clock = TestClock::new();
    let store = store(&clock).await;
    says(&store, "a", &["1"]).await;
    says(&store, "b", &["1"]).await;
    let db = &mut *store.ways.take().await.unwrap();
    for table in ["published_vm", "published_host"] {
        let statement = format!("DELETE FROM trimtab.{table} WHERE host = 'a'");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *db).await.unwrap();
    }
    says(&store, "b", &["1"]).await;
    assert_eq!(whose(&store).await, ["b: vm-1"]);
}
