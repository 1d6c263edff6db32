//! Shuts a host out: its role may call nothing any more, and its sessions end. Where the host is gone for good, what it has
//! published is forgotten, too.

use sqlx::{Connection as _, PgConnection};

use super::{
    fault::Fault,
    grant::{FUNCTIONS, attempt, ident, refused, run},
    open::{Done, one_call},
    words::unsigned,
};
use crate::model::trouble::{Kind, Trouble};

/// Takes the rights of a host's role away, and ends its sessions; `forget`: also what the host has published, which takes
/// that it is silent for a lease. `host` is its machine id, or what it calls itself. Says what was done, in lines.
///
/// # Errors
/// The database does not answer, this role may not, there is no such host or several, or it is to be forgotten and is heard.
pub async fn revoke(url: &str, host: &str, forget: bool) -> Result<Done, Trouble> {
    one_call(url, "change the rights of", async |db| shut_out(db, host, forget).await).await
}

async fn shut_out(db: &mut PgConnection, said_host: &str, is_gone: bool) -> Result<Vec<String>, Fault> {
    let host = &known_as(db, said_host).await?;
    if is_gone {
        sees_silent(db, host).await?;
    }
    let mut said = take_rights(db, host).await?;
    if is_gone {
        said.extend(forget(db, host).await?);
    } else {
        let vms: i64 = sqlx::query_scalar("SELECT count(*) FROM published_vm WHERE host = $1 AND is_on")
            .bind(host)
            .fetch_one(&mut *db)
            .await?;
        if vms > 0 {
            said.push(format!(
                "VMs of its that are on, and count as users of their images: {vms}; --forget takes them out, once \
                 the host is gone for good"
            ));
        }
    }
    said.extend(waiting(db, host).await?);
    Ok(said)
}

/// The machine id of a host that this store knows in any way.
async fn known_as(db: &mut PgConnection, said: &str) -> Result<String, Fault> {
    let hosts: Vec<(String, bool)> = sqlx::query_as(
        "SELECT h.host, h.host = $1 FROM (SELECT host FROM host_role UNION SELECT host FROM published_host \
         UNION SELECT id FROM host) AS h LEFT JOIN published_host p ON p.host = h.host \
         WHERE h.host = $1 OR called(p.about) = $1 ORDER BY h.host",
    )
    .bind(said)
    .fetch_all(db)
    .await?;
    // A host may call itself as it likes, also by the machine id of another one.
    if hosts.iter().any(|(_, is_id)| *is_id) {
        return Ok(said.to_owned());
    }
    match hosts.as_slice() {
        [(host, _)] => Ok(host.clone()),
        [] => Err(refused(
            format!("this store knows no host {said}"),
            "its machine id, or its name: as in /etc/machine-id, or as campaign plan calls it",
        )),
        several => {
            let ids: Vec<&str> = several.iter().map(|(host, _)| host.as_str()).collect();
            let text = format!("{} hosts call themselves {said}: {}", ids.len(), ids.join(", "));
            Err(refused(text, "say which by its machine id"))
        }
    }
}

/// What a host that may be at work publishes is what keeps others from images that it uses.
async fn sees_silent(db: &mut PgConnection, host: &str) -> Result<(), Fault> {
    let (is_silent, lease): (bool, i64) =
        sqlx::query_as("SELECT is_silent($1, clock()), (SELECT lease FROM store)")
            .bind(host)
            .fetch_one(db)
            .await?;
    if is_silent {
        return Ok(());
    }
    let lease = unsigned(lease) / 1_000_000;
    let text = format!("host {host} was heard within the last {lease} s: it may be at work");
    let hint = format!("store revoke without --forget shuts it out now; with it {lease} s later");
    Err(Fault::Told(Trouble::new(Kind::Busy, text).hint(hint)))
}

async fn take_rights(db: &mut PgConnection, host: &str) -> Result<Vec<String>, Fault> {
    let mut transaction = db.begin().await?;
    let role: Option<String> = sqlx::query_scalar("DELETE FROM host_role WHERE host = $1 RETURNING role")
        .bind(host)
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(role) = role else {
        return Ok(vec![format!("no role stands for host {host}; an operator's still may")]);
    };
    let is_there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(&role)
        .fetch_one(&mut *transaction)
        .await?;
    let quoted = ident(&mut transaction, &role).await?;
    if is_there {
        for function in FUNCTIONS {
            run(&mut transaction, format!("REVOKE EXECUTE ON FUNCTION trimtab.{function} FROM {quoted}"))
                .await?;
        }
        run(&mut transaction, format!("REVOKE USAGE ON SCHEMA trimtab FROM {quoted}")).await?;
    }
    transaction.commit().await?;
    let mut said = vec![format!("role {role} may no longer work for host {host}")];
    if is_there {
        said.push(end_sessions(db, &role).await?);
        said.push(format!(
            "it may still log in, as every role of this server: ALTER ROLE {quoted} NOLOGIN, where nothing else uses it"
        ));
    }
    Ok(said)
}

/// Of this database's: what else the role is for is not this store's.
async fn end_sessions(db: &mut PgConnection, role: &str) -> Result<String, Fault> {
    let theirs = "FROM pg_stat_activity WHERE usename = $1 AND datname = current_database()";
    let sessions: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) {theirs}")))
        .bind(role)
        .fetch_one(&mut *db)
        .await?;
    if sessions == 0 {
        return Ok("it has no session here".to_owned());
    }
    let literal: String =
        sqlx::query_scalar("SELECT quote_literal($1)").bind(role).fetch_one(&mut *db).await?;
    let end = format!("SELECT pg_terminate_backend(pid) {}", theirs.replace("$1", &literal));
    let did = attempt(db, end.clone()).await?;
    Ok(if did == end { format!("ended its sessions here: {sessions}") } else { did })
}

/// Its VMs are for whoever says that they run there.
async fn forget(db: &mut PgConnection, host: &str) -> Result<Vec<String>, Fault> {
    let mut transaction = db.begin().await?;
    let now: i64 = sqlx::query_scalar("SELECT locked()").fetch_one(&mut *transaction).await?;
    let gone: Vec<(String, bool)> =
        sqlx::query_as("DELETE FROM published_vm WHERE host = $1 RETURNING uuid, has")
            .bind(host)
            .fetch_all(&mut *transaction)
            .await?;
    for statement in ["DELETE FROM published_host WHERE host = $1", "DELETE FROM host WHERE id = $1"] {
        sqlx::query(statement).bind(host).execute(&mut *transaction).await?;
    }
    let freed: Vec<&String> =
        gone.iter().filter(|(uuid, has)| *has && !uuid.is_empty()).map(|(uuid, _)| uuid).collect();
    sqlx::query("SELECT hand_over($1, $2, $3)")
        .bind(host)
        .bind(&freed)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(vec![format!("forgot its VMs, which keep nobody from an image any more: {}", gone.len())])
}

/// What its campaigns wait for.
async fn waiting(db: &mut PgConnection, host: &str) -> Result<Vec<String>, Fault> {
    let left: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT r.campaign, count(*) FROM run r JOIN campaign c ON c.id = r.campaign \
         WHERE r.host = $1 AND r.state IN ('waiting', 'running') AND c.ended IS NULL GROUP BY 1 ORDER BY 1",
    )
    .bind(host)
    .fetch_all(db)
    .await?;
    let line = |(campaign, runs)| {
        format!(
            "runs of campaign {campaign} that wait there until their VMs are elsewhere: {runs}; \
             trimtab campaign abort {campaign} ends them"
        )
    };
    Ok(left.into_iter().map(line).collect())
}
