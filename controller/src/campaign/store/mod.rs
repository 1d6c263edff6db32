//! Where campaigns are kept: one trait, so that a host's SQLite and a fleet's PostgreSQL answer to the same suite.
//!
//! A claim takes the store's lock first, then *counts* what runs against the caps and picks the best run that has room:
//! there are no slots that could leak. Only times of the store's own clock are compared with each other.

pub mod any;
pub mod at;
#[cfg(test)]
pub(crate) mod conformance;
pub mod fleet;
mod hours;
pub mod postgres;
mod room;
pub mod sqlite;

use std::{future::Future, time::Duration};

use jiff::Timestamp;

use super::{
    account::{Event, RunRow, Status, Summary, VmRow},
    limits::Limits,
    run::{Baseline, Claimed, Counted, Instruction, Later, NewRun, RunResult, Wait},
};
use crate::model::trouble::Trouble;

/// A campaign as `apply` hands it in.
#[derive(Clone, PartialEq, Debug)]
pub struct NewCampaign {
    /// As its plan calls it.
    pub name: String,
    /// Who applies it.
    pub who: String,
    /// The plan's text, for the record.
    pub plan: String,
    /// Its limits.
    pub limits: Limits,
    /// When it may run, in UTC and in order; none: always.
    pub windows: Vec<(Timestamp, Timestamp)>,
    /// Whose turn it brings.
    pub runs: Vec<NewRun>,
}

/// Who claims.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claimant {
    /// The host's machine id: only runs of its VMs are its.
    pub host: String,
    /// This process, anew with each start.
    pub worker: String,
}

/// Whether there is something to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latest {
    /// Another number after each order, each new campaign, each claim and each end: the newest line of the history.
    pub newest: i64,
    /// How many workers look at this store.
    pub workers: u32,
}

/// A campaign of which a worker has something to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Active {
    /// The store's number.
    pub campaign: i64,
    /// It admits, and a run of the host waits.
    pub has_waiting: bool,
    /// One waits, and it or the host has as many as may run: a claim would be in vain until something ends.
    pub is_full: bool,
    /// Other hosts have more that waits: a place is theirs first, and this host's when it is free at the next look, too.
    pub yields: bool,
    /// What runs is to be cancelled, and a run of the host does.
    pub cancels: bool,
    /// The gates that must be open, by name.
    pub gates: Vec<String>,
}

/// What came of a claim.
#[derive(Clone, PartialEq, Debug)]
pub enum Claim {
    /// This one.
    Run(Box<Claimed>),
    /// None now.
    Nothing {
        /// What the best of those that wait waits for.
        why: Wait,
        /// How long until it is worth asking again, at the latest; `None`: when something ends.
        next: Option<Duration>,
    },
    /// Nothing is left that waits.
    Empty,
}

/// What a person orders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Admit nothing more.
    Pause,
    /// Admit again; where something had stopped it, budgets and streaks count from now on.
    Resume,
    /// End it: cancel what runs.
    Abort,
}

/// A store. Every call ends: with an answer, or with a [`Trouble`] that says whether to try again.
pub trait Store: Send + Sync {
    /// The time by the store's clock.
    fn now(&self) -> impl Future<Output = Result<Timestamp, Trouble>> + Send;
    /// Keeps a campaign and gives its number. All of it or nothing.
    fn apply(&self, campaign: &NewCampaign) -> impl Future<Output = Result<i64, Trouble>> + Send;
    /// All campaigns, newest first.
    fn list(&self) -> impl Future<Output = Result<Vec<Summary>, Trouble>> + Send;
    /// The campaigns that admit, and of which a run of this host waits or runs, and those that want one cancelled which it
    /// has; oldest first. Costs the same however many have been.
    fn active(&self, by: &Claimant) -> impl Future<Output = Result<Vec<Active>, Trouble>> + Send;
    /// One campaign now.
    fn status(&self, campaign: i64) -> impl Future<Output = Result<Status, Trouble>> + Send;
    /// Each run of a campaign, in its order.
    fn runs(&self, campaign: i64) -> impl Future<Output = Result<Vec<RunRow>, Trouble>> + Send;
    /// The history of a campaign, oldest first.
    fn events(&self, campaign: i64) -> impl Future<Output = Result<Vec<Event>, Trouble>> + Send;
    /// Each VM that any campaign has named, and what outlives campaigns.
    fn vms(&self) -> impl Future<Output = Result<Vec<VmRow>, Trouble>> + Send;
    /// A person's order; gives what the campaign is then.
    fn order(
        &self,
        campaign: i64,
        order: &Order,
        who: &str,
    ) -> impl Future<Output = Result<Summary, Trouble>> + Send;

    /// The best run of this campaign that has room, for this worker.
    fn claim(&self, campaign: i64, by: &Claimant) -> impl Future<Output = Result<Claim, Trouble>> + Send;
    /// What the disks occupied, before the guest is called.
    fn baseline(
        &self,
        claimed: &Claimed,
        baseline: &Baseline,
    ) -> impl Future<Output = Result<Instruction, Trouble>> + Send;
    /// VMs of other hosts that use an image which is known as one of these, in a few words, as their hosts published them;
    /// `None`: none does. A VM that migrates is on both hosts, and one. Only a fleet's store knows.
    fn used_elsewhere(
        &self,
        _claimed: &Claimed,
        _images: &[String],
    ) -> impl Future<Output = Result<Option<String>, Trouble>> + Send {
        async { Ok(None) }
    }
    /// Says that this worker is there, what keeps it from admitting (a closed gate), and where each run is that it has:
    /// their number, fence and stage. Renews their leases, and answers for each what to do.
    fn heartbeat(
        &self,
        by: &Claimant,
        held: Option<&str>,
        stages: &[(i64, u64, String)],
    ) -> impl Future<Output = Result<Vec<(i64, Instruction)>, Trouble>> + Send;
    /// Costs next to nothing, so workers ask for it all the time.
    fn latest(&self) -> impl Future<Output = Result<Latest, Trouble>> + Send;
    /// The run's end.
    fn finish(
        &self,
        claimed: &Claimed,
        result: &RunResult,
    ) -> impl Future<Output = Result<Counted, Trouble>> + Send;
    /// The run is not over: it goes back to wait.
    fn later(
        &self,
        claimed: &Claimed,
        later: &Later,
    ) -> impl Future<Output = Result<Counted, Trouble>> + Send;
    /// An end that the store has taken and may have lost since: told before all that came after it.
    fn finish_again(
        &self,
        claimed: &Claimed,
        result: &RunResult,
    ) -> impl Future<Output = Result<Counted, Trouble>> + Send {
        self.finish(claimed, result)
    }
    /// The same of a run that went back to wait.
    fn later_again(
        &self,
        claimed: &Claimed,
        later: &Later,
    ) -> impl Future<Output = Result<Counted, Trouble>> + Send {
        self.later(claimed, later)
    }
    /// Takes back what a worker of this host had that is gone: those runs wait again, and keep fence, baseline and
    /// agent's run id. Gives how many. Busy, where leases tell that another worker stands for this host.
    fn recover(&self, by: &Claimant) -> impl Future<Output = Result<u32, Trouble>> + Send;
    /// This worker ends in order: another one may stand for its host at once.
    fn leave(&self, by: &Claimant) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// How long a worker may be silent before the store gives its runs to another one; `None`: there is no other one.
    fn lease(&self) -> Option<Duration>;
    /// Grows when the store may have lost what it had answered: it is another server, or was put back to an earlier state.
    /// Until [`Self::is_told`] it hands out nothing, renews nothing and takes nothing but what it is told again.
    fn epoch(&self) -> u64 {
        0
    }
    /// Says that the store of this epoch was told again what it had taken.
    fn is_told(&self, _epoch: u64) {}
}
