//! The database: how it is reached, which version its store has, and how one is set up.

use std::time::Duration;

use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    fault::Fault,
    words::{micros, unsigned},
};
use crate::model::trouble::{Kind, Trouble};

/// Each version's changes, from the first on.
const MIGRATIONS: [&[&str]; 1] = [&[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0001-publish.sql"),
    include_str!("migrations/0001-worker.sql"),
]];

/// For a connection, and for whoever waits for one.
const PATIENCE: Duration = Duration::from_secs(10);
/// A worker's calls are short; fifty workers are to fit beside what else uses the server.
const CONNECTIONS: u32 = 2;

/// What a store is set up with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// A worker that is silent for so long has lost its runs.
    pub lease: Duration,
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

/// The database of a URL, and how it is shown: without a password.
pub(super) fn options(url: &str) -> Result<(PgConnectOptions, String), Trouble> {
    let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| {
        // Never the URL itself: it may hold a password.
        Trouble::new(Kind::Usage, format!("this is no URL of a PostgreSQL database: {error}"))
            .hint("--store postgres://ROLE@HOST/DATABASE?sslmode=verify-full")
    })?;
    let shown = format!(
        "postgres://{}@{}:{}/{}",
        options.get_username(),
        options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string()),
        options.get_port(),
        options.get_database().unwrap_or(options.get_username()),
    );
    let options = options.application_name("trimtab").options([
        ("search_path", "trimtab,pg_temp"),
        ("statement_timeout", "60s"),
        ("idle_in_transaction_session_timeout", "60s"),
    ]);
    Ok((options, shown))
}

/// A few connections, made when they are needed.
pub(super) fn pool(url: &str) -> Result<(PgPool, String), Trouble> {
    let (options, shown) = options(url)?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .idle_timeout(Duration::from_secs(300))
        .connect_lazy_with(options);
    Ok((pool, shown))
}

/// How long a lease is there; sees that the store is of this version.
pub(super) async fn lease(pool: &PgPool) -> Result<Duration, Fault> {
    let (lease, found): (i64, i64) =
        sqlx::query_as("SELECT lease, version FROM terms()").fetch_one(pool).await?;
    match found {
        found if found > version() => Err(Fault::Newer(found)),
        found if found < version() => Err(Fault::Older(found)),
        _ => Ok(Duration::from_micros(unsigned(lease))),
    }
}

/// Sets a store up in a database, or brings an older one up to date; says what it did, in lines.
///
/// # Errors
/// As for [`super::PgStore::open`]; or this role may not create a schema there.
pub async fn init(url: &str, terms: Terms) -> Result<Vec<String>, Trouble> {
    let (options, shown) = options(url)?;
    let done = async {
        let mut connection = PgConnection::connect_with(&options).await?;
        let said = set_up(&mut connection, terms).await?;
        connection.close().await?;
        Ok(said)
    };
    done.await.map_err(|fault: Fault| fault.trouble(&shown, "set up"))
}

async fn set_up(connection: &mut PgConnection, terms: Terms) -> Result<Vec<String>, Fault> {
    let mut transaction = connection.begin().await?;
    // One at a time; the number is this program's own.
    sqlx::query("SELECT pg_advisory_xact_lock(874001)").execute(&mut *transaction).await?;
    let has_schema: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'trimtab')")
            .fetch_one(&mut *transaction)
            .await?;
    let found: i64 = match has_schema {
        true => sqlx::query_scalar("SELECT version FROM store").fetch_one(&mut *transaction).await?,
        false => 0,
    };
    if found > version() {
        return Err(Fault::Newer(found));
    }
    let mut said = Vec::new();
    if !has_schema {
        sqlx::query("CREATE SCHEMA trimtab").execute(&mut *transaction).await?;
        said.push("created the schema trimtab".to_owned());
    }
    for (number, steps) in (1_i64..).zip(MIGRATIONS).skip_while(|(number, _)| *number <= found) {
        for step in steps {
            sqlx::raw_sql(*step).execute(&mut *transaction).await?;
        }
        said.push(format!("made its tables and functions, version {number}"));
    }
    sqlx::query(
        "INSERT INTO store (one, version, lease) VALUES (1, $1, $2) \
         ON CONFLICT (one) DO UPDATE SET version = excluded.version, lease = excluded.lease",
    )
    .bind(version())
    .bind(micros(terms.lease))
    .execute(&mut *transaction)
    .await?;
    said.push(format!("a worker that is silent for {} s has lost its runs", terms.lease.as_secs()));
    transaction.commit().await?;
    Ok(said)
}
