//! The store of a fleet: PostgreSQL, that its operators already run.
//!
//! Operators write tables, by the sources that SQLite's store has too (`../sql`). A worker calls functions alone, which act
//! for the host that its role stands for (`migrations/0001-worker.sql`): a host that was broken into touches no other
//! host's runs. Each change takes the store's lock and reads the database's clock after that; no other clock is compared
//! with it.

#![allow(
    clippy::duplicate_mod,
    reason = "what lies in sql is compiled once for each engine, with its connection"
)]

#[path = "../sql/apply.rs"]
mod apply;
#[path = "../sql/close.rs"]
mod close;
mod fault;
mod fit;
mod grant;
mod held;
#[path = "../sql/look.rs"]
mod look;
mod names;
mod open;
#[path = "../sql/order.rs"]
mod order;
mod publish;
#[path = "../sql/read.rs"]
mod read;
mod revoke;
mod sound;
#[path = "../sql/told.rs"]
mod told;
pub mod url;
mod ways;
#[path = "../sql/words.rs"]
mod words;
mod work;

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use self::{fault::Fault, ways::Ways};
use super::{
    Active, Claim, Claimant, Latest, NewCampaign, Order, Store,
    fleet::{Fleet, News, PublishedHost},
};
use crate::{
    campaign::{
        account::{Event, Figures, RunRow, Status, Summary, VmRow},
        run::{Baseline, Claimed, Counted, Instruction, Later, RunResult},
    },
    model::trouble::Trouble,
};
pub use grant::grant;
pub use open::{Done, Terms, init};
pub use revoke::revoke;

/// What the sources of `../sql` speak to here: they are the same for every engine.
use sqlx::PgConnection as Connection;

/// For a worker's call, and for its connection.
const LIMIT: Duration = Duration::from_secs(10);
/// Where a lease is very short.
const LEAST: Duration = Duration::from_secs(1);

/// Tells the time to a database whose `clock()` was replaced: simulations and tests.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Campaigns in a PostgreSQL database.
pub struct PgStore {
    ways: Ways,
    /// The database, without a password.
    shown: String,
    lease: Duration,
    clock: Option<Clock>,
    /// The epoch of the server that has been told again what another one may have lost.
    told: AtomicU64,
    /// Somebody looks who holds the store's lock.
    looks: tokio::sync::Mutex<()>,
}

impl PgStore {
    /// Connects, and sees that the store there is one that this trimtab can use.
    ///
    /// # Errors
    /// The URL makes no sense, the database does not answer or lets nobody in, or it has no store of this version.
    pub async fn open(url: &str) -> Result<Self, Trouble> {
        Self::with_clock(url, None).await
    }

    /// Connects to a store whose clock is the caller's.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub async fn with_clock(url: &str, clock: Option<Clock>) -> Result<Self, Trouble> {
        let (options, shown) = open::options(url)?;
        let ways = Ways::new(options);
        let lease = ways.call(LIMIT, async |db| open::lease(db).await).await;
        let lease = lease.map_err(|fault| fault.trouble(&shown, "open"))?;
        let told = AtomicU64::new(ways.epoch());
        Ok(Self { ways, shown, lease, clock, told, looks: tokio::sync::Mutex::default() })
    }

    /// This host's part of each campaign that goes on or was over a day ago at most.
    ///
    /// # Errors
    /// The database does not answer, or this role stands for another host.
    pub async fn mine(&self, by: &Claimant) -> Result<Vec<Figures>, Trouble> {
        self.call(async |db| work::mine(db, by).await).await
    }

    /// The hosts that have a role and have never published anything, by their machine ids.
    ///
    /// # Errors
    /// The database does not answer, or this role is no operator's.
    pub async fn unheard(&self) -> Result<Vec<String>, Trouble> {
        self.look(async |db, _| publish::unheard(db).await).await
    }

    /// Ends its connections in order.
    pub async fn close(self) {
        self.ways.close().await;
    }

    /// A worker's call is given up early enough to say it again within its lease.
    fn limit(&self) -> Duration {
        self.lease.checked_div(4).unwrap_or(LIMIT).clamp(LEAST, LIMIT)
    }

    /// Has the database tell the caller's time, where that is what it is to do.
    async fn at_its_time(&self, db: &mut PgConnection) -> Result<(), Fault> {
        if let Some(clock) = &self.clock {
            let now = clock().to_string();
            sqlx::query("SELECT set_config('trimtab.clock', $1, FALSE)").bind(now).execute(db).await?;
        }
        Ok(())
    }

    /// One change by an operator: all of it or nothing. The time is read when the store's lock is held.
    async fn change<T>(
        &self,
        change: impl AsyncFnOnce(&mut Transaction<'_, Postgres>, i64) -> Result<T, Fault>,
    ) -> Result<T, Trouble> {
        let changed = self.ways.call(open::PATIENCE, async |db| {
            self.at_its_time(db).await?;
            let mut transaction = db.begin().await?;
            // Longer than a worker: another operator's change may take that long.
            let patience = "SELECT set_config('lock_timeout', '60s', TRUE)";
            sqlx::query(patience).execute(&mut *transaction).await?;
            let now = sqlx::query_scalar("SELECT locked()").fetch_one(&mut *transaction).await?;
            // A transaction that is dropped is rolled back.
            let answer = change(&mut transaction, now).await?;
            transaction.commit().await?;
            Ok(answer)
        });
        let changed = held::watched(self, open::PATIENCE, changed).await;
        changed.map_err(|fault| fault.trouble(&self.shown, "write"))
    }

    /// One look: what it reads is of one moment.
    async fn look<T>(
        &self,
        look: impl AsyncFnOnce(&mut PgConnection, i64) -> Result<T, Fault>,
    ) -> Result<T, Trouble> {
        let looked = self.ways.call(open::PATIENCE, async |db| {
            self.at_its_time(db).await?;
            let mut transaction = db.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            let now = sqlx::query_scalar("SELECT clock()").fetch_one(&mut *transaction).await?;
            let answer = look(&mut transaction, now).await?;
            transaction.rollback().await?;
            Ok(answer)
        });
        looked.await.map_err(|fault| fault.trouble(&self.shown, "read"))
    }

    /// One that must not come before a server has been told what it may have lost: whose answer is another one's, of before, is
    /// said again.
    async fn call_in_turn<T>(
        &self,
        call: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Fault>,
    ) -> Result<T, Trouble> {
        let in_turn = || match self.ways.epoch() == self.told.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(Fault::StartedAnew),
        };
        self.call(async |db| {
            in_turn()?;
            let answer = call(db).await?;
            in_turn()?;
            Ok(answer)
        })
        .await
    }

    /// One call of a worker's, which is a transaction of its own.
    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Fault>,
    ) -> Result<T, Trouble> {
        let called = self.ways.call(self.limit(), async |db| {
            self.at_its_time(db).await?;
            call(db).await
        });
        let called = held::watched(self, self.limit(), called).await;
        called.map_err(|fault| fault.trouble(&self.shown, "use"))
    }
}

impl Store for PgStore {
    async fn now(&self) -> Result<Timestamp, Trouble> {
        self.look(async |_, now| words::time(now)).await
    }

    async fn apply(&self, campaign: &NewCampaign) -> Result<i64, Trouble> {
        self.change(async |tx, now| {
            let id = apply::apply(tx, campaign, now).await?;
            sqlx::query("SELECT follow_all($1, $2)").bind(id).bind(now).execute(&mut **tx).await?;
            Ok(id)
        })
        .await
    }

    async fn list(&self) -> Result<Vec<Summary>, Trouble> {
        self.look(async |db, _| read::list(db).await).await
    }

    async fn active(&self, by: &Claimant) -> Result<Vec<Active>, Trouble> {
        self.call(async |db| work::active(db, by).await).await
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
        self.call(async |db| {
            let (newest, workers): (i64, i64) =
                sqlx::query_as("SELECT newest, workers FROM latest()").fetch_one(db).await?;
            Ok(Latest { newest, workers: u32::try_from(workers).unwrap_or(u32::MAX) })
        })
        .await
    }

    async fn order(&self, campaign: i64, order: &Order, who: &str) -> Result<Summary, Trouble> {
        self.change(async |tx, now| {
            // Where no worker is left, nobody else sees that leases are over.
            sqlx::query("SELECT expire($1)").bind(now).execute(&mut **tx).await?;
            order::order(tx, campaign, order, who, now).await
        })
        .await
    }

    async fn claim(&self, campaign: i64, by: &Claimant) -> Result<Claim, Trouble> {
        // A commit whose answer was lost is asked for once more: by this mark the same run is handed out again.
        let mark = Uuid::new_v4().to_string();
        let claim = || self.call_in_turn(async |db| work::claim(db, campaign, by, &mark).await);
        match claim().await {
            Err(trouble) if trouble.kind == crate::model::trouble::Kind::Store => claim().await,
            answer => answer,
        }
    }

    async fn baseline(&self, claimed: &Claimed, baseline: &Baseline) -> Result<Instruction, Trouble> {
        self.call_in_turn(async |db| work::baseline(db, claimed, baseline).await).await
    }

    async fn used_elsewhere(&self, claimed: &Claimed, images: &[String]) -> Result<Option<String>, Trouble> {
        if images.is_empty() {
            return Ok(None);
        }
        self.call(async |db| work::used_elsewhere(db, claimed, images).await).await
    }

    async fn heartbeat(
        &self,
        by: &Claimant,
        held: Option<&str>,
        stages: &[(i64, u64, String)],
    ) -> Result<Vec<(i64, Instruction)>, Trouble> {
        self.call_in_turn(async |db| work::heartbeat(db, by, held, stages).await).await
    }

    async fn finish(&self, claimed: &Claimed, result: &RunResult) -> Result<Counted, Trouble> {
        self.call_in_turn(async |db| work::finish(db, claimed, result).await).await
    }

    async fn later(&self, claimed: &Claimed, later: &Later) -> Result<Counted, Trouble> {
        self.call_in_turn(async |db| work::later(db, claimed, later).await).await
    }

    async fn finish_again(&self, claimed: &Claimed, result: &RunResult) -> Result<Counted, Trouble> {
        self.call(async |db| work::finish(db, claimed, result).await).await
    }

    async fn later_again(&self, claimed: &Claimed, later: &Later) -> Result<Counted, Trouble> {
        self.call(async |db| work::later(db, claimed, later).await).await
    }

    async fn recover(&self, by: &Claimant) -> Result<u32, Trouble> {
        self.call(async |db| work::recover(db, by).await).await
    }

    async fn leave(&self, by: &Claimant) -> Result<(), Trouble> {
        self.call(async |db| {
            sqlx::query("SELECT leave($1, $2)").bind(&by.host).bind(&by.worker).execute(db).await?;
            Ok(())
        })
        .await
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.lease)
    }

    fn epoch(&self) -> u64 {
        self.ways.epoch()
    }

    fn is_told(&self, epoch: u64) {
        self.told.store(epoch, Ordering::Release);
    }
}

impl Fleet for PgStore {
    async fn publish(&self, by: &Claimant, news: &News) -> Result<Option<i64>, Trouble> {
        self.call(async |db| publish::publish(db, by, news).await).await
    }

    async fn published(&self) -> Result<Vec<PublishedHost>, Trouble> {
        self.look(async |db, now| publish::published(db, now).await).await
    }
}
