//! Who holds everybody up is named, and a host's role loses its session.

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::{
    rights::{both, of},
    *,
};

const HOLD: &str = "BEGIN; SELECT trimtab.heartbeat('h', 'w of h', '', '{}', '{}', '{}')";

/// A store with a short lease, set up by an operator who is no superuser, and the role of host `h`.
async fn store(has_rights: bool) -> (PgStore, PgConnection, String) {
    let url = server::database().await;
    let name = url.split(['/', '?']).nth(3).unwrap().to_owned();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let (operator, host) = (format!("{name}-op"), format!("{name}-h"));
    let made = format!(
        "CREATE ROLE \"{operator}\" LOGIN {}; ALTER DATABASE {name} OWNER TO \"{operator}\"",
        if has_rights { "CREATEROLE" } else { "" }
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(made)).execute(&mut admin).await.unwrap();
    if !has_rights {
        let make = format!("CREATE ROLE \"{host}\" LOGIN");
        sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut admin).await.unwrap();
    }
    let url = server::url(&operator, &name);
    init(&url, Terms { lease: Duration::from_secs(4) }).await.unwrap();
    let said = grant(&url, "h", &host).await.unwrap().said;
    let member =
        said.iter().find(|line| line.contains(&format!("GRANT \"{host}\" TO \"{operator}\""))).unwrap();
    assert_eq!(member.starts_with("for a superuser to do"), !has_rights, "{said:?}");
    assert!(said.iter().any(|line| line.contains("REVOKE TEMPORARY")), "{said:?}");
    (
        PgStore::open(&url).await.unwrap(),
        PgConnection::connect(&server::url(&host, &name)).await.unwrap(),
        host,
    )
}

#[tokio::test]
async fn a_hosts_session_that_does_not_end_is_ended() {
    let (store, mut thief, host) = store(true).await;
    let id = store.apply(&both()).await.unwrap();
    sqlx::raw_sql(HOLD).execute(&mut thief).await.unwrap();
    store.heartbeat(&of("other"), None, &[]).await.unwrap();
    assert!(sqlx::raw_sql("COMMIT").execute(&mut thief).await.is_err(), "its session is over");
    // Who looked has his answer a moment later.
    let mut told = None;
    for _ in 0..500 {
        told = store.events(id).await.unwrap().into_iter().find(|event| event.what == "held up");
        if told.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = told.unwrap();
    assert!(told.text.contains(&format!("role \"{host}\" held")), "{told:?}");
}

#[tokio::test]
async fn who_may_not_be_ended_is_named() {
    let (store, mut thief, host) = store(false).await;
    sqlx::raw_sql(HOLD).execute(&mut thief).await.unwrap();
    let refused = store.heartbeat(&of("other"), None, &[]).await.unwrap_err();
    assert!(refused.text.contains(&format!("role \"{host}\" (process ")), "{refused}");
    let hint = refused.hint.unwrap();
    assert!(
        hint.contains("SELECT pg_terminate_backend(")
            && hint.contains(&format!("ALTER ROLE \"{host}\" NOLOGIN")),
        "{hint}"
    );
    sqlx::raw_sql("COMMIT").execute(&mut thief).await.unwrap();
    store.heartbeat(&of("other"), None, &[]).await.unwrap();
}

#[tokio::test]
async fn an_operators_change_is_left_alone_and_named() {
    let (store, _, _) = store(true).await;
    let mut slow = store.ways.take().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT locked()").execute(&mut *slow).await.unwrap();
    let refused = store.heartbeat(&of("other"), None, &[]).await.unwrap_err();
    assert!(refused.text.contains("-op\" (process "), "{refused}");
    assert!(refused.hint.unwrap().contains("an operator's change takes as long as it takes"));
    sqlx::raw_sql("COMMIT").execute(&mut *slow).await.unwrap();
}

#[tokio::test]
async fn many_who_look_end_nobody_who_goes_on() {
    let (store, mut busy, _) = store(true).await;
    let look = async {
        for _ in 0..5 {
            let mut db = store.ways.options().connect().await.unwrap();
            let found: Option<i32> =
                sqlx::query_scalar("SELECT pid FROM unblock()").fetch_one(&mut db).await.unwrap();
            assert_eq!(found, None);
        }
    };
    let go_on = async {
        loop {
            let beat = HOLD.trim_start_matches("BEGIN; ");
            sqlx::raw_sql(beat).execute(&mut busy).await.unwrap();
        }
    };
    tokio::select! {
        () = look => {}
        () = go_on => {}
    }
}
