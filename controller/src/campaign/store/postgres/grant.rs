//! Rights: each host logs in with a role of its own, which may call the functions of a worker for that host and nothing
//! else. The database enforces it; a worker is not asked.

use sqlx::{Connection as _, PgConnection};

use super::{
    fault::{Fault, state},
    open::{Done, one_call},
};
use crate::model::trouble::{Kind, Trouble};

/// What a worker calls.
pub(super) const FUNCTIONS: [&str; 14] = [
    "active(TEXT)",
    "latest()",
    "mine(TEXT)",
    "terms()",
    "claim(BIGINT, TEXT, TEXT, TEXT)",
    "baseline(TEXT, BIGINT, BIGINT, TEXT)",
    "used_elsewhere(TEXT, BIGINT, TEXT[])",
    "heartbeat(TEXT, TEXT, TEXT, BIGINT[], BIGINT[], TEXT[])",
    "finish(TEXT, BIGINT, BIGINT, TEXT)",
    "later(TEXT, BIGINT, BIGINT, TEXT, TEXT, BIGINT, BOOLEAN, TEXT)",
    "recover(TEXT, TEXT)",
    "leave(TEXT, TEXT)",
    "unblock()",
    "publish(TEXT, BIGINT, TEXT, TEXT[], TEXT[], BOOLEAN[], TEXT[], TEXT[])",
];

/// Two for a worker, those of calls that it has given up, and one to look who holds it up.
const CONNECTIONS: u32 = 16;

/// Makes `role` stand for the host with this machine id, and for no other; makes the role where there is none, without a
/// password. Says what it did, in lines.
///
/// # Errors
/// The database does not answer, this role may not, the host is another role's, or the role has rights of its own.
pub async fn grant(url: &str, host: &str, role: &str) -> Result<Done, Trouble> {
    one_call(url, "change the rights of", async |db| give(db, host, role).await).await
}

async fn give(connection: &mut PgConnection, host: &str, role: &str) -> Result<Vec<String>, Fault> {
    if host.is_empty() || host.contains(char::is_control) {
        return Err(refused(format!("{host:?} is no machine id"), "cat /etc/machine-id on the host"));
    }
    let mut transaction = connection.begin().await?;
    let db = &mut *transaction;
    let quoted = ident(db, role).await?;
    let mut said = Vec::new();
    match known(db, role).await? {
        // Who may do everything is kept from nothing by this.
        Some(Known { more: Some(more), .. }) => {
            let text = format!("role {role} {more}: it would stand for every host");
            return Err(refused(text, "give the host a role of its own"));
        }
        Some(Known { connections, .. }) => {
            said.push(format!("role {role} is there already"));
            if connections < 0 {
                let limit = format!("ALTER ROLE {quoted} CONNECTION LIMIT {CONNECTIONS}");
                said.push(attempt(db, limit).await?);
            }
        }
        None => {
            run(db, format!("CREATE ROLE {quoted} LOGIN CONNECTION LIMIT {CONNECTIONS}")).await?;
            said.push(format!(
                "created role {role}, without a password, for at most {CONNECTIONS} connections"
            ));
        }
    }
    let other: Option<String> =
        sqlx::query_scalar("SELECT role FROM host_role WHERE host = $1 AND role <> $2")
            .bind(host)
            .bind(role)
            .fetch_optional(&mut *db)
            .await?;
    if let Some(other) = other {
        let hint = "trimtab store revoke shuts that role out";
        return Err(refused(format!("host {host} is role {other}'s"), hint));
    }
    sqlx::query(
        "INSERT INTO host_role (role, host) VALUES ($1, $2) ON CONFLICT (role) DO UPDATE SET host = excluded.host",
    )
    .bind(role)
    .bind(host)
    .execute(&mut *db)
    .await?;
    run(db, format!("GRANT USAGE ON SCHEMA trimtab TO {quoted}")).await?;
    for function in FUNCTIONS {
        run(db, format!("GRANT EXECUTE ON FUNCTION trimtab.{function} TO {quoted}")).await?;
    }
    said.extend(beside(db, role, &quoted).await?);
    transaction.commit().await?;
    said.push(format!("role {role} may work for host {host}, and for no other"));
    Ok(said)
}

/// What a role has that is there.
#[derive(sqlx::FromRow)]
struct Known {
    /// Why it would not be kept to its host.
    more: Option<String>,
    /// How many it may have at a time; below 0: as many as there are.
    connections: i32,
}

async fn known(db: &mut PgConnection, role: &str) -> Result<Option<Known>, Fault> {
    // Below 16, who may make roles may make himself a member of any.
    let known = sqlx::query_as(
        "SELECT rolconnlimit AS connections, CASE \
         WHEN rolsuper THEN 'is a superuser' \
         WHEN pg_has_role(oid, (SELECT nspowner FROM pg_namespace WHERE nspname = 'trimtab'), 'MEMBER') \
         THEN 'is an operator of this store' \
         WHEN EXISTS (SELECT FROM pg_roles g WHERE pg_has_role(r.oid, g.oid, 'MEMBER') \
         AND (g.rolsuper OR g.rolcreaterole OR g.rolreplication OR g.rolname ~ '^pg_')) \
         THEN 'may make roles, replicate, or is a member of a role with rights over the server' END AS more \
         FROM pg_roles r WHERE rolname = $1",
    )
    .bind(role)
    .fetch_optional(db)
    .await?;
    Ok(known)
}

/// What a host's role needs beside its functions, and what everybody may in this database that it had better not.
async fn beside(db: &mut PgConnection, role: &str, quoted: &str) -> Result<Vec<String>, Fault> {
    let mut said = Vec::new();
    let (owner, is_super, server, database): (String, bool, i32, String) = sqlx::query_as(
        "SELECT o.rolname::TEXT, o.rolsuper, current_setting('server_version_num')::INT, current_database()::TEXT \
         FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner WHERE n.nspname = 'trimtab'",
    )
    .fetch_one(&mut *db)
    .await?;
    let (owner, database) = (ident(db, &owner).await?, ident(db, &database).await?);
    // That takes the rights of the role whose session it is; a superuser has them.
    if !is_super {
        let only = if server >= 160_000 { " WITH INHERIT TRUE, SET FALSE" } else { "" };
        let line = attempt(db, format!("GRANT {quoted} TO {owner}{only}")).await?;
        said.push(format!("{line}, so that the store ends its session where it holds up all others"));
    }
    let (may_connect, may_create, may_fill): (bool, bool, bool) = sqlx::query_as(
        "SELECT has_database_privilege($1, current_database(), 'CONNECT'), \
         EXISTS (SELECT FROM pg_namespace WHERE nspname = 'public' AND has_schema_privilege($1, oid, 'CREATE')), \
         has_database_privilege($1, current_database(), 'TEMPORARY')",
    )
    .bind(role)
    .fetch_one(&mut *db)
    .await?;
    if !may_connect {
        said.push(attempt(db, format!("GRANT CONNECT ON DATABASE {database} TO {quoted}")).await?);
    }
    if may_create {
        said.push(
            "everybody may create in schema public here: REVOKE CREATE ON SCHEMA public FROM PUBLIC"
                .to_owned(),
        );
    }
    if may_fill {
        said.push(format!(
            "everybody may make temporary tables here: REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"
        ));
    }
    Ok(said)
}

/// Does what this role may not have the right to; then somebody else is to.
pub(super) async fn attempt(db: &mut PgConnection, statement: String) -> Result<String, Fault> {
    let mut inner = db.begin().await?;
    match run(&mut inner, statement.clone()).await {
        Ok(()) => {
            inner.commit().await?;
            Ok(statement)
        }
        // insufficient_privilege
        Err(Fault::Sql(error)) if state(&error).as_deref() == Some("42501") => {
            inner.rollback().await?;
            Ok(format!("for a superuser to do: {statement}"))
        }
        Err(fault) => Err(fault),
    }
}

pub(super) async fn ident(db: &mut PgConnection, name: &str) -> Result<String, Fault> {
    Ok(sqlx::query_scalar("SELECT quote_ident($1)").bind(name).fetch_one(db).await?)
}

/// `statement` has nothing in it but this file's words and a name that the database has quoted.
pub(super) async fn run(db: &mut PgConnection, statement: String) -> Result<(), Fault> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(db).await?;
    Ok(())
}

pub(super) fn refused(text: String, hint: &str) -> Fault {
    Fault::Told(Trouble::new(Kind::Usage, text).hint(hint))
}
