//! The database: how it is reached, which version its store has, and how one is set up.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

use super::{
    fault::Fault,
    url::DatabaseUrl,
    ways::Ways,
    words::{micros, unsigned},
};
use crate::model::trouble::{Kind, Trouble};

/// Each version's changes, from the first on.
const MIGRATIONS: [&[&str]; 1] = [&[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0001-said.sql"),
    include_str!("migrations/0001-publish.sql"),
    include_str!("migrations/0001-worker.sql"),
    include_str!("migrations/0001-held.sql"),
]];

/// For all that setting up takes: longer than a statement may take there.
pub(super) const PATIENCE: Duration = Duration::from_secs(65);

/// What a store is set up with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// A worker that is silent for so long has lost its runs.
    pub lease: Duration,
}

/// What an operator's call has done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// The database, without a password.
    pub store: String,
    /// What was done, one a line.
    pub said: Vec<String>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { lease: Duration::from_secs(60) }
    }
}

/// What this trimtab reads and writes.
fn version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// How the database of a URL is reached, and how it is shown: without a password.
pub(super) fn options(url: &str) -> Result<(PgConnectOptions, String), Trouble> {
    let (options, shown) = url.parse::<DatabaseUrl>()?.options()?;
    let options = options.application_name("trimtab").options([
        ("search_path", "trimtab,pg_temp"),
        ("statement_timeout", "60s"),
        // Whoever asked is gone by then; what waits for him is not to fill the server.
        ("lock_timeout", "12s"),
        ("idle_in_transaction_session_timeout", "60s"),
        // `locked()` refuses another one than the store's.
        ("trimtab.version", &version().to_string()),
    ]);
    Ok((options, shown))
}

/// How long a lease is there; sees that the store is of this version.
pub(super) async fn lease(db: &mut PgConnection) -> Result<Duration, Fault> {
    let (lease, found): (i64, i64) =
        sqlx::query_as("SELECT lease, version FROM terms()").fetch_one(db).await?;
    match found {
        found if found > version() => Err(Fault::Newer(found)),
        found if found < version() => Err(Fault::Older(found)),
        _ => Ok(Duration::from_micros(unsigned(lease))),
    }
}

/// Sets a store up in a database, or brings an older one up to date; says what it did, in lines. Without terms it keeps
/// those that it has.
///
/// # Errors
/// As for [`super::PgStore::open`]; or this role may not create a schema there.
pub async fn init(url: &str, terms: impl Into<Option<Terms>>) -> Result<Done, Trouble> {
    let terms = terms.into();
    one_call(url, "set up", async |db| set_up(db, terms).await).await
}

/// One call of an operator's, over a connection of its own.
pub(super) async fn one_call(
    url: &str,
    doing: &str,
    call: impl AsyncFnOnce(&mut PgConnection) -> Result<Vec<String>, Fault>,
) -> Result<Done, Trouble> {
    let (options, store) = options(url)?;
    let ways = Ways::new(options);
    let said = ways.call(PATIENCE, call).await.map_err(|fault| fault.trouble(&store, doing));
    ways.close().await;
    Ok(Done { said: said?, store })
}

async fn set_up(connection: &mut PgConnection, terms: Option<Terms>) -> Result<Vec<String>, Fault> {
    let mut transaction = connection.begin().await?;
    let (encoding, mut owner) = looked(&mut transaction).await?;
    if encoding != "UTF8" {
        let text = format!("the database is in {encoding}: texts of guests are in UTF-8");
        let hint = "createdb --encoding UTF8 --template template0 makes another one";
        return Err(Fault::Told(Trouble::new(Kind::Usage, text).hint(hint)));
    }
    if owner.is_none() {
        // One at a time; the number is this program's own. Where there is a store its row tells the order: whoever may
        // connect may take this lock.
        sqlx::query("SELECT pg_advisory_xact_lock(874001)").execute(&mut *transaction).await?;
        owner = looked(&mut transaction).await?.1;
    }
    let found: i64 = match owner {
        Some((_, true)) => {
            sqlx::query_scalar("SELECT version FROM store FOR UPDATE").fetch_one(&mut *transaction).await?
        }
        // Nothing of theirs is read: it could be anything.
        Some((owner, false)) => {
            let text = format!("the schema trimtab is there, and is role {owner}'s");
            let hint = "as an operator: a member of the role that owns it";
            return Err(Fault::Told(Trouble::new(Kind::NoPermission, text).hint(hint)));
        }
        None => 0,
    };
    if found > version() {
        return Err(Fault::Newer(found));
    }
    let mut said = Vec::new();
    if found == 0 {
        sqlx::query("CREATE SCHEMA trimtab").execute(&mut *transaction).await?;
        said.push("created the schema trimtab".to_owned());
    }
    for (number, steps) in (1_i64..).zip(MIGRATIONS).skip_while(|(number, _)| *number <= found) {
        for step in steps {
            sqlx::raw_sql(*step).execute(&mut *transaction).await?;
        }
        said.push(format!("made its tables and functions, version {number}"));
    }
    let lease: i64 = sqlx::query_scalar(
        "INSERT INTO store (one, version, lease) VALUES (1, $1, coalesce($2, $3)) \
         ON CONFLICT (one) DO UPDATE SET version = excluded.version, lease = coalesce($2, store.lease) \
         RETURNING lease",
    )
    .bind(version())
    .bind(terms.map(|terms| micros(terms.lease)))
    .bind(micros(Terms::default().lease))
    .fetch_one(&mut *transaction)
    .await?;
    let lease = Duration::from_micros(unsigned(lease));
    said.push(format!("a worker that is silent for {} s has lost its runs", lease.as_secs()));
    transaction.commit().await?;
    Ok(said)
}

/// The database's encoding; and whose the schema is, where there is one, and whether that is ours.
async fn looked(db: &mut PgConnection) -> Result<(String, Option<(String, bool)>), Fault> {
    let encoding =
        sqlx::query_scalar("SELECT current_setting('server_encoding')").fetch_one(&mut *db).await?;
    let owner = sqlx::query_as(
        "SELECT pg_get_userbyid(nspowner)::TEXT, pg_has_role(nspowner, 'MEMBER') FROM pg_namespace \
         WHERE nspname = 'trimtab'",
    );
    Ok((encoding, owner.fetch_optional(db).await?))
}
