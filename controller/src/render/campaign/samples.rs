//! A campaign as a store would tell of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    campaign::{
        account::{CampaignState, DatastoreSum, HostRow, RunRow, Status, Summary},
        hosts::HostNames,
        limits::Limits,
        run::{Class, DiskResult, RunResult, RunState, VmKey, Wait},
    },
    layers::Layer,
    ledger::verdict::Verdict,
    model::trouble::Kind,
};

/// 2026-11-22 03:12 UTC.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_795_317_120, 0);
const GIB: u64 = 1 << 30;

fn ago(secs: i64) -> Timestamp {
    Timestamp::from_second(NOW.as_second() - secs).unwrap()
}

pub(crate) fn summary() -> Summary {
    Summary {
        id: 7,
        name: "nightly".to_owned(),
        state: CampaignState::Active,
        why: None,
        applied: ago(18_720),
        ended: None,
        total: 120,
        waiting: 85,
        running: 4,
        done: BTreeMap::from([
            (Class::Reclaimed, 25),
            (Class::AlreadyCompact, 3),
            (Class::Cut, 1),
            (Class::Failed, 2),
            (Class::Held, 0),
        ]),
        freed_bytes: 872_307_858_637,
        held_bytes: 20 * GIB,
        expected_bytes: 3_408_486_046_924,
    }
}

pub(crate) fn run(run: i64, name: &str) -> RunRow {
    RunRow {
        run,
        vm: VmKey { host: "h".to_owned(), name: name.to_owned(), uuid: None },
        state: RunState::Running,
        datastores: vec!["guests".to_owned()],
        attempt: 1,
        claimed: Some(ago(130)),
        ended: None,
        stage: Some("trimming /var: 12.0 GiB passed".to_owned()),
        wait: None,
        expected_bytes: 20 * GIB,
        freed_bytes: 0,
        result: None,
    }
}

fn ended(number: i64, name: &str, result: RunResult) -> RunRow {
    let freed = result.freed_bytes();
    RunRow {
        state: RunState::Done,
        ended: Some(NOW),
        freed_bytes: freed,
        result: Some(result),
        ..run(number, name)
    }
}

fn result(class: Class, verdict: Verdict, freed: i64, held: Option<u64>) -> RunResult {
    let disk = DiskResult {
        name: "vda".to_owned(),
        image: Some("/guests/a.img".to_owned()),
        datastore: Some("guests".to_owned()),
        verdict,
        freed_bytes: Some(freed),
        held_bytes: held,
    };
    RunResult { class, disks: vec![disk], text: None, kind: None, layer: None, duration_ms: 4100 }
}

pub(crate) fn runs() -> Vec<RunRow> {
    let reclaimed = |freed| result(Class::Reclaimed, Verdict::Reclaimed, freed, None);
    let cut = RunResult {
        text: Some("no discard= on this disk".to_owned()),
        layer: Some(Layer::Drive),
        ..result(Class::Cut, Verdict::CutInVmm, 0, Some(15 * GIB))
    };
    let silent = RunResult {
        text: Some("no answer in 10 s".to_owned()),
        kind: Some(Kind::AgentSilent),
        disks: Vec::new(),
        ..result(Class::Failed, Verdict::Failed, 0, None)
    };
    vec![
        ended(2, "web-12", reclaimed(30 << 30)),
        ended(1, "web-13", reclaimed(1 << 30)),
        ended(3, "build-1", cut.clone()),
        ended(4, "build-2", cut),
        ended(5, "mute", silent),
        run(6, "db-1"),
    ]
}

pub(crate) fn status() -> Status {
    Status {
        now: NOW,
        summary: summary(),
        limits: Limits::default(),
        running: ["web-1", "web-2", "db-1", "db-2"]
            .into_iter()
            .zip(1..)
            .map(|(name, n)| run(n, name))
            .collect(),
        waiting: BTreeMap::from([(Wait::Room, 80), (Wait::Guard, 5)]),
        next: None,
        window: Some((ago(18_720), ago(-6480))),
        datastores: vec![DatastoreSum {
            datastore: "nfs:filer:/guests".to_owned(),
            running: 2,
            cap: 2,
            total: 60,
            done: 14,
            freed_bytes: 400 << 30,
        }],
        hosts: vec![host("h")],
        names: HostNames::of([("h", "node1"), (OTHER_HOST, "node2")]),
    }
}

/// The machine id of node2.
pub(crate) const OTHER_HOST: &str = "0123456789abcdef0123456789abcdef";

fn host(id: &str) -> HostRow {
    HostRow { host: id.to_owned(), seen: Some(ago(5)), has_worker: true, held: None }
}

/// The same over two hosts, and a datastore that one of them has alone.
pub(crate) fn fleet() -> Status {
    let mut status = status();
    status.hosts.push(host(OTHER_HOST));
    for run in &mut status.running {
        if run.vm.name == "db-1" {
            run.vm.host = OTHER_HOST.to_owned();
        }
    }
    let own = DatastoreSum { datastore: format!("ext4:uuid@{OTHER_HOST}"), ..status.datastores[0].clone() };
    status.datastores.push(own);
    status
}
