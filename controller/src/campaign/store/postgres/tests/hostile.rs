//! A host that was broken into says what it likes, by SQL of its own making. Nothing of it is kept, and what operators read
//! of all the others stays as it was.

use sqlx::{Connection as _, PgConnection};

use super::{
    rights::{as_role, both, of, two_hosts},
    *,
};
use crate::{
    campaign::{
        run::{Class, DiskResult, RunState},
        seen::{Out, SeenDisk, SeenVm},
        store::conformance::{campaign, loose, n, result, take},
    },
    ledger::{slack::Slack, verdict::Verdict},
};

/// Who has the role of host `h`, and one of its runs.
struct Thief {
    db: PgConnection,
    run: i64,
    fence: i64,
}

impl Thief {
    async fn new(database: &str, campaign: i64) -> Self {
        let store = as_role(database, "h").await;
        store.recover(&of("h")).await.unwrap();
        let Claim::Run(claimed) = store.claim(campaign, &of("h")).await.unwrap() else { panic!("no run") };
        let url = server::url(&format!("{database}-h"), database);
        let mut db = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("SET search_path = trimtab").execute(&mut db).await.unwrap();
        Self { db, run: claimed.run, fence: claimed.fence.try_into().unwrap() }
    }

    /// Says a statement, in which `RUN` is its run and fence; the code that it is refused with.
    async fn says(&mut self, statement: &str) -> Option<String> {
        let statement = statement.replace("RUN", &format!("{}, {}", self.run, self.fence));
        let told = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut self.db).await.map(drop);
        told.err().map(|error| error.as_database_error().unwrap().code().unwrap().into_owned())
    }
}

/// All that operators see.
async fn seen(store: &PgStore, id: i64) -> String {
    let status = store.status(id).await.unwrap();
    let runs = store.runs(id).await.unwrap();
    let rest = (store.list().await.unwrap(), store.events(id).await.unwrap(), store.vms().await.unwrap());
    // When a host was heard is no matter here.
    let published: Vec<_> =
        store.published().await.unwrap().into_iter().map(|host| (host.about, host.vms)).collect();
    format!("{:#?}", (status.summary, status.running, status.datastores, runs, rest, published))
}

/// A result, its figures and words as they are named here.
fn told(class: &str, disks: &str, rest: &str) -> String {
    format!(r#"{{"class": {class}, "disks": {disks}, "text": null, "kind": null, "layer": null, {rest}}}"#)
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_nobody_else_sees_it() {
    let (database, operator) = two_hosts().await;
    let id = operator.apply(&both()).await.unwrap();
    let mut thief = Thief::new(&database, id).await;
    let before = seen(&operator, id).await;
    let disk = |figures: &str| format!(r#"[{{"name": "vda", "verdict": "reclaimed", {figures}}}]"#);
    let whole = r#""duration_ms": 1"#;
    for (name, result) in [
        ("no document", "no".to_owned()),
        ("half a document", "{".to_owned()),
        ("another document", "[]".to_owned()),
        ("nothing in it", "{}".to_owned()),
        ("nested deep", "[".repeat(100_000)),
        (
            "a megabyte",
            told("\"reclaimed\"", "[]", &format!(r#""duration_ms": 1, "x": "{}""#, "x".repeat(1 << 20))),
        ),
        ("a class of its own", told("\"won\"", "[]", whole)),
        ("no class", told("null", "[]", whole)),
        ("more than sums hold", told("\"reclaimed\"", &disk(r#""freed_bytes": 9223372036854775807"#), whole)),
        ("no number", told("\"reclaimed\"", &disk(r#""freed_bytes": "NaN""#), whole)),
        ("no whole number", told("\"reclaimed\"", &disk(r#""freed_bytes": 1.5"#), whole)),
        ("a huge number", told("\"reclaimed\"", &disk(r#""freed_bytes": 1e400"#), whole)),
        ("less than nothing held", told("\"reclaimed\"", &disk(r#""held_bytes": -1"#), whole)),
        ("a verdict of its own", told("\"reclaimed\"", r#"[{"name": "vda", "verdict": "won"}]"#, whole)),
        ("no disk", told("\"reclaimed\"", "[null]", whole)),
        ("disks in disks", told("\"reclaimed\"", r#"[["vda"]]"#, whole)),
        ("a datastore of two lines", told("\"reclaimed\"", &disk(r#""datastore": "d\ne""#), whole)),
        ("a NUL", told("\"reclaimed\"", &disk(r#""image": "\u0000""#), whole)),
        ("half a character", told("\"reclaimed\"", &disk(r#""image": "\ud800""#), whole)),
        ("a time before it", told("\"reclaimed\"", "[]", r#""duration_ms": -1"#)),
    ] {
        let statement = format!("SELECT finish('h', RUN, $x${result}$x$)");
        assert_eq!(thief.says(&statement).await.as_deref(), Some("TT006"), "{name}");
        let statement = format!("SELECT later('h', RUN, 'retry', 'w', 0, FALSE, $x${result}$x$)");
        assert_eq!(thief.says(&statement).await.as_deref(), Some("TT006"), "{name}");
    }
    for (name, statement) in [
        ("no result", "SELECT finish('h', RUN, NULL)"),
        ("a wait of its own", "SELECT later('h', RUN, 'tea', 'w', 0, FALSE, NULL)"),
        ("no wait", "SELECT later('h', RUN, NULL, 'w', 0, FALSE, NULL)"),
        ("no reason", "SELECT later('h', RUN, 'retry', NULL, 0, FALSE, NULL)"),
        ("a long reason", "SELECT later('h', RUN, 'retry', repeat('x', 5000), 0, FALSE, NULL)"),
        ("a time before now", "SELECT later('h', RUN, 'retry', 'w', -1, FALSE, NULL)"),
        ("the end of time", "SELECT later('h', RUN, 'retry', 'w', 9223372036854775807, FALSE, NULL)"),
        ("no time", "SELECT later('h', RUN, 'retry', 'w', NULL, FALSE, NULL)"),
        ("neither known nor unknown", "SELECT later('h', RUN, 'retry', 'w', 0, NULL, NULL)"),
        ("no baseline", "SELECT baseline('h', RUN, '[1]')"),
        (
            "a baseline of its own",
            r#"SELECT baseline('h', RUN, '{"disks": [{"device": "a", "file": [1]}]}')"#,
        ),
        ("a long stage", "SELECT heartbeat('h', 'w of h', '', ARRAY[1], ARRAY[1], ARRAY[repeat('x', 5000)])"),
        ("a long hindrance", "SELECT heartbeat('h', 'w of h', repeat('x', 5000), '{}', '{}', '{}')"),
        ("no worker", "SELECT heartbeat('h', NULL, '', '{}', '{}', '{}')"),
        ("a long worker", "SELECT heartbeat('h', repeat('x', 5000), '', '{}', '{}', '{}')"),
        ("lists of two lengths", "SELECT heartbeat('h', 'w of h', '', '{1}', '{}', '{}')"),
        ("ten million runs", "SELECT heartbeat('h', 'w of h', '', array_fill(1, '{1000000}'), '{}', '{}')"),
        ("no list", "SELECT heartbeat('h', 'w of h', '', NULL, NULL, NULL)"),
        ("a worker that is none", "SELECT recover('h', NULL)"),
        ("a claim by nobody", "SELECT claim(1, 'h', NULL, 'm')"),
        ("a long mark", "SELECT claim(1, 'h', 'w of h', repeat('x', 5000))"),
        ("a million images", "SELECT used_elsewhere('h', 1, array_fill('x'::TEXT, '{1000000}'))"),
        ("VMs without names", "SELECT publish('h', NULL, NULL, '{NULL}', '{u}', '{t}', '{NULL}', '{}')"),
        (
            "a long name",
            "SELECT publish('h', NULL, NULL, ARRAY[repeat('x', 5000)], '{u}', '{t}', '{NULL}', '{}')",
        ),
        (
            "a long uuid",
            "SELECT publish('h', NULL, NULL, '{v}', ARRAY[repeat('x', 5000)], '{t}', '{NULL}', '{}')",
        ),
        ("lists of three", "SELECT publish('h', NULL, NULL, '{v}', '{u,u}', '{t}', '{NULL}', '{}')"),
        ("no lists", "SELECT publish('h', NULL, NULL, NULL, NULL, NULL, NULL, NULL)"),
        ("a VM of its own", "SELECT publish('h', NULL, NULL, '{v}', '{u}', '{t}', '{7}', '{}')"),
        ("a host of its own", "SELECT publish('h', NULL, '{}', '{}', '{}', '{}', '{}', '{}')"),
        (
            "a datastore of two lines",
            r#"SELECT publish('h', NULL, '{"name": "h", "gates": [], "datastores": [{"name": "a\nb", "identity": "i",
                "path": "/", "size_bytes": 1, "free_bytes": 1}]}', '{}', '{}', '{}', '{}', '{}')"#,
        ),
    ] {
        assert_eq!(thief.says(statement).await.as_deref(), Some("TT006"), "{name}");
    }
    assert_eq!(seen(&operator, id).await, before, "nothing of it shows");
}

#[tokio::test]
async fn what_is_no_part_of_a_document_is_not_kept_and_sums_do_not_run_over() {
    let (database, operator) = two_hosts().await;
    let mut new = campaign(3, loose());
    new.limits.retries = 100;
    let id = operator.apply(&new).await.unwrap();
    let most = r#"[{"name": "\u001b[2J", "verdict": "reclaimed", "datastore": "d", "freed_bytes": 562949953421312,
        "held_bytes": 562949953421312}, {"name": "b", "verdict": "held_on_host", "datastore": "nas of others",
        "freed_bytes": 562949953421312}]"#;
    let result =
        told("\"reclaimed\"", most, r#""duration_ms": 562949953421312, "deep": [[[[[[[[[[0]]]]]]]]]]"#);
    let mut thief = Thief::new(&database, id).await;
    for _ in 0..20 {
        let statement = format!("SELECT later('h', RUN, 'room', 'w', 0, FALSE, $x${result}$x$)");
        assert_eq!(thief.says(&statement).await, None);
        thief = Thief::new(&database, id).await;
    }
    assert_eq!(thief.says(&format!("SELECT finish('h', RUN, $x${result}$x$)")).await, None);
    let summary = operator.list().await.unwrap().remove(0);
    assert_eq!((summary.freed_bytes, summary.held_bytes), (1 << 49, 1 << 49), "a run's figure ends there");
    let sums = operator.status(id).await.unwrap().datastores;
    assert_eq!(sums.len(), 1, "of its plan's datastores alone: {sums:?}");
    let run = operator.runs(id).await.unwrap().into_iter().find(|run| run.state == RunState::Done).unwrap();
    assert_eq!(run.result.unwrap().disks.len(), 2);
    let mut db = PgConnection::connect(&server::url("trimtab", &database)).await.unwrap();
    let deep: bool = sqlx::query_scalar("SELECT bool_or(result LIKE '%deep%') FROM trimtab.run")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert!(!deep);
}

/// A VM as a host may publish it.
fn vm(name: &str, uuid: &str) -> SeenVm {
    let disk = SeenDisk {
        name: "vda".into(),
        image: None,
        slack: Some(Slack { min_bytes: 1, max_bytes: 2 }),
        allocated_bytes: Some(3),
        used_bytes: Some(1),
        goes: true,
    };
    SeenVm {
        disks: vec![disk],
        out: None,
        ..SeenVm::not_looked_at(name.into(), Some(uuid.into()), Vec::new(), true)
    }
}

#[tokio::test]
async fn a_document_is_of_the_vm_that_its_row_says_and_holds_no_command() {
    let (database, operator) = two_hosts().await;
    let theirs = News { changed: vec![vm("db", "1").into()], ..rights::nothing() };
    operator.publish(&of("other"), &theirs).await.unwrap();
    let thief = as_role(&database, "h").await;
    let mut mine: super::super::super::fleet::Sighting = vm("mine", "9").into();
    let out = Out {
        reason: crate::campaign::plan::Reason::Cut,
        text: "x".into(),
        paste: Some("rm -rf / # --fix".into()),
    };
    mine.seen = Some(SeenVm { out: Some(out), ..vm("db", "1") });
    thief.publish(&of("h"), &News { changed: vec![mine], ..rights::nothing() }).await.unwrap();
    let published = operator.published().await.unwrap();
    let host = published.iter().find(|host| host.host == "h").unwrap();
    let seen = &host.vms[0].seen;
    assert_eq!((seen.name.as_str(), seen.uuid.as_deref()), ("mine", Some("9")));
    let paste = seen.out.as_ref().and_then(|out| out.paste.as_deref());
    assert_eq!(paste, Some("trimtab doctor mine --fix"), "it stands for ours");
}

#[tokio::test]
async fn the_history_of_a_host_has_an_end() {
    let (database, operator) = two_hosts().await;
    let id = operator.apply(&both()).await.unwrap();
    let mut thief = Thief::new(&database, id).await;
    let mut db = PgConnection::connect(&server::url("trimtab", &database)).await.unwrap();
    let near = "UPDATE trimtab.history SET bytes = (256 << 20) - 1000";
    sqlx::raw_sql(near).execute(&mut db).await.unwrap();
    let text = "x".repeat(3000);
    let late = told("\"failed\"", "[]", &format!(r#""duration_ms": 1, "kind": "busy", "text": "{text}""#))
        .replacen("\"text\": null, \"kind\": null, ", "", 1);
    thief.fence -= 1;
    for _ in 0..50 {
        assert_eq!(thief.says(&format!("SELECT finish('h', RUN, $x${late}$x$)")).await, None);
    }
    thief.fence += 1;
    assert_eq!(thief.says(&format!("SELECT finish('h', RUN, $x${late}$x$)")).await, None);
    let what: Vec<String> = operator.events(id).await.unwrap().into_iter().map(|event| event.what).collect();
    assert_eq!(what, ["applied", "claimed", "full", "counted"]);
    assert_eq!(operator.status(id).await.unwrap().summary.done, [(Class::Failed, 1)].into());
    // Nobody else's ends with it.
    let Claim::Run(other) = operator.claim(id, &of("other")).await.unwrap() else { panic!("no run") };
    operator.finish(&other, &result(Class::Reclaimed, 5)).await.unwrap();
    assert_eq!(operator.events(id).await.unwrap().len(), 6);
}

#[tokio::test]
async fn what_is_to_end_is_not_kept_for_ever() {
    let clock = TestClock::new();
    let lease = Duration::from_secs(60);
    let store = store_with(&clock, Terms { lease }, &[]).await;
    let mut new = campaign(2, loose());
    new.limits.deadline_secs = 3600;
    let id = store.apply(&new).await.unwrap();
    let by = crate::campaign::store::conformance::worker();
    let beat = async |claimed: &Claimed| {
        let stage = (claimed.run, claimed.fence, String::new());
        store.heartbeat(&by, None, &[stage]).await.unwrap()[0].1
    };
    let Claim::Run(long) = store.claim(id, &by).await.unwrap() else { panic!("no run") };
    for _ in 0..120 {
        assert_eq!(beat(&long).await, Instruction::Keep);
        clock.forward(lease);
    }
    assert_eq!(beat(&long).await, Instruction::Keep);
    clock.forward(Duration::from_secs(1));
    // An hour after its deadline; ten leases later it is another's.
    for _ in 0..11 {
        assert_eq!(beat(&long).await, Instruction::Cancel);
        clock.forward(lease);
    }
    assert_eq!(beat(&long).await, Instruction::Cancel);
    clock.forward(Duration::from_secs(1));
    assert_eq!(beat(&long).await, Instruction::Gone);
    let Claim::Run(mut again) = store.claim(id, &by).await.unwrap() else { panic!("no run") };
    store.order(id, &Order::Abort, "me").await.unwrap();
    for _ in 0..11 {
        assert_eq!(beat(&again).await, Instruction::Cancel);
        // By a claim that the database has forgotten, as it says.
        again.fence += 1;
        clock.forward(lease);
    }
    clock.forward(Duration::from_secs(1));
    assert_eq!(beat(&again).await, Instruction::Gone);
    assert!(store.status(id).await.unwrap().summary.ended.is_some(), "the abort has ended it");
}

#[tokio::test]
async fn who_says_that_much_was_forgotten_has_not_all() {
    let clock = TestClock::new();
    let store = store_with(&clock, Terms { lease: Duration::from_secs(60) }, &[]).await;
    let mut new = campaign(9, loose());
    new.limits.at_once = n(2);
    let id = store.apply(&new).await.unwrap();
    clock.forward(Duration::from_secs(1));
    let claimed = take(&store, id).await;
    let runs = store.runs(id).await.unwrap();
    let stages: Vec<_> = runs.iter().map(|run| (run.run, claimed.fence, String::new())).collect();
    let by = crate::campaign::store::conformance::worker();
    let told = store.heartbeat(&by, None, &stages).await.unwrap();
    assert_eq!(told.iter().filter(|(_, told)| *told == Instruction::Keep).count(), 4, "{told:?}");
    let disk = DiskResult {
        name: "vda".into(),
        image: None,
        datastore: None,
        verdict: Verdict::Reclaimed,
        freed_bytes: Some(i64::MIN),
        held_bytes: Some(u64::MAX),
    };
    // What an honest worker says is made to fit.
    let odd = RunResult {
        disks: vec![disk],
        text: Some("a\0b".repeat(5000)),
        duration_ms: u64::MAX,
        ..result(Class::Held, 0)
    };
    assert_eq!(store.finish(&claimed, &odd).await.unwrap(), Counted::Counted);
    assert_eq!(store.status(id).await.unwrap().summary.freed_bytes, -(1 << 49));
}
