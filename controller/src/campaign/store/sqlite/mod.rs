//! The store of one host: SQLite, in a file that nobody has to set up.
//!
//! Every change is one transaction that begins with the file's write lock (`BEGIN IMMEDIATE`), so what it counts stays true
//! until it is committed; a commit is on the disk (`synchronous = FULL`). Readers have a connection of their own and
//! never wait for a writer (write-ahead log). What decides is not here but in `room`, `hours`, `ramp` and `budget`.

#[path = "../sql/apply.rs"]
mod apply;
mod claim;
#[path = "../sql/close.rs"]
mod close;
mod end;
mod fault;
mod lease;
#[path = "../sql/look.rs"]
mod look;
mod names;
mod open;
#[path = "../sql/order.rs"]
mod order;
#[path = "../sql/read.rs"]
mod read;
mod settle;
#[path = "../sql/told.rs"]
mod told;
#[path = "../sql/words.rs"]
mod words;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use sqlx::{Connection as _, Sqlite, SqliteConnection, Transaction};
use tokio::sync::Mutex;

use self::fault::Fault;
use super::{Active, Claim, Claimant, Latest, NewCampaign, Order, Store};
use crate::{
    campaign::{
        account::{Event, RunRow, Status, Summary, VmRow},
        run::{Baseline, Claimed, Counted, Instruction, Later, RunResult},
    },
    model::trouble::Trouble,
};

/// What the sources of `../sql` speak to here: they are the same for every engine.
use sqlx::SqliteConnection as Connection;

/// Tells the time, in microseconds since 1970, UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How long one who writes waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Campaigns in an SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    clock: Clock,
    /// How long a writer waits for another one; `None` where it was opened to read.
    patience: Option<Duration>,
    /// A connection is given back by who has come to a good end with it. Otherwise the next one opens another: SQLite ends
    /// a transaction by itself when it fails (sqlite.org/lang_transaction.html), which the connection does not notice.
    writer: Mutex<Option<SqliteConnection>>,
    reader: Mutex<Option<open::Reader>>,
}

impl SqliteStore {
    /// Opens the store to change it; makes it where there is none, and brings an older one up to date.
    ///
    /// # Errors
    /// It cannot be opened or written, is damaged, is of a newer version, or is no store. It is left as it was.
    pub async fn open(path: &Path) -> Result<Self, Trouble> {
        Self::with_clock(path, Arc::new(|| Timestamp::now().as_microsecond())).await
    }

    /// Opens the store only to read it: no right to write is needed. Where there is none, it is one without campaigns.
    ///
    /// # Errors
    /// As for [`Self::open`]; and an older version, which only one who may write brings up to date.
    pub async fn open_to_read(path: &Path) -> Result<Self, Trouble> {
        let reader = open::Reader::open(path).await.map_err(|fault| fault.trouble(path, "read"))?;
        let clock: Clock = Arc::new(|| Timestamp::now().as_microsecond());
        Ok(Self {
            path: path.to_owned(),
            clock,
            patience: None,
            writer: Mutex::new(None),
            reader: Mutex::new(Some(reader)),
        })
    }

    /// Opens the store with a clock of the caller's: simulations and tests.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub async fn with_clock(path: &Path, clock: Clock) -> Result<Self, Trouble> {
        Self::patient(path, clock, PATIENCE).await
    }

    async fn patient(path: &Path, clock: Clock, patience: Duration) -> Result<Self, Trouble> {
        let opened = async {
            let writer = open::to_write(path, patience).await?;
            Ok::<_, Fault>((writer, open::Reader::open(path).await?))
        };
        let (writer, reader) = opened.await.map_err(|fault| fault.trouble(path, "open"))?;
        Ok(Self {
            path: path.to_owned(),
            clock,
            patience: Some(patience),
            writer: Mutex::new(Some(writer)),
            reader: Mutex::new(Some(reader)),
        })
    }

    /// Ends its connections in order, so that the log is folded into the file. A store that is only dropped loses nothing:
    /// who opens it next folds the log in.
    pub async fn close(self) {
        // The reader has changed nothing, and what the writer has committed is on the disk.
        if let Some(open::Reader::Live(reader)) = self.reader.into_inner() {
            let _ = reader.close().await;
        }
        if let Some(writer) = self.writer.into_inner() {
            let _ = writer.close().await;
        }
    }

    fn time(&self) -> i64 {
        (self.clock)()
    }

    /// One change: all of it or nothing. The time is read when the store's lock is held.
    async fn change<T>(
        &self,
        doing: &str,
        change: impl AsyncFnOnce(&mut Transaction<'_, Sqlite>, i64) -> Result<T, Fault>,
    ) -> Result<T, Trouble> {
        let changed = async {
            let patience = self.patience.ok_or(Fault::ReadOnly)?;
            let mut writer = self.writer.lock().await;
            let mut connection = match writer.take() {
                Some(connection) => connection,
                None => open::to_write(&self.path, patience).await?,
            };
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            let now = self.time();
            let answer = change(&mut transaction, now).await;
            let ended = match &answer {
                Ok(_) => transaction.commit().await,
                Err(_) => transaction.rollback().await,
            };
            if ended.is_ok() {
                *writer = Some(connection);
            }
            // What went wrong first is what the person must know.
            answer.and_then(|answer| Ok(ended.map(|()| answer)?))
        };
        changed.await.map_err(|fault: Fault| fault.trouble(&self.path, doing))
    }

    /// One look: what it reads is of one moment.
    async fn look<T>(
        &self,
        look: impl AsyncFnOnce(&mut SqliteConnection, i64) -> Result<T, Fault>,
    ) -> Result<T, Trouble> {
        let looked = async {
            let mut reader = self.reader.lock().await;
            let mut own = match reader.take() {
                Some(own) => own,
                None => open::Reader::open(&self.path).await?,
            };
            let mut transaction = own.connection().await?.begin().await?;
            let answer = look(&mut transaction, self.time()).await;
            if transaction.rollback().await.is_ok() {
                *reader = Some(own);
            }
            answer
        };
        looked.await.map_err(|fault: Fault| fault.trouble(&self.path, "read"))
    }
}

impl Store for SqliteStore {
    async fn now(&self) -> Result<Timestamp, Trouble> {
        words::time(self.time()).map_err(|fault| fault.trouble(&self.path, "read"))
    }

    async fn apply(&self, campaign: &NewCampaign) -> Result<i64, Trouble> {
        self.change("write", async |tx, now| apply::apply(tx, campaign, now).await).await
    }

    async fn list(&self) -> Result<Vec<Summary>, Trouble> {
        self.look(async |db, _| read::list(db).await).await
    }

    async fn active(&self, by: &Claimant) -> Result<Vec<Active>, Trouble> {
        self.look(async |db, _| claim::active(db, by).await).await
    }

    async fn status(&self, campaign: i64) -> Result<Status, Trouble> {
        self.look(async |db, now| read::status(db, campaign, now).await).await
    }

    async fn runs(&self, campaign: i64) -> Result<Vec<RunRow>, Trouble> {
        self.look(async |db, _| read::runs(db, campaign).await).await
    }

    async fn events(&self, campaign: i64) -> Result<Vec<Event>, Trouble> {
        self.look(async |db, _| read::events(db, campaign).await).await
    }

    async fn vms(&self) -> Result<Vec<VmRow>, Trouble> {
        self.look(async |db, _| read::vms(db).await).await
    }

    async fn latest(&self) -> Result<Latest, Trouble> {
        let newest = "SELECT coalesce(max(id), 0) FROM event";
        self.look(async |db, _| {
            Ok(Latest { newest: sqlx::query_scalar(newest).fetch_one(db).await?, workers: 1 })
        })
        .await
    }

    async fn order(&self, campaign: i64, order: &Order, who: &str) -> Result<Summary, Trouble> {
        self.change("write", async |tx, now| order::order(tx, campaign, order, who, now).await).await
    }

    async fn claim(&self, campaign: i64, by: &Claimant) -> Result<Claim, Trouble> {
        self.change("write", async |tx, now| claim::claim(tx, campaign, by, now).await).await
    }

    async fn baseline(&self, claimed: &Claimed, baseline: &Baseline) -> Result<Instruction, Trouble> {
        self.change("write", async |tx, now| lease::baseline(tx, claimed, baseline, now).await).await
    }

    async fn heartbeat(
        &self,
        by: &Claimant,
        held: Option<&str>,
        stages: &[(i64, u64, String)],
    ) -> Result<Vec<(i64, Instruction)>, Trouble> {
        self.change("write", async |tx, now| lease::heartbeat(tx, by, held, stages, now).await).await
    }

    async fn finish(&self, claimed: &Claimed, result: &RunResult) -> Result<Counted, Trouble> {
        self.change("write", async |tx, now| end::finish(tx, claimed, result, now).await).await
    }

    async fn later(&self, claimed: &Claimed, later: &Later) -> Result<Counted, Trouble> {
        self.change("write", async |tx, now| end::later(tx, claimed, later, now).await).await
    }

    async fn recover(&self, by: &Claimant) -> Result<u32, Trouble> {
        self.change("write", async |tx, now| lease::recover(tx, by, now).await).await
    }

    async fn leave(&self, _: &Claimant) -> Result<(), Trouble> {
        Ok(())
    }

    /// One worker per host, by a lock on the file's folder.
    fn lease(&self) -> Option<Duration> {
        None
    }
}
