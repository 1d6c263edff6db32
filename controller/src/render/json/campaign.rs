//! `trimtab.campaign_list/1`, `trimtab.campaign_status/1` and `trimtab.campaign_report/1`: docs/schema/campaign.json.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    campaign::{
        account::{CampaignState, DatastoreSum, Event, HostRow, RunRow, Status, Summary},
        hosts::HostNames,
        limits::Limits,
        run::{Class, DiskResult, RunState, Wait},
    },
    layers::Layer,
    ledger::verdict::Verdict,
    model::trouble::Kind,
};

/// All campaigns of a store.
#[derive(Serialize, Debug)]
pub struct ListDocument {
    schema: &'static str,
    exit: u8,
    campaigns: Vec<SummaryJson>,
}

impl ListDocument {
    /// Of these, in their order.
    pub fn new(campaigns: &[Summary]) -> Self {
        Self {
            schema: "trimtab.campaign_list/1",
            exit: 0,
            campaigns: campaigns.iter().map(SummaryJson::from).collect(),
        }
    }
}

/// One campaign now.
#[derive(Serialize, Debug)]
pub struct StatusDocument<'a> {
    schema: &'static str,
    exit: u8,
    now: Timestamp,
    campaign: SummaryJson,
    limits: &'a Limits,
    running: Vec<RunJson<'a>>,
    waiting_for: &'a BTreeMap<Wait, u32>,
    next: Option<Timestamp>,
    window: Option<[Timestamp; 2]>,
    datastores: Vec<DatastoreJson<'a>>,
    hosts: Vec<HostJson<'a>>,
}

impl<'a> StatusDocument<'a> {
    /// As of the store's time.
    pub fn new(status: &'a Status, exit: u8) -> Self {
        let names = &status.names;
        Self {
            schema: "trimtab.campaign_status/1",
            exit,
            now: status.now,
            campaign: SummaryJson::from(&status.summary),
            limits: &status.limits,
            running: status.running.iter().map(|run| RunJson::new(run, names)).collect(),
            waiting_for: &status.waiting,
            next: status.next,
            window: status.window.map(|(opens, closes)| [opens, closes]),
            datastores: status.datastores.iter().map(DatastoreJson::from).collect(),
            hosts: status.hosts.iter().map(|host| HostJson::new(host, names)).collect(),
        }
    }
}

/// The account of one campaign.
#[derive(Serialize, Debug)]
pub struct ReportDocument<'a> {
    schema: &'static str,
    exit: u8,
    now: Timestamp,
    campaign: SummaryJson,
    datastores: Vec<DatastoreJson<'a>>,
    hosts: Vec<HostJson<'a>>,
    runs: Vec<RunJson<'a>>,
    events: &'a [Event],
}

impl<'a> ReportDocument<'a> {
    /// Of everything that is known of it.
    pub fn new(status: &'a Status, runs: &'a [RunRow], events: &'a [Event]) -> Self {
        let names = &status.names;
        Self {
            schema: "trimtab.campaign_report/1",
            exit: 0,
            now: status.now,
            campaign: SummaryJson::from(&status.summary),
            datastores: status.datastores.iter().map(DatastoreJson::from).collect(),
            hosts: status.hosts.iter().map(|host| HostJson::new(host, names)).collect(),
            runs: runs.iter().map(|run| RunJson::new(run, names)).collect(),
            events,
        }
    }
}

#[derive(Serialize, Debug)]
struct SummaryJson {
    id: i64,
    name: String,
    state: CampaignState,
    why: Option<String>,
    applied: Timestamp,
    ended: Option<Timestamp>,
    total: u32,
    waiting: u32,
    running: u32,
    done: BTreeMap<Class, u32>,
    freed_bytes: i64,
    held_bytes: u64,
    expected_bytes: u64,
}

impl From<&Summary> for SummaryJson {
    fn from(summary: &Summary) -> Self {
        Self {
            id: summary.id,
            name: summary.name.clone(),
            state: summary.state,
            why: summary.why.clone(),
            applied: summary.applied,
            ended: summary.ended,
            total: summary.total,
            waiting: summary.waiting,
            running: summary.running,
            done: summary.done.clone(),
            freed_bytes: summary.freed_bytes,
            held_bytes: summary.held_bytes,
            expected_bytes: summary.expected_bytes,
        }
    }
}

#[derive(Serialize, Debug)]
struct DatastoreJson<'a> {
    id: &'a str,
    running: u32,
    cap: u32,
    total: u32,
    done: u32,
    freed_bytes: i64,
}

impl<'a> From<&'a DatastoreSum> for DatastoreJson<'a> {
    fn from(sum: &'a DatastoreSum) -> Self {
        Self {
            id: &sum.datastore,
            running: sum.running,
            cap: sum.cap,
            total: sum.total,
            done: sum.done,
            freed_bytes: sum.freed_bytes,
        }
    }
}

#[derive(Serialize, Debug)]
struct HostJson<'a> {
    id: &'a str,
    name: Option<&'a str>,
    seen: Option<Timestamp>,
    held: Option<&'a str>,
}

impl<'a> HostJson<'a> {
    fn new(row: &'a HostRow, names: &'a HostNames) -> Self {
        Self { id: &row.host, name: names.name(&row.host), seen: row.seen, held: row.held.as_deref() }
    }
}

#[derive(Serialize, Debug)]
struct RunJson<'a> {
    run: i64,
    vm: &'a str,
    uuid: Option<&'a str>,
    host: &'a str,
    host_name: Option<&'a str>,
    state: RunState,
    datastores: &'a [String],
    attempt: u32,
    claimed: Option<Timestamp>,
    ended: Option<Timestamp>,
    stage: Option<&'a str>,
    waits: Option<WaitJson<'a>>,
    expected_bytes: u64,
    freed_bytes: i64,
    result: Option<ResultJson<'a>>,
}

impl<'a> RunJson<'a> {
    fn new(row: &'a RunRow, names: &'a HostNames) -> Self {
        Self {
            run: row.run,
            vm: &row.vm.name,
            uuid: row.vm.uuid.as_deref(),
            host: &row.vm.host,
            host_name: names.name(&row.vm.host),
            state: row.state,
            datastores: &row.datastores,
            attempt: row.attempt,
            claimed: row.claimed,
            ended: row.ended,
            stage: row.stage.as_deref(),
            waits: row.wait.as_ref().map(|(why, until, text)| WaitJson { why: *why, until: *until, text }),
            expected_bytes: row.expected_bytes,
            freed_bytes: row.freed_bytes,
            result: row.result.as_ref().map(|result| ResultJson {
                class: result.class,
                layer: result.layer,
                kind: result.kind,
                text: result.text.as_deref(),
                duration_secs: std::time::Duration::from_millis(result.duration_ms).as_secs_f64(),
                disks: result.disks.iter().map(DiskJson::from).collect(),
            }),
        }
    }
}

#[derive(Serialize, Debug)]
struct WaitJson<'a> {
    why: Wait,
    until: Timestamp,
    text: &'a str,
}

#[derive(Serialize, Debug)]
struct ResultJson<'a> {
    class: Class,
    layer: Option<Layer>,
    kind: Option<Kind>,
    text: Option<&'a str>,
    duration_secs: f64,
    disks: Vec<DiskJson<'a>>,
}

#[derive(Serialize, Debug)]
struct DiskJson<'a> {
    name: &'a str,
    image: Option<&'a str>,
    datastore: Option<&'a str>,
    verdict: Verdict,
    freed_bytes: Option<i64>,
    held_bytes: Option<u64>,
}

impl<'a> From<&'a DiskResult> for DiskJson<'a> {
    fn from(disk: &'a DiskResult) -> Self {
        Self {
            name: &disk.name,
            image: disk.image.as_deref(),
            datastore: disk.datastore.as_deref(),
            verdict: disk.verdict,
            freed_bytes: disk.freed_bytes,
            held_bytes: disk.held_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{campaign::samples, json::check};

    const SCHEMA: &str = "campaign.json";

    #[test]
    fn what_the_schema_promises() {
        let mut status = samples::status();
        check(SCHEMA, &ListDocument::new(&[status.summary.clone()]));
        check(SCHEMA, &StatusDocument::new(&status, 0));
        status.window = None;
        status.summary.ended = Some(samples::NOW);
        check(SCHEMA, &StatusDocument::new(&status, 0));
        let mut runs = samples::runs();
        runs.push(RunRow {
            state: RunState::Waiting,
            wait: Some((Wait::Guard, samples::NOW, "a backup runs".to_owned())),
            ..samples::run(9, "late")
        });
        let event = Event {
            at: samples::NOW,
            campaign: Some(7),
            run: None,
            vm: None,
            what: "applied".to_owned(),
            who: "root@h".to_owned(),
            text: String::new(),
        };
        check(SCHEMA, &ReportDocument::new(&status, &runs, &[event]));
    }
}
