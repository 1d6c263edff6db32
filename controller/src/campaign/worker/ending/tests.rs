//! What becomes of a run, by how its turn ended and who wanted it to.

use tokio::sync::watch;
use trimtab_proto::words::{FilesystemState, RunState, Wire};

use super::*;
use crate::{
    campaign::{limits::Limits, run::VmKey},
    layers::samples::Sample,
    model::{
        baseline::Baseline,
        run::{RunEvent, RunReport},
        trouble::Kind,
    },
    trim::{
        fakes::{FakeVm, report},
        look::Parts,
        neighbours::Neighbours,
        options::TrimOptions,
        turn::turn,
        wish::Wish,
    },
};

const FREED: i64 = 4 << 30;

/// A turn that freed 4 GiB, and whose agent ended it for this reason.
fn turned(stop: StopReason) -> Result<TurnOutcome, Trouble> {
    let mut end = RunReport { stop: Some(Wire::Known(stop)), ..report(RunState::Ended, 20 << 30) };
    if stop != StopReason::Done {
        end.filesystems[0].state = Wire::Known(FilesystemState::Partial);
    }
    let vm = FakeVm::new(Sample::raw());
    vm.script(|s| {
        s.streams.push_back(vec![Ok(RunEvent::End(end))]);
        s.allocated_after = 26 << 30;
    });
    let neighbours = Neighbours::default();
    let parts = Parts { name: "vm", guest: &vm, vmm: &vm, storage: &vm, neighbours: &neighbours };
    let (_keep, wishes) = watch::channel(Wish::Go);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(turn(&parts, &TrimOptions::default(), true, &|_| {}, wishes))
}

fn trouble(kind: Kind) -> Result<TurnOutcome, Trouble> {
    Err(Trouble::new(kind, "what happened"))
}

/// A run that was lost on its way.
fn lost_on_the_way() -> Result<TurnOutcome, Trouble> {
    let outcome = turned(StopReason::Done).unwrap();
    let trouble = Some(Trouble::new(Kind::AgentLost, "the connection broke"));
    Ok(TurnOutcome { trouble, run: None, ..outcome })
}

pub(in crate::campaign::worker) fn claimed(baseline: Option<Baseline>) -> Claimed {
    Claimed {
        run: 1,
        campaign: 1,
        vm: VmKey { host: "h".into(), name: "vm".into(), uuid: None },
        datastores: vec!["d".into()],
        agent_run_id: "r".into(),
        fence: 1,
        attempt: 1,
        put_off: 0,
        baseline,
        until: None,
        remaining: None,
        limits: Limits::default(),
    }
}

/// Class or wait, and the bytes that are counted now; `None`: nothing is counted, and the agent's run stays.
type Short = (Result<Class, Wait>, Option<i64>);

fn ended(turn: &Result<TurnOutcome, Trouble>, stop: Option<Stop>, was_called_before: bool) -> Option<Short> {
    let claimed = claimed(was_called_before.then(Baseline::default));
    short(&over(&claimed, turn, stop))
}

fn over<'a>(claimed: &'a Claimed, turn: &'a Result<TurnOutcome, Trouble>, stop: Option<Stop>) -> Over<'a> {
    Over {
        claimed,
        turn,
        stop,
        was_held_up: false,
        took: Duration::ZERO,
        lost: Vec::new(),
        lease: None,
        chance: 7,
    }
}

fn short(over: &Over<'_>) -> Option<Short> {
    match over.ending(|datastore| datastore.id.clone()) {
        Ending::Drop | Ending::Late(_) => None,
        Ending::Finish(result) => Some((Ok(result.class), Some(result.freed_bytes()))),
        Ending::Later(later) => Some((
            Err(later.why),
            match later.did {
                Did::Nothing => Some(0),
                Did::Unknown => None,
                Did::This(result) => Some(result.freed_bytes()),
            },
        )),
    }
}

#[test]
fn what_becomes_of_a_run() {
    let done = turned(StopReason::Done);
    let cancelled = turned(StopReason::Cancelled);
    let left = turned(StopReason::CallerGone);
    let (window, leaving, ordered) = (Some(Stop::Window), Some(Stop::Leaving), Some(Stop::Ordered));
    for (name, turn, stop, called_before, expected) in [
        ("its whole way", &done, None, false, (Ok(Class::Reclaimed), Some(FREED))),
        ("the end came before the cancel", &done, ordered, false, (Ok(Class::Reclaimed), Some(FREED))),
        ("the window's end", &cancelled, window, false, (Err(Wait::Window), Some(FREED))),
        ("the worker's end", &cancelled, leaving, false, (Err(Wait::Room), Some(FREED))),
        ("an abort", &cancelled, ordered, false, (Err(Wait::Campaign), Some(FREED))),
        ("the agent heard nothing", &left, None, false, (Err(Wait::Retry), Some(FREED))),
        ("for a worker before this one", &left, None, true, (Err(Wait::Room), Some(FREED))),
        ("lost: to be fetched", &lost_on_the_way(), None, false, (Err(Wait::Retry), None)),
        ("lost while the worker ends", &lost_on_the_way(), leaving, false, (Err(Wait::Room), None)),
        (
            "lost, and nobody fetches it",
            &lost_on_the_way(),
            ordered,
            false,
            (Err(Wait::Campaign), Some(FREED)),
        ),
        ("a guard", &trouble(Kind::VmPaused), None, false, (Err(Wait::Guard), Some(0))),
        ("a guard over a lost run", &trouble(Kind::VmPaused), None, true, (Err(Wait::Guard), None)),
        ("silent over a lost run", &trouble(Kind::AgentSilent), None, true, (Err(Wait::Retry), None)),
        ("off", &trouble(Kind::VmOff), None, false, (Ok(Class::Away), Some(0))),
        ("not begun", &trouble(Kind::Interrupted), leaving, false, (Err(Wait::Room), Some(0))),
    ] {
        assert_eq!(ended(turn, stop, called_before), Some(expected), "{name}");
    }
}

#[test]
fn what_is_anothers_is_told_for_the_history() {
    let claimed = claimed(None);
    for (name, turn, expected) in [
        ("its whole way", turned(StopReason::Done), Some(FREED)),
        ("cancelled", turned(StopReason::Cancelled), Some(FREED)),
        ("who has it fetches that", lost_on_the_way(), None),
        ("nothing was begun", trouble(Kind::Interrupted), None),
    ] {
        let told = match over(&claimed, &turn, Some(Stop::Gone)).ending(|datastore| datastore.id.clone()) {
            Ending::Late(result) => Some(result.freed_bytes()),
            Ending::Drop => None,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(told, expected, "{name}");
    }
}

#[test]
fn a_vm_that_has_left_may_be_on_its_way() {
    let (none, id) = (None, Some("uuid".to_owned()));
    let minute = Some(Duration::from_secs(60));
    for (name, kind, uuid, put_off, lease, expected) in [
        ("it has left", Kind::UnknownVm, &id, 0, minute, (Err(Wait::Guard), Some(0))),
        ("it is off here", Kind::VmOff, &id, 0, minute, (Err(Wait::Guard), Some(0))),
        ("and was a minute ago", Kind::VmOff, &id, 1, minute, (Ok(Class::Away), Some(0))),
        ("it does not move", Kind::UnknownVm, &none, 0, minute, (Ok(Class::Away), Some(0))),
        ("there is no other host", Kind::VmOff, &id, 0, None, (Ok(Class::Away), Some(0))),
        ("it has no agent", Kind::NoAgent, &id, 0, minute, (Ok(Class::Away), Some(0))),
    ] {
        let mut claimed = Claimed { put_off, ..claimed(None) };
        claimed.vm.uuid.clone_from(uuid);
        let turn = trouble(kind);
        let over = Over { lease, ..over(&claimed, &turn, None) };
        assert_eq!(short(&over), Some(expected), "{name}");
        if let Ending::Later(later) = over.ending(|datastore| datastore.id.clone()) {
            assert_eq!((Some(later.after), later.text.contains("migrated")), (minute, true), "{name}");
        }
    }
}

#[test]
fn what_was_refused_has_a_known_end() {
    let busy = trouble(Kind::Busy);
    let given_up = Some((Err(Wait::Guard), Some(0)));
    assert_eq!(ended(&busy, None, false), given_up, "what others free is not counted");
    assert_eq!(
        ended(&busy, None, true),
        Some((Err(Wait::Guard), None)),
        "an earlier call's baseline is kept"
    );
}

#[test]
fn what_befell_the_worker_is_no_failure_of_a_vm() {
    let claimed = claimed(None);
    let (left, lost, silent) =
        (turned(StopReason::CallerGone), lost_on_the_way(), trouble(Kind::AgentSilent));
    for (name, turn, expected) in [
        ("its agent stopped", &left, (Err(Wait::Room), Some(FREED))),
        ("its agent is to be asked again", &lost, (Err(Wait::Room), None)),
        ("its agent was not called yet", &silent, (Err(Wait::Room), Some(0))),
        ("what else is wrong", &trouble(Kind::Image), (Err(Wait::Retry), Some(0))),
    ] {
        let over = Over { was_held_up: true, ..over(&claimed, turn, None) };
        assert_eq!(short(&over), Some(expected), "{name}");
    }
}

#[test]
fn the_last_attempt_is_the_end() {
    let claimed = Claimed { attempt: 3, ..claimed(None) };
    let turn = lost_on_the_way();
    let over = Over { took: Duration::from_secs(2), ..over(&claimed, &turn, None) };
    let Ending::Finish(result) = over.ending(|datastore| format!("store {}", datastore.id)) else {
        panic!("it goes on")
    };
    assert_eq!((result.class, result.duration_ms, result.freed_bytes()), (Class::Failed, 2000, FREED));
    assert!(result.disks[0].datastore.as_ref().unwrap().starts_with("store "), "{:?}", result.disks);
}
