//! Who holds everybody up. A call that waits for long has somebody look, over a connection of his own, who has the store's
//! lock; the database ends the session of a host's role itself (`migrations/0001-held.sql`), and the call goes on.
//!
//! ```text
//! call ──answer──────────────────────────────────────────> answer
//!   └─ a few seconds ─> look ─ a host's: ended ─> the call has the lock now
//!                         └── anybody else's ──> look again; who it was is said when the call is given up
//! ```

use std::{future::Future, time::Duration};

use sqlx::{ConnectOptions, Connection as _, FromRow};
use tokio::time::sleep;

use super::{PgStore, fault::Fault};

/// Calls are answered in milliseconds; a campaign of thousands of VMs is taken on in seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who has had the store's lock in one transaction for seconds.
#[derive(Clone, PartialEq, Eq, Debug, FromRow)]
pub(super) struct Holder {
    /// The server's process; `None`: a prepared transaction, which has none.
    pub(super) pid: Option<i32>,
    /// Its role.
    pub(super) role: Option<String>,
    /// The prepared transaction's name.
    pub(super) prepared: Option<String>,
    /// Its session was ended, or the store's owner may not; `None`: it is no host's role, and was left alone.
    pub(super) ended: Option<bool>,
}

/// Waits for a call, which takes `limit` at most, and looks meanwhile who holds it up.
pub(super) async fn watched<T>(
    store: &PgStore,
    limit: Duration,
    call: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let patience =
        PATIENCE.min(limit.checked_mul(3).and_then(|three| three.checked_div(10)).unwrap_or(PATIENCE));
    let mut holder = None;
    tokio::pin!(call);
    loop {
        let look = async {
            sleep(patience).await;
            // One at a time looks: connections are few.
            match store.looks.try_lock() {
                Ok(_looks) => look(store).await.ok().flatten(),
                Err(_) => None,
            }
        };
        tokio::select! {
            biased;
            answer = &mut call => return answer.map_err(|fault| match (fault.is_a_wait(), holder) {
                (true, Some(holder)) => Fault::Held(holder),
                _ => fault,
            }),
            found = look => holder = found.or(holder),
        }
    }
}

async fn look(store: &PgStore) -> Result<Option<Holder>, Fault> {
    let mut db = store.ways.options().connect().await?;
    store.at_its_time(&mut db).await?;
    let found: Holder =
        sqlx::query_as("SELECT pid, role, prepared, ended FROM unblock()").fetch_one(&mut db).await?;
    db.close().await?;
    Ok((found.pid.is_some() || found.prepared.is_some()).then_some(found))
}

impl Holder {
    /// What holds the store, and what to do about it, as SQL that is safe to paste.
    pub(super) fn told(&self) -> (String, String) {
        let role =
            self.role.as_deref().and_then(|role| quoted(role, '"')).unwrap_or_else(|| "ROLE".to_owned());
        let what = match (self.pid, &self.prepared) {
            (Some(pid), _) => format!("role {role} (process {pid} of the server) holds its lock"),
            (None, _) => format!("a prepared transaction of role {role} holds its lock"),
        };
        let bar = format!("if it goes on: ALTER ROLE {role} NOLOGIN");
        let hint = match (self.pid, self.ended) {
            (None, _) => {
                let name = self.prepared.as_deref().and_then(|name| quoted(name, '\''));
                format!(
                    "in psql, as a superuser: ROLLBACK PREPARED {}",
                    name.unwrap_or_else(|| "'NAME'".to_owned())
                )
            }
            (Some(_), Some(true)) => format!("its session was ended; {bar}"),
            (Some(pid), Some(false)) => {
                format!("in psql, as a superuser: SELECT pg_terminate_backend({pid}); {bar}")
            }
            (Some(pid), None) => format!(
                "an operator's change takes as long as it takes; one that hangs ends by, in psql: \
                 SELECT pg_terminate_backend({pid})"
            ),
        };
        (what, hint)
    }
}

/// A name in SQL's quotes; `None` where it has what no line to paste should have.
fn quoted(name: &str, mark: char) -> Option<String> {
    let is_plain = crate::guest::text::safe_within(name, usize::MAX) == name && !name.contains('\\');
    is_plain.then(|| format!("{mark}{}{mark}", name.replace(mark, &format!("{mark}{mark}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who_and_what_to_do() {
        let holder =
            |role: &str, ended| Holder { pid: Some(7), role: Some(role.into()), prepared: None, ended };
        for (holder, what, hint) in [
            (
                holder("a", Some(true)),
                "role \"a\" (process 7",
                "was ended; if it goes on: ALTER ROLE \"a\" NOLOGIN",
            ),
            (
                holder("a\"; x", Some(false)),
                "role \"a\"\"; x\" ",
                "pg_terminate_backend(7); if it goes on: ALTER ROLE \"a\"\"; x\" NOLOGIN",
            ),
            (holder("a\n\\! rm", Some(false)), "role ROLE ", "ALTER ROLE ROLE NOLOGIN"),
            (holder("op", None), "role \"op\" ", "takes as long as it takes"),
            (
                Holder { pid: None, prepared: Some("it's".into()), ..holder("a", None) },
                "a prepared transaction of role \"a\"",
                "ROLLBACK PREPARED 'it''s'",
            ),
        ] {
            let told = holder.told();
            assert!(told.0.contains(what) && told.1.contains(hint), "{told:?}");
        }
    }
}
