//! What a host's role must not do, tried.

use super::*;
use crate::{
    campaign::{
        run::{Class, NewRun, VmKey},
        store::conformance::{campaign, loose, result, take},
    },
    model::trouble::Kind,
};

/// A store of two hosts, `h` and `other`, with a role for each; the database's name.
pub(super) async fn two_hosts() -> (String, PgStore) {
    let url = server::database().await;
    let name = url.split(['/', '?']).nth(3).unwrap().to_owned();
    init(&url, Terms::default()).await.unwrap();
    for (host, role) in [("h", format!("{name}-h")), ("other", format!("{name}-other"))] {
        let said = grant(&url, host, &role).await.unwrap().said.join("; ");
        assert!(said.ends_with(&format!("role {role} may work for host {host}, and for no other")), "{said}");
    }
    let store = PgStore::open(&url).await.unwrap();
    (name, store)
}

/// The store as a host's own worker reaches it.
pub(super) async fn as_role(database: &str, host: &str) -> PgStore {
    PgStore::open(&server::url(&format!("{database}-{host}"), database)).await.unwrap()
}

pub(super) fn of(host: &str) -> Claimant {
    Claimant { host: host.into(), worker: format!("w of {host}") }
}

/// A host without a VM.
pub(super) fn nothing() -> News {
    News { since: None, about: None, changed: Vec::new(), gone: Vec::new() }
}

/// Both hosts' VMs in one campaign.
pub(super) fn both() -> NewCampaign {
    let mut both = campaign(2, loose());
    let elsewhere = both.runs.iter().map(|run| NewRun {
        vm: VmKey { host: "other".into(), ..run.vm.clone() },
        position: run.position + 2,
        ..run.clone()
    });
    let elsewhere: Vec<NewRun> = elsewhere.collect();
    both.runs.extend(elsewhere);
    both
}

#[tokio::test]
async fn a_host_carries_its_own_runs_out() {
    let (database, operator) = two_hosts().await;
    let id = operator.apply(&both()).await.unwrap();
    let store = as_role(&database, "h").await;
    let by = of("h");
    assert_eq!(store.recover(&by).await.unwrap(), 0);
    for _ in 0..2 {
        assert_eq!(store.active(&by).await.unwrap()[0].campaign, id);
        let Claim::Run(claimed) = store.claim(id, &by).await.unwrap() else { panic!("no run") };
        assert_eq!(store.baseline(&claimed, &Baseline::default()).await.unwrap(), Instruction::Keep);
        let stage = (claimed.run, claimed.fence, String::new());
        assert_eq!(store.heartbeat(&by, None, &[stage]).await.unwrap()[0].1, Instruction::Keep);
        assert_eq!(store.finish(&claimed, &result(Class::Reclaimed, 5)).await.unwrap(), Counted::Counted);
    }
    assert_eq!(store.claim(id, &by).await.unwrap(), Claim::Empty, "the rest is another host's");
    assert!(store.publish(&by, &nothing()).await.unwrap().is_some());
    store.leave(&by).await.unwrap();
    assert_eq!(operator.status(id).await.unwrap().summary.freed_bytes, 10);
    // Its metrics are of its own runs alone.
    let mine = store.mine(&by).await.unwrap();
    assert_eq!((mine.len(), mine[0].id, mine[0].waiting, mine[0].running), (1, id, 0, 0), "{mine:?}");
    assert_eq!(mine[0].done, [(Class::Reclaimed, 2)].into());
    let freed: i64 = mine[0].datastores.iter().map(|place| place.freed_bytes).sum();
    assert_eq!(freed, 10, "{mine:?}");
    assert_eq!(store.mine(&of("other")).await.unwrap_err().kind, Kind::NoPermission);
}

#[tokio::test]
async fn a_host_touches_no_other_hosts_runs() {
    let (database, operator) = two_hosts().await;
    let id = operator.apply(&both()).await.unwrap();
    let theirs = match operator.claim(id, &of("other")).await.unwrap() {
        Claim::Run(claimed) => *claimed,
        none => panic!("{none:?}"),
    };
    let thief = as_role(&database, "h").await;
    let refused = |trouble: Trouble| assert_eq!(trouble.kind, Kind::NoPermission, "{trouble}");
    // As whom it says that it is.
    refused(thief.claim(id, &of("other")).await.unwrap_err());
    refused(thief.active(&of("other")).await.unwrap_err());
    refused(thief.recover(&of("other")).await.unwrap_err());
    refused(thief.leave(&of("other")).await.unwrap_err());
    refused(thief.heartbeat(&of("other"), None, &[]).await.unwrap_err());
    refused(thief.publish(&of("other"), &nothing()).await.unwrap_err());
    refused(thief.finish(&theirs, &result(Class::Harmed, -5)).await.unwrap_err());
    refused(thief.baseline(&theirs, &Baseline::default()).await.unwrap_err());
    // As itself, with numbers of the other's.
    let mut forged = theirs.clone();
    forged.vm.host = "h".into();
    assert_eq!(
        thief.finish(&forged, &result(Class::Harmed, -5)).await.unwrap_err().kind,
        Kind::UnknownCampaign
    );
    assert_eq!(thief.baseline(&forged, &Baseline::default()).await.unwrap(), Instruction::Gone);
    let stage = (theirs.run, theirs.fence, "taken".to_owned());
    assert_eq!(thief.heartbeat(&of("h"), None, &[stage]).await.unwrap()[0].1, Instruction::Gone);
    let run = operator.status(id).await.unwrap().running.remove(0);
    assert_eq!((run.run, run.stage), (theirs.run, None), "nothing of it shows");
    // Orders, plans and tables are the operators'.
    refused(thief.apply(&both()).await.unwrap_err());
    refused(thief.order(id, &Order::Abort, "thief").await.unwrap_err());
    refused(thief.status(id).await.map(drop).unwrap_err());
    refused(thief.vms().await.map(drop).unwrap_err());
    refused(thief.published().await.map(drop).unwrap_err());
    for statement in [
        "UPDATE trimtab.run SET freed = 1",
        "SELECT * FROM trimtab.host_role",
        "INSERT INTO trimtab.host_role VALUES (current_user, 'other')",
        "SELECT trimtab.put_back(1, '', '', '', 0)",
        "SELECT trimtab.settle(1, '', NULL, 0)",
        "SELECT trimtab.stop(1, 'no more', TRUE, 0)",
        "SELECT trimtab.locked()",
        "SELECT trimtab.take_over('h', 'vm0', '', 0)",
        "UPDATE trimtab.published_vm SET has = TRUE",
        "CREATE FUNCTION trimtab.clock(BIGINT) RETURNS BIGINT LANGUAGE sql AS 'SELECT 0'",
    ] {
        let mut connection = thief.ways.take().await.unwrap();
        let error = sqlx::raw_sql(statement).execute(&mut *connection).await.map(drop).unwrap_err();
        let code = error.as_database_error().and_then(|told| told.code()).map(|code| code.into_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
    }
    assert_eq!(operator.finish(&theirs, &result(Class::Reclaimed, 5)).await.unwrap(), Counted::Counted);
}

#[tokio::test]
async fn a_role_that_hides_behind_names_of_its_own_changes_nothing() {
    let (database, operator) = two_hosts().await;
    let id = operator.apply(&both()).await.unwrap();
    let thief = as_role(&database, "h").await;
    let mut connection = thief.ways.take().await.unwrap();
    // The functions look their names up in their own schema first, whatever the caller's path is.
    let own = "CREATE TEMPORARY TABLE host_role (role TEXT, host TEXT); \
        INSERT INTO pg_temp.host_role VALUES (current_user, 'other'); SET search_path = pg_temp, trimtab";
    sqlx::raw_sql(own).execute(&mut *connection).await.unwrap();
    let error = sqlx::query("SELECT trimtab.claim($1, 'other', 'w', 'm')")
        .bind(id)
        .execute(&mut *connection)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("stands for host h, and not for other"), "{error}");
}

#[tokio::test]
async fn who_stands_for_no_host_is_told_so() {
    let (database, operator) = two_hosts().await;
    let id = operator.apply(&both()).await.unwrap();
    let url = server::url("trimtab", &database);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let stray = format!("{database}-stray");
    let make = format!("CREATE ROLE \"{stray}\" LOGIN");
    sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut connection).await.unwrap();
    let refused = PgStore::open(&server::url(&stray, &database)).await.map(drop).unwrap_err();
    assert!(refused.hint.unwrap().contains("trimtab store grant"));
    assert!(grant(&url, "h", &stray).await.unwrap_err().text.contains("is role"), "a host has one role");
    let operators = grant(&url, "third", "trimtab").await.unwrap_err();
    assert!(operators.text.contains("role trimtab is a superuser"), "{operators}");
    // An operator may stand for any host, as where there is one host and no role.
    take(&operator, id).await;
}

#[tokio::test]
async fn what_is_wrong_with_the_way_is_told_without_the_password() {
    let database = server::database().await;
    for (url, text, kind) in [
        (server::url("nobody", "postgres"), "role \"nobody\" does not exist", Kind::NoPermission),
        (server::url("trimtab", "none"), "database \"none\" does not exist", Kind::Store),
        (database, "cannot open the store", Kind::Store),
        ("postgres://me:secret@localhost:1/x?sslmode=disable".into(), "cannot open the store", Kind::Store),
        ("postgres://me:secret@[/x".into(), "no URL", Kind::Usage),
    ] {
        let trouble = PgStore::open(&url).await.map(drop).unwrap_err();
        assert!(trouble.text.contains(text) && trouble.kind == kind, "{url}: {trouble:?}");
        assert!(!trouble.text.contains("secret"), "{trouble}");
        assert!(trouble.hint.is_some(), "{trouble}");
    }
}
