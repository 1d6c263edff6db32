//! Opening the file: whose it is, which version, who may what.
//!
//! Nothing is written before it is known that the file is ours and not of a newer trimtab. A reader without the right to
//! write takes the file as it is (`immutable`) where no write-ahead log lies beside it: SQLite would have to make one.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};

use super::{PATIENCE, fault::Fault};
use crate::campaign::handed;

/// Each version's changes, from the first on.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001.sql")];

/// What this trimtab reads and writes.
pub(super) fn version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Opens to write: makes what is missing.
pub(super) async fn to_write(path: &Path, patience: Duration) -> Result<SqliteConnection, Fault> {
    if let Some(folder) = path.parent()
        && !folder.as_os_str().is_empty()
    {
        tokio::fs::create_dir_all(folder).await.map_err(Fault::Io)?;
    }
    let new = path.to_owned();
    // It may be there, and what cannot be made SQLite finds words for.
    let _ = tokio::task::spawn_blocking(move || handed::make(&new).map(drop)).await;
    let options = options(path).busy_timeout(patience).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let found = found(&mut connection).await?;
    // Only now: both may write to the file.
    sqlx::query("PRAGMA journal_mode = WAL").execute(&mut connection).await?;
    // Who finds it up to date waits for nobody: its worker may be stopped in the middle of a write.
    if found < version() {
        migrate(&mut connection).await?;
    }
    Ok(connection)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE).synchronous(SqliteSynchronous::Full)
}

/// The version of the store in this file; 0: an empty file.
async fn found(connection: &mut SqliteConnection) -> Result<i64, Fault> {
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *connection).await?;
    if tables == 0 {
        return Ok(0);
    }
    let ours =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('store', 'campaign', 'run')";
    let ours: i64 = sqlx::query_scalar(ours).fetch_one(&mut *connection).await?;
    if ours != 3 {
        return Err(Fault::Foreign);
    }
    let found: i64 = sqlx::query_scalar("SELECT version FROM store").fetch_one(connection).await?;
    if found > version() { Err(Fault::Newer(found)) } else { Ok(found) }
}

/// Brings the tables up to date, in one transaction.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), Fault> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    // Somebody else may have done it meanwhile.
    let found = found(&mut transaction).await?;
    let missing = usize::try_from(found).unwrap_or(usize::MAX);
    if found == version() {
        transaction.rollback().await?;
        return Ok(());
    }
    for step in MIGRATIONS.iter().skip(missing) {
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
    }
    let now = "INSERT INTO store (one, version) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET version = $1";
    sqlx::query(now).bind(version()).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// A connection that only reads.
pub(super) enum Reader {
    /// It sees each commit at once.
    Live(SqliteConnection),
    /// Opened anew for each look, as long as nobody writes.
    Still {
        /// The file.
        path: PathBuf,
        /// The last look's.
        connection: Option<SqliteConnection>,
    },
}

impl Reader {
    /// Opens it, and sees that this trimtab can read it. Where there is no file, the store is empty.
    pub(super) async fn open(path: &Path) -> Result<Self, Fault> {
        match tokio::fs::metadata(path).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
                migrate(&mut connection).await?;
                return Ok(Self::Live(connection));
            }
            Err(error) => return Err(Fault::Io(error)),
            Ok(_) => {}
        }
        match live(path).await {
            Ok(connection) => Ok(Self::Live(connection)),
            // No log lies beside it, and this user cannot make one.
            Err(Fault::Sql(error)) if may_not(&error) && !has_log(path).await => {
                let mut reader = Self::Still { path: path.to_owned(), connection: None };
                readable(reader.connection().await?).await?;
                Ok(reader)
            }
            Err(fault) => Err(fault),
        }
    }

    /// The connection for one look.
    pub(super) async fn connection(&mut self) -> Result<&mut SqliteConnection, Fault> {
        match self {
            Self::Live(connection) => Ok(connection),
            Self::Still { path, connection } => {
                let options = reading(path).immutable(!has_log(path).await);
                Ok(connection.insert(SqliteConnection::connect_with(&options).await?))
            }
        }
    }
}

fn reading(path: &Path) -> SqliteConnectOptions {
    options(path).read_only(true)
}

async fn live(path: &Path) -> Result<SqliteConnection, Fault> {
    let mut connection = SqliteConnection::connect_with(&reading(path)).await?;
    readable(&mut connection).await?;
    Ok(connection)
}

async fn readable(connection: &mut SqliteConnection) -> Result<(), Fault> {
    match found(connection).await? {
        found if found == version() => Ok(()),
        found => Err(Fault::Older(found)),
    }
}

fn may_not(error: &sqlx::Error) -> bool {
    matches!(Fault::code(error), Some(3 | 8 | 14))
}

async fn has_log(path: &Path) -> bool {
    let mut log = OsString::from(path);
    log.push("-wal");
    tokio::fs::metadata(log).await.is_ok_and(|log| log.len() > 0)
}
