//! Every kind of trouble and every verdict, and what outranks what.

use Outlook::{Again, Fetch, NotNow, Over, Partial};
use serde::{Deserialize, de::value::StrDeserializer};
use tokio::sync::watch;

use super::*;
use crate::{
    layers::samples::Sample,
    model::run::RunEvent,
    trim::{
        fakes::{FakeVm, report},
        look::Parts,
        neighbours::Neighbours,
        options::TrimOptions,
        turn::turn,
        wish::Wish,
    },
};

/// A turn of one disk that freed 4 GiB.
fn healthy() -> TurnOutcome {
    let vm = FakeVm::new(Sample::raw());
    vm.script(|s| {
        let state = trimtab_proto::words::RunState::Ended;
        s.streams.push_back(vec![Ok(RunEvent::End(report(state, 20 << 30)))]);
        s.allocated_after = 26 << 30;
    });
    let neighbours = Neighbours::default();
    let parts = Parts { name: "vm", guest: &vm, vmm: &vm, storage: &vm, neighbours: &neighbours };
    let (_keep, wishes) = watch::channel(Wish::Go);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(turn(&parts, &TrimOptions::default(), true, &|_| {}, wishes)).unwrap()
}

/// The same with disks of these verdicts.
fn ended(verdicts: &[Verdict]) -> TurnOutcome {
    let mut outcome = healthy();
    let disk = outcome.disks.remove(0);
    for verdict in verdicts {
        let mut disk = disk.clone();
        disk.ruling.verdict = *verdict;
        outcome.disks.push(disk);
    }
    outcome
}

fn outlook(outcome: TurnOutcome) -> Outlook {
    classify(&Ok(outcome)).outlook
}

/// Every kind, so that a new one must be thought of here.
fn kinds() -> Vec<Kind> {
    let schema = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema/trim.json"));
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    fn find(value: &serde_json::Value) -> Option<&Vec<serde_json::Value>> {
        match value {
            serde_json::Value::Array(list) if list.contains(&"unknown_vm".into()) => Some(list),
            serde_json::Value::Array(list) => list.iter().find_map(find),
            serde_json::Value::Object(map) => map.values().find_map(find),
            _ => None,
        }
    }
    let words = find(&schema).unwrap().iter().map(|word| word.as_str().unwrap());
    let kind = |word| {
        let word: StrDeserializer<'_, serde::de::value::Error> = StrDeserializer::new(word);
        Kind::deserialize(word).unwrap()
    };
    words.map(kind).collect()
}

#[test]
fn every_kind_of_trouble() {
    let cases = [
        (Kind::Usage, Over(Class::Failed), Fetch(Class::Failed)),
        (Kind::Config, Over(Class::Failed), Fetch(Class::Failed)),
        (Kind::UnknownVm, Over(Class::Away), Fetch(Class::Failed)),
        (Kind::VmOff, Over(Class::Away), Again(Class::Away)),
        (Kind::VmPaused, NotNow(Class::NotRun), Fetch(Class::NotRun)),
        (Kind::VmIoError, Over(Class::Harmed), Over(Class::Harmed)),
        (Kind::StorageWorse, Over(Class::Harmed), Over(Class::Harmed)),
        (Kind::NoLink, Over(Class::Away), Fetch(Class::Failed)),
        (Kind::NoAgent, Over(Class::Away), Fetch(Class::Failed)),
        (Kind::NoPermission, Over(Class::Failed), Fetch(Class::Failed)),
        (Kind::AgentVersion, Over(Class::Failed), Fetch(Class::Failed)),
        (Kind::AgentSilent, Again(Class::Failed), Fetch(Class::Failed)),
        (Kind::AgentNonsense, Over(Class::Failed), Over(Class::Failed)),
        (Kind::AgentLost, Again(Class::Failed), Fetch(Class::Failed)),
        (Kind::GuestRebooted, Again(Class::Failed), Again(Class::Failed)),
        (Kind::Busy, NotNow(Class::NotRun), Fetch(Class::Failed)),
        (Kind::Vetoed, Over(Class::NotRun), Fetch(Class::Failed)),
        (Kind::TooSoon, NotNow(Class::NotRun), Fetch(Class::Failed)),
        (Kind::AgentRefused, Again(Class::Failed), Fetch(Class::Failed)),
        (Kind::NoQmp, Again(Class::Away), Fetch(Class::Failed)),
        (Kind::QmpNonsense, Over(Class::Failed), Over(Class::Failed)),
        (Kind::NoLibvirt, Again(Class::Failed), Fetch(Class::Failed)),
        (Kind::LibvirtRefused, Again(Class::Failed), Fetch(Class::Failed)),
        (Kind::Image, Again(Class::Failed), Fetch(Class::Failed)),
        (Kind::Store, Again(Class::Failed), Fetch(Class::Failed)),
        (Kind::UnknownCampaign, Over(Class::Failed), Fetch(Class::Failed)),
        (Kind::Drifted, Over(Class::NotRun), Fetch(Class::Failed)),
        (Kind::Interrupted, NotNow(Class::NotRun), Fetch(Class::Failed)),
        (Kind::Internal, Over(Class::Failed), Over(Class::Failed)),
    ];
    for kind in kinds() {
        assert!(cases.iter().any(|(known, ..)| *known == kind), "{kind:?} stands in no case");
    }
    for (kind, before, after) in cases {
        let trouble = Trouble::new(kind, "why");
        let said = classify(&Err(trouble.clone()));
        assert_eq!((said.outlook, said.kind, said.text.as_deref()), (before, Some(kind), Some("why")));
        let mut outcome = ended(&[Verdict::Failed]);
        (outcome.run, outcome.trouble) = (None, Some(trouble));
        assert_eq!(outlook(outcome), after, "{kind:?} after the run began");
    }
}

#[test]
fn every_verdict_alone_and_beside_others() {
    use Verdict::*;
    let cases: [(&[Verdict], Outlook, Option<Layer>); 16] = [
        (&[Reclaimed], Over(Class::Reclaimed), None),
        (&[PartlyReclaimed], Over(Class::Reclaimed), None),
        (&[AlreadyCompact], Over(Class::AlreadyCompact), None),
        (&[CutInVmm], Over(Class::Cut), Some(Layer::Drive)),
        (&[CutInGuest], Over(Class::Cut), Some(Layer::Filesystem)),
        (&[HeldOnHost], Over(Class::Held), Some(Layer::HostFilesystem)),
        (&[NotRun], Over(Class::NotRun), None),
        (&[NotMeasurable], Over(Class::NotMeasurable), None),
        (&[Failed], Again(Class::Failed), None),
        (&[], Over(Class::NotRun), None),
        (&[AlreadyCompact, CutInVmm], Over(Class::Cut), Some(Layer::Drive)),
        (&[CutInVmm, Reclaimed], Over(Class::Reclaimed), Some(Layer::Drive)),
        (&[HeldOnHost, CutInVmm], Over(Class::Cut), Some(Layer::HostFilesystem)),
        (&[AlreadyCompact, NotRun], Over(Class::NotRun), None),
        (&[NotRun, NotMeasurable], Over(Class::NotMeasurable), None),
        (&[Reclaimed, Failed], Again(Class::Failed), None),
    ];
    for (verdicts, expected, layer) in cases {
        let said = classify(&Ok(ended(verdicts)));
        assert_eq!((said.outlook, said.layer), (expected, layer), "{verdicts:?}");
    }
}

#[test]
fn a_guard_that_passes_is_waited_for_unless_space_came_back() {
    let mut outcome = ended(&[Verdict::NotRun, Verdict::CutInVmm]);
    outcome.disks[0].passes_by_itself = true;
    assert_eq!(outlook(outcome), NotNow(Class::NotRun));
    let mut outcome = ended(&[Verdict::NotRun, Verdict::Reclaimed]);
    outcome.disks[0].passes_by_itself = true;
    assert_eq!(outlook(outcome), Over(Class::Reclaimed));
}

#[test]
fn runs_that_were_cut_short() {
    let stopped = |stop, freed: i64| {
        let mut outcome = ended(&[Verdict::Failed]);
        outcome.disks[0].ledger.freed_bytes = Some(freed);
        let run = outcome.run.as_mut().unwrap();
        run.stop = Some(stop);
        run.filesystems[0].state = Wire::Known(FilesystemState::Partial);
        outlook(outcome)
    };
    for (stop, expected) in [
        (StopReason::Cancelled, Partial(Class::Reclaimed)),
        (StopReason::Deadline, Again(Class::Failed)),
        (StopReason::CallerGone, Again(Class::Failed)),
        (StopReason::Shutdown, Again(Class::Failed)),
        (StopReason::Superseded, Fetch(Class::Failed)),
        (StopReason::Done, Again(Class::Failed)),
    ] {
        assert_eq!(stopped(Wire::Known(stop), 1), expected, "{stop}");
    }
    assert_eq!(stopped(Wire::Unknown(77), 1), Again(Class::Failed));
    assert_eq!(stopped(Wire::Known(StopReason::Cancelled), -1), Partial(Class::AlreadyCompact));
}

#[test]
fn a_cancel_that_came_too_late_changes_nothing() {
    let mut outcome = healthy();
    outcome.run.as_mut().unwrap().stop = Some(Wire::Known(StopReason::Cancelled));
    assert_eq!(outlook(outcome), Over(Class::Reclaimed));
}

#[test]
fn what_a_guest_says_of_its_filesystems() {
    for (kind, expected) in [
        (FailureKind::Unsupported, Over(Class::Failed)),
        (FailureKind::Damaged, Over(Class::SetAside)),
        (FailureKind::Permission, Over(Class::Failed)),
        (FailureKind::Io, Over(Class::SetAside)),
        (FailureKind::Stuck, Again(Class::Failed)),
        (FailureKind::Worker, Again(Class::Failed)),
        (FailureKind::Gone, Again(Class::Failed)),
        (FailureKind::NoRoom, Over(Class::Failed)),
    ] {
        let mut outcome = ended(&[Verdict::Failed]);
        let failure = Failure { kind: Wire::Known(kind), errno: 5, text: "said".into() };
        let mut run = outcome.run.as_ref().unwrap().filesystems[0].clone();
        run.failure = Some(failure);
        run.state = Wire::Known(FilesystemState::Failed);
        outcome.filesystems[0].run = Some(run);
        assert_eq!(outlook(outcome), expected, "{kind}");
    }
}
