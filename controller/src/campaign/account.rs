//! What a store tells of campaigns: for `list`, `status` and `report`. Sums are the store's own counts.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    hosts::HostNames,
    limits::Limits,
    run::{Class, RunResult, RunState, VmKey, Wait},
};

/// Where a campaign is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CampaignState {
    /// It admits.
    Active,
    /// A person has stopped admission; what runs goes on.
    Paused,
    /// Something has stopped admission: see why.
    Stopped,
    /// A person ends it; something still runs.
    Aborting,
    /// A person has ended it; nothing runs.
    Aborted,
    /// Every run has ended.
    Done,
}

/// One campaign in a few numbers.
#[derive(Clone, PartialEq, Debug)]
pub struct Summary {
    /// The store's number.
    pub id: i64,
    /// As the plan calls it.
    pub name: String,
    /// Where it is.
    pub state: CampaignState,
    /// Why it is not active, where something else than a person said so.
    pub why: Option<String>,
    /// When it was applied.
    pub applied: Timestamp,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// Runs in all.
    pub total: u32,
    /// Of them waiting.
    pub waiting: u32,
    /// Of them running.
    pub running: u32,
    /// Of them over, by class.
    pub done: BTreeMap<Class, u32>,
    /// What came back, in bytes; growth counts against it.
    pub freed_bytes: i64,
    /// What is held, in bytes.
    pub held_bytes: u64,
    /// What the plan expects, in bytes, of all runs.
    pub expected_bytes: u64,
}

/// One campaign, for `status`.
#[derive(Clone, PartialEq, Debug)]
pub struct Status {
    /// When this was so, by the store's clock: ages and what is left count from here, whatever the reader's clock says.
    pub now: Timestamp,
    /// In a few numbers.
    pub summary: Summary,
    /// Its limits.
    pub limits: Limits,
    /// What runs, oldest first.
    pub running: Vec<RunRow>,
    /// What waits, counted by what for.
    pub waiting: BTreeMap<Wait, u32>,
    /// When the next run may be tried, where all wait for a time.
    pub next: Option<Timestamp>,
    /// The window that is open or comes next.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Each datastore's part.
    pub datastores: Vec<DatastoreSum>,
    /// The hosts of its runs.
    pub hosts: Vec<HostRow>,
    /// What hosts are called, these and those that its VMs have left.
    pub names: HostNames,
}

impl Status {
    /// It is of several hosts: where each VM is matters.
    pub fn is_fleet(&self) -> bool {
        self.hosts.len() > 1
    }
}

/// A worker that has said nothing for so long, by the store's clock, is not there: several heartbeats. Where workers have
/// leases that are longer, a lease.
pub const SILENT_AFTER: Duration = Duration::from_secs(60);

/// One host's worker, as it said itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostRow {
    /// The host's machine id.
    pub host: String,
    /// When its worker was heard of last; `None`: no worker has been there.
    pub seen: Option<Timestamp>,
    /// It was heard lately.
    pub has_worker: bool,
    /// What keeps it from admitting: a gate that is closed, and what that said.
    pub held: Option<String>,
}

/// One datastore's part in a campaign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DatastoreSum {
    /// Its identity.
    pub datastore: String,
    /// What runs on it.
    pub running: u32,
    /// At once.
    pub cap: u32,
    /// Runs that touch it.
    pub total: u32,
    /// Of them over.
    pub done: u32,
    /// What came back on it, in bytes.
    pub freed_bytes: i64,
}

/// One campaign as its metrics show it: all of it, or one host's part.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Figures {
    /// The store's number.
    pub id: i64,
    /// As the plan calls it.
    pub name: String,
    /// Where it is.
    pub state: CampaignState,
    /// Runs that wait.
    pub waiting: u32,
    /// Runs that run.
    pub running: u32,
    /// Runs that are over, by class.
    pub done: BTreeMap<Class, u32>,
    /// What is held, in bytes.
    pub held_bytes: u64,
    /// What the plan expects, in bytes.
    pub expected_bytes: u64,
    /// Each datastore's part.
    pub datastores: Vec<PlaceFigures>,
}

/// One datastore's part of it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct PlaceFigures {
    /// Its identity.
    pub datastore: String,
    /// What runs on it.
    pub running: u32,
    /// At once, by all hosts together.
    pub cap: u32,
    /// What came back on it, in bytes.
    pub freed_bytes: i64,
}

impl From<&Status> for Figures {
    fn from(status: &Status) -> Self {
        let summary = &status.summary;
        let place = |sum: &DatastoreSum| PlaceFigures {
            datastore: sum.datastore.clone(),
            running: sum.running,
            cap: sum.cap,
            freed_bytes: sum.freed_bytes,
        };
        Self {
            id: summary.id,
            name: summary.name.clone(),
            state: summary.state,
            waiting: summary.waiting,
            running: summary.running,
            done: summary.done.clone(),
            held_bytes: summary.held_bytes,
            expected_bytes: summary.expected_bytes,
            datastores: status.datastores.iter().map(place).collect(),
        }
    }
}

/// One run, for `status` and `report`.
#[derive(Clone, PartialEq, Debug)]
pub struct RunRow {
    /// The store's number.
    pub run: i64,
    /// Whose.
    pub vm: VmKey,
    /// Where it is.
    pub state: RunState,
    /// Where its images lie.
    pub datastores: Vec<String>,
    /// Which try it is or was, from 1; 0 before the first. Only a failure that is tried again makes it more.
    pub attempt: u32,
    /// When it was claimed last.
    pub claimed: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// What its worker said last.
    pub stage: Option<String>,
    /// What it waits for, and until when.
    pub wait: Option<(Wait, Timestamp, String)>,
    /// What is expected back, in bytes.
    pub expected_bytes: u64,
    /// What came back in all of its turns, in bytes.
    pub freed_bytes: i64,
    /// Its end.
    pub result: Option<RunResult>,
}

/// One line of the history, which is only ever added to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// By the store's clock.
    pub at: Timestamp,
    /// Of which campaign.
    pub campaign: Option<i64>,
    /// Of which run.
    pub run: Option<i64>,
    /// Whose run.
    pub vm: Option<String>,
    /// From a closed list: applied, claimed, counted, fenced, later, paused, resumed, stopped, aborted, …
    pub what: String,
    /// Who: a person's login and host, or a worker.
    pub who: String,
    /// One line.
    pub text: String,
}

/// A VM, as far as it outlives campaigns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmRow {
    /// Whose.
    pub vm: VmKey,
    /// When a campaign named it last.
    pub seen: Timestamp,
    /// Its last trim that brought space back or found nothing to free; `None`: none is known.
    pub proven: Option<Timestamp>,
    /// Campaigns in a row in which it failed; those in which it was away or not run do not count.
    pub failed_in_a_row: u32,
}
