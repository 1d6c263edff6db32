//! Either engine, for who does not care which.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Active, Claim, Claimant, Latest, NewCampaign, Order, Store, at::At, postgres::PgStore,
    sqlite::SqliteStore,
};
use crate::{
    campaign::{
        account::{Event, RunRow, Status, Summary, VmRow},
        run::{Baseline, Claimed, Counted, Instruction, Later, RunResult},
    },
    model::trouble::Trouble,
};

/// A host's store, or a fleet's.
pub enum AnyStore {
    /// In a file.
    File(Box<SqliteStore>),
    /// In a database.
    Database(Box<PgStore>),
}

impl AnyStore {
    /// Opens it to change it. A file is made where there is none; a database has been set up by an operator.
    ///
    /// # Errors
    /// It cannot be opened, or is none that this trimtab can use.
    pub async fn open(at: &At) -> Result<Self, Trouble> {
        Ok(match at {
            At::File(path) => Self::File(Box::new(SqliteStore::open(path).await?)),
            At::Database(url) => Self::Database(Box::new(PgStore::open(url.as_str()).await?)),
        })
    }

    /// Opens it only to read: no right to write a file is needed, and none is made.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub async fn open_to_read(at: &At) -> Result<Self, Trouble> {
        Ok(match at {
            At::File(path) => Self::File(Box::new(SqliteStore::open_to_read(path).await?)),
            At::Database(url) => Self::Database(Box::new(PgStore::open(url.as_str()).await?)),
        })
    }
}

/// What hosts publish is kept by a fleet's store alone.
impl AnyStore {
    /// It, as a fleet's hosts and whoever plans for them use it; `None`: it is one host's.
    pub fn fleet(&self) -> Option<&PgStore> {
        match self {
            Self::File(_) => None,
            Self::Database(store) => Some(store),
        }
    }
}

/// The same call, of whichever it is.
macro_rules! of {
    ($store:expr, $one:ident => $call:expr) => {
        match $store {
            AnyStore::File($one) => $call,
            AnyStore::Database($one) => $call,
        }
    };
}

impl Store for AnyStore {
    async fn now(&self) -> Result<Timestamp, Trouble> {
        of!(self, store => store.now().await)
    }

    async fn apply(&self, campaign: &NewCampaign) -> Result<i64, Trouble> {
        of!(self, store => store.apply(campaign).await)
    }

    async fn list(&self) -> Result<Vec<Summary>, Trouble> {
        of!(self, store => store.list().await)
    }

    async fn active(&self, by: &Claimant) -> Result<Vec<Active>, Trouble> {
        of!(self, store => store.active(by).await)
    }

    async fn status(&self, campaign: i64) -> Result<Status, Trouble> {
        of!(self, store => store.status(campaign).await)
    }

    async fn runs(&self, campaign: i64) -> Result<Vec<RunRow>, Trouble> {
        of!(self, store => store.runs(campaign).await)
    }

    async fn events(&self, campaign: i64) -> Result<Vec<Event>, Trouble> {
        of!(self, store => store.events(campaign).await)
    }

    async fn vms(&self) -> Result<Vec<VmRow>, Trouble> {
        of!(self, store => store.vms().await)
    }

    async fn order(&self, campaign: i64, order: &Order, who: &str) -> Result<Summary, Trouble> {
        of!(self, store => store.order(campaign, order, who).await)
    }

    async fn claim(&self, campaign: i64, by: &Claimant) -> Result<Claim, Trouble> {
        of!(self, store => store.claim(campaign, by).await)
    }

    async fn baseline(&self, claimed: &Claimed, baseline: &Baseline) -> Result<Instruction, Trouble> {
        of!(self, store => store.baseline(claimed, baseline).await)
    }

    async fn used_elsewhere(&self, claimed: &Claimed, images: &[String]) -> Result<Option<String>, Trouble> {
        of!(self, store => store.used_elsewhere(claimed, images).await)
    }

    async fn heartbeat(
        &self,
        by: &Claimant,
        held: Option<&str>,
        stages: &[(i64, u64, String)],
    ) -> Result<Vec<(i64, Instruction)>, Trouble> {
        of!(self, store => store.heartbeat(by, held, stages).await)
    }

    async fn latest(&self) -> Result<Latest, Trouble> {
        of!(self, store => store.latest().await)
    }

    async fn finish(&self, claimed: &Claimed, result: &RunResult) -> Result<Counted, Trouble> {
        of!(self, store => store.finish(claimed, result).await)
    }

    async fn later(&self, claimed: &Claimed, later: &Later) -> Result<Counted, Trouble> {
        of!(self, store => store.later(claimed, later).await)
    }

    async fn finish_again(&self, claimed: &Claimed, result: &RunResult) -> Result<Counted, Trouble> {
        of!(self, store => store.finish_again(claimed, result).await)
    }

    async fn later_again(&self, claimed: &Claimed, later: &Later) -> Result<Counted, Trouble> {
        of!(self, store => store.later_again(claimed, later).await)
    }

    async fn recover(&self, by: &Claimant) -> Result<u32, Trouble> {
        of!(self, store => store.recover(by).await)
    }

    async fn leave(&self, by: &Claimant) -> Result<(), Trouble> {
        of!(self, store => store.leave(by).await)
    }

    fn lease(&self) -> Option<Duration> {
        of!(self, store => store.lease())
    }

    fn epoch(&self) -> u64 {
        of!(self, store => store.epoch())
    }

    fn is_told(&self, epoch: u64) {
        of!(self, store => store.is_told(epoch));
    }
}
