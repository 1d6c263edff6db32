//! The document is what docs/schema/trim.json promises, whatever came of a trim.

use std::time::Duration;

use serde_json::Value;
use trimtab_proto::words::RunState;

use super::*;
use crate::{
    layers::samples::{HEADER, Sample},
    model::{run::RunEvent, trouble::Kind},
    render::json::schema,
    trim::{
        fakes::{FakeVm, report},
        look::Parts,
        neighbours::Neighbours,
        options::TrimOptions,
        turn::turn,
    },
};

async fn outcome(sample: Sample) -> Result<TurnOutcome, Trouble> {
    let vm = FakeVm::new(sample);
    vm.script(|s| s.streams.push_back(vec![Ok(RunEvent::End(report(RunState::Ended, 5)))]));
    let (_keep, wishes) = tokio::sync::watch::channel(crate::trim::wish::Wish::Go);
    let neighbours = Neighbours::default();
    let parts = Parts { name: "vm", guest: &vm, vmm: &vm, storage: &vm, neighbours: &neighbours };
    turn(&parts, &TrimOptions::default(), true, &|_| {}, wishes).await
}

#[tokio::test(start_paused = true)]
async fn every_document_validates() {
    let mut unpaired = Sample::raw();
    unpaired.survey.devices[0].identity.serial = "other".into();
    let mut blind = Sample::qcow2(HEADER);
    blind.survey.devices[0].discard_granularity = None;
    let results = vec![
        ("good".to_owned(), outcome(Sample::raw()).await),
        ("qcow2".to_owned(), outcome(blind).await),
        ("unpaired".to_owned(), outcome(unpaired).await),
        ("silent".to_owned(), Err(Trouble::new(Kind::AgentSilent, "no answer").hint("look at it"))),
    ];
    let document = TrimDocument::new(&results, jiff::Timestamp::UNIX_EPOCH, Duration::from_secs(1), 64);
    let value = serde_json::to_value(&document).unwrap();
    let problems: Vec<String> =
        schema("trim.json").iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    assert_eq!(value["started"], "1970-01-01T00:00:00Z");
    assert_eq!(value["vms"][3]["error"]["kind"], "agent_silent");
    assert_eq!(value["vms"][0]["disks"][0]["arrived_bytes"], Value::Null, "unknown is null, never 0");
}

#[test]
fn the_schema_refuses_what_it_does_not_know() {
    let mut value =
        serde_json::to_value(TrimDocument::new(&[], jiff::Timestamp::UNIX_EPOCH, Duration::ZERO, 0)).unwrap();
    assert!(schema("trim.json").is_valid(&value));
    value["surprise"] = Value::Bool(true);
    assert!(!schema("trim.json").is_valid(&value));
}
