//! Rights: each host logs in with a role of its own, which may call the functions of a worker for that host and nothing
//! else. The database enforces it; a worker is not asked.

use sqlx::{Connection as _, PgConnection};

use super::{
    fault::Fault,
    open::{Done, one_call},
};
use crate::model::trouble::{Kind, Trouble};

/// What a worker calls.
const FUNCTIONS: [&str; 12] = [
    "active(TEXT)",
    "latest()",
    "mine(TEXT)",
    "terms()",
    "claim(BIGINT, TEXT, TEXT, TEXT)",
    "baseline(TEXT, BIGINT, BIGINT, TEXT)",
    "heartbeat(TEXT, TEXT, TEXT, BIGINT[], BIGINT[], TEXT[])",
    "finish(TEXT, BIGINT, BIGINT, JSONB, TEXT, TEXT)",
    "later(TEXT, BIGINT, BIGINT, TEXT, TEXT, BIGINT, BOOLEAN, JSONB, TEXT, TEXT)",
    "recover(TEXT, TEXT)",
    "leave(TEXT, TEXT)",
    "publish(TEXT, BIGINT, TEXT, TEXT[], TEXT[], BOOLEAN[], TEXT[], TEXT[])",
];

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
    let quoted: String = sqlx::query_scalar("SELECT quote_ident($1)").bind(role).fetch_one(&mut *db).await?;
    let mut said = Vec::new();
    let known: Option<(bool, bool)> = sqlx::query_as(
        "SELECT rolsuper, pg_has_role(oid, (SELECT nspowner FROM pg_namespace WHERE nspname = 'trimtab'), 'MEMBER') \
         FROM pg_roles WHERE rolname = $1",
    )
    .bind(role)
    .fetch_optional(&mut *db)
    .await?;
    match known {
        // Who may do everything is kept from nothing by this.
        Some((true, _) | (_, true)) => {
            let text = format!(
                "role {role} is an operator of this store, or a superuser: it would stand for every host"
            );
            return Err(refused(text, "give the host a role of its own"));
        }
        Some(_) => said.push(format!("role {role} is there already")),
        None => {
            run(db, format!("CREATE ROLE {quoted} LOGIN")).await?;
            said.push(format!("created role {role}, without a password"));
        }
    }
    let other: Option<String> =
        sqlx::query_scalar("SELECT role FROM host_role WHERE host = $1 AND role <> $2")
            .bind(host)
            .bind(role)
            .fetch_optional(&mut *db)
            .await?;
    if let Some(other) = other {
        let hint = "take its row out of trimtab.host_role first, where that role is not used any more";
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
    transaction.commit().await?;
    said.push(format!("role {role} may work for host {host}, and for no other"));
    Ok(said)
}

/// `statement` has nothing in it but this file's words and a name that the database has quoted.
async fn run(db: &mut PgConnection, statement: String) -> Result<(), Fault> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(db).await?;
    Ok(())
}

fn refused(text: String, hint: &str) -> Fault {
    Fault::Told(Trouble::new(Kind::Usage, text).hint(hint))
}
