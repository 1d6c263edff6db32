//! Turns of a scripted VM: the way through the steps, and every way off it.

use std::time::Duration;

use trimtab_proto::words::{Action, FilesystemState, RunState, Wire};

use super::*;
use crate::{
    layers::{
        Layer,
        samples::{HEADER, Sample},
    },
    ledger::{pair::Confirmation, verdict::Verdict},
    model::{
        disk::{DiskCounters, DriveDiscard, VmState},
        image::Qcow2Header,
        run::RunEvent,
    },
    trim::{
        fakes::{FakeVm, report},
        neighbours::Neighbours,
        outcome::Weight,
        wish::Wish,
    },
};

mod harm;
mod pause;
mod resumed;

const GIB: u64 = 1 << 30;

async fn run_with(
    vm: &FakeVm,
    options: &TrimOptions,
    wishes: watch::Receiver<Wish>,
) -> Result<TurnOutcome, Trouble> {
    let neighbours = Neighbours::default();
    let parts = Parts { name: "vm", guest: vm, vmm: vm, storage: vm, neighbours: &neighbours };
    turn(&parts, options, true, &|_| {}, wishes).await
}

async fn run(vm: &FakeVm) -> Result<TurnOutcome, Trouble> {
    let (_keep, wishes) = watch::channel(Wish::Go);
    run_with(vm, &TrimOptions::default(), wishes).await
}

/// A VM whose trim frees 4 GiB of 30.
fn healthy() -> FakeVm {
    let vm = FakeVm::new(Sample::raw());
    vm.script(|s| {
        s.streams.push_back(vec![
            Ok(RunEvent::State(report(RunState::Running, 0))),
            Ok(RunEvent::End(report(RunState::Ended, 20 * GIB))),
        ]);
        s.allocated_after = 26 * GIB;
        s.free_after += 4 * GIB;
        s.counters_after = DiskCounters {
            written_bytes: Some(0),
            arrived_bytes: Some(20 * GIB),
            failed_requests: Some(0),
            failed_io: Some(7),
        };
    });
    let mut vm = vm;
    vm.before = DiskCounters {
        written_bytes: Some(0),
        arrived_bytes: Some(0),
        failed_requests: Some(0),
        failed_io: Some(7),
    };
    vm
}

fn lost() -> Trouble {
    Trouble::new(Kind::AgentLost, "the connection broke")
}

#[tokio::test(start_paused = true)]
async fn the_whole_way() {
    let vm = healthy();
    let outcome = run(&vm).await.unwrap();
    let disk = &outcome.disks[0];
    assert_eq!(disk.ruling.verdict, Verdict::Reclaimed);
    assert_eq!(disk.guest_disk.as_deref(), Some("sda"));
    assert_eq!(disk.ledger.sent_bytes, Some(20 * GIB));
    assert_eq!(disk.ledger.arrived_bytes, Some(20 * GIB));
    assert_eq!(disk.ledger.freed_bytes, Some(4 << 30));
    assert_eq!(outcome.datastores[0].gain_bytes(), Some(4 << 30));
    assert_eq!(disk.weight(), Weight::Good);
    vm.script(|s| assert_eq!(s.orders[0].targets[0].filesystem_id, "8:1"));
}

#[tokio::test(start_paused = true)]
async fn a_paused_guest_is_not_called() {
    let mut vm = healthy();
    vm.view.vm.state = Some(VmState::Stopped("paused".into()));
    assert_eq!(run(&vm).await.unwrap_err().kind, Kind::VmPaused);
    vm.script(|s| assert!(s.orders.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_known_cut_is_not_started() {
    let mut vm = healthy();
    vm.view.disks[0].discard = DriveDiscard::Ignore;
    let outcome = run(&vm).await.unwrap();
    assert_eq!((outcome.disks[0].ruling.verdict, outcome.disks[0].ruling.rule), (Verdict::CutInVmm, "2a"));
    vm.script(|s| assert!(s.orders.is_empty(), "the guest was not asked"));
    assert_eq!(outcome.disks[0].ledger.freed_bytes, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_full_datastore_guards_an_overlay() {
    let header = Qcow2Header { has_backing_file: true, ..HEADER };
    let mut vm = FakeVm::new(Sample::qcow2(header));
    vm.place.datastore.as_mut().unwrap().free_bytes = GIB - 1;
    let outcome = run(&vm).await.unwrap();
    assert_eq!(outcome.disks[0].ruling.verdict, Verdict::NotRun);
    assert!(outcome.disks[0].ruling.because.contains("could pause the VM"));
    vm.script(|s| assert!(s.orders.is_empty()));
    let anyway = TrimOptions { anyway: vec![Layer::Datastore], ..TrimOptions::default() };
    vm.script(|s| s.streams.push_back(vec![Ok(RunEvent::End(report(RunState::Ended, 0)))]));
    let (_keep, wishes) = watch::channel(Wish::Go);
    run_with(&vm, &anyway, wishes).await.unwrap();
    vm.script(|s| assert_eq!(s.orders.len(), 1));
}

#[tokio::test(start_paused = true)]
async fn busy_is_the_vms_own_trouble() {
    let vm = healthy();
    vm.script(|s| s.streams[0] = vec![Err(Trouble::new(Kind::Busy, "busy since T"))]);
    assert_eq!(run(&vm).await.unwrap_err().kind, Kind::Busy);
}

#[tokio::test(start_paused = true)]
async fn a_lost_result_is_fetched_and_not_done_again() {
    let vm = healthy();
    vm.script(|s| {
        s.streams[0] = vec![Ok(RunEvent::State(report(RunState::Running, 0))), Err(lost())];
        s.runs.push_back(Ok(report(RunState::Ended, 20 * GIB)));
    });
    let outcome = run(&vm).await.unwrap();
    assert_eq!(outcome.disks[0].ruling.verdict, Verdict::Reclaimed);
    vm.script(|s| assert_eq!(s.orders.len(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_is_attached_with_a_higher_fence() {
    let vm = healthy();
    vm.script(|s| {
        s.streams.push_front(vec![Err(lost())]);
        s.runs.push_back(Ok(report(RunState::Running, 0)));
    });
    let outcome = run(&vm).await.unwrap();
    assert_eq!(outcome.disks[0].ruling.verdict, Verdict::Reclaimed);
    vm.script(|s| {
        assert_eq!(s.orders[0].run_id, s.orders[1].run_id);
        assert!(s.orders[0].fence < s.orders[1].fence);
    });
}

#[tokio::test(start_paused = true)]
async fn a_reboot_says_so_and_the_ledger_still_stands() {
    let vm = healthy();
    vm.script(|s| {
        s.streams[0] = vec![Err(lost())];
        s.boot_id = "another".into();
    });
    let outcome = run(&vm).await.unwrap();
    assert_eq!(outcome.trouble.as_ref().unwrap().kind, Kind::GuestRebooted);
    let disk = &outcome.disks[0];
    assert_eq!(disk.ruling.verdict, Verdict::Failed);
    assert_eq!(disk.ledger.sent_bytes, None, "not known, never 0");
    assert_eq!(disk.ledger.freed_bytes, Some(4 << 30), "the host's own figures do not depend on the guest");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stays_away_ends_the_turn() {
    let vm = healthy();
    vm.script(|s| {
        s.streams[0] = vec![Err(lost())];
        for _ in 0..200 {
            s.runs.push_back(Err(Trouble::new(Kind::NoAgent, "nobody")));
        }
    });
    let began = tokio::time::Instant::now();
    let outcome = run(&vm).await.unwrap();
    assert_eq!(outcome.trouble.unwrap().kind, Kind::AgentLost);
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_breaks_every_stream_is_given_up() {
    let vm = healthy();
    vm.script(|s| {
        s.streams.clear();
        for _ in 0..100 {
            s.streams.push_back(vec![Ok(RunEvent::State(report(RunState::Running, 0))), Err(lost())]);
            s.runs.push_back(Ok(report(RunState::Running, 0)));
        }
    });
    assert_eq!(run(&vm).await.unwrap().trouble.unwrap().kind, Kind::AgentLost);
    vm.script(|s| assert!(s.orders.len() <= 6, "{}", s.orders.len()));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_steers_and_still_accounts() {
    let vm = healthy();
    vm.script(|s| s.streams[0] = vec![Ok(RunEvent::State(report(RunState::Running, 0)))]);
    let (wish, wishes) = watch::channel(Wish::Go);
    let turn = tokio::spawn({
        let vm = vm.clone();
        async move { run_with(&vm, &TrimOptions::default(), wishes).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    wish.send_replace(Wish::Cancel);
    let outcome = turn.await.unwrap().unwrap();
    vm.script(|s| assert_eq!(s.steered[0].action, Action::Cancel));
    assert_eq!(outcome.disks[0].ruling.verdict, Verdict::PartlyReclaimed);
    assert!(outcome.disks[0].ruling.because.contains("cancelled"));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_goes_or_changes_is_an_error_of_its_disk() {
    let gone = healthy();
    gone.script(|s| s.image_gone = true);
    let replaced = healthy();
    replaced.script(|s| s.file_after = Some((9, 9)));
    for (vm, text) in [(gone, "no such file"), (replaced, "another file")] {
        let disk = run(&vm).await.unwrap().disks.remove(0);
        assert_eq!(disk.ruling.verdict, Verdict::Failed);
        assert!(disk.ruling.because.contains(text), "{}", disk.ruling.because);
        assert_eq!(disk.ledger.freed_bytes, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_stopped_on_an_io_error_is_told() {
    let vm = healthy();
    vm.script(|s| s.state_after = Some(VmState::Stopped("io-error".into())));
    let outcome = run(&vm).await.unwrap();
    assert_eq!(outcome.trouble.as_ref().unwrap().kind, Kind::VmIoError);
    assert_eq!(outcome.disks[0].ruling.verdict, Verdict::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_stopped_in_the_middle_is_not_called_again() {
    let vm = healthy();
    vm.script(|s| {
        s.state_after = Some(VmState::Stopped("paused".into()));
        s.streams[0] = vec![Ok(RunEvent::State(report(RunState::Running, 0))), Err(lost())];
        s.runs.push_back(Ok(report(RunState::Ended, 20 * GIB)));
    });
    assert_eq!(run(&vm).await.unwrap().trouble.unwrap().kind, Kind::VmPaused);
    vm.script(|s| assert_eq!(s.runs.len(), 1, "its run was asked for"));

    let vm = healthy();
    vm.script(|s| {
        s.state_after = Some(VmState::Stopped("paused".into()));
        s.streams[0] = vec![Ok(RunEvent::State(report(RunState::Running, 0)))];
    });
    let (_keep, wishes) = watch::channel(Wish::Cancel);
    let outcome = run_with(&vm, &TrimOptions::default(), wishes).await.unwrap();
    assert_eq!(outcome.trouble.unwrap().kind, Kind::VmPaused);
    vm.script(|s| assert!(s.steered.is_empty(), "a stopped guest was told to cancel"));
}

#[tokio::test(start_paused = true)]
async fn a_disk_whose_filesystem_was_left_out_sent_nothing() {
    let vm = healthy();
    vm.script(|s| {
        let mut ended = report(RunState::Ended, 0);
        ended.filesystems[0].state = Wire::Known(FilesystemState::Skipped);
        ended.filesystems[0].claimed_bytes = None;
        ended.sent.clear();
        s.streams[0] = vec![Ok(RunEvent::End(ended))];
        s.allocated_after = 30 * GIB;
    });
    let ledger = run(&vm).await.unwrap().disks.remove(0).ledger;
    assert_eq!((ledger.claimed_bytes, ledger.sent_bytes), (Some(0), Some(0)), "known, and nothing");
}

#[tokio::test(start_paused = true)]
async fn counters_that_contradict_a_pair_silence_the_guest() {
    let vm = healthy();
    vm.script(|s| {
        let mut ended = report(RunState::Ended, 20 * GIB);
        ended.sent[0].written_bytes = Some(5 * GIB);
        s.streams[0] = vec![Ok(RunEvent::End(ended))];
    });
    let disk = run(&vm).await.unwrap().disks.remove(0);
    assert_eq!(disk.confirmation, Confirmation::Contradicted);
    assert_eq!((disk.ledger.sent_bytes, disk.ledger.claimed_bytes), (None, None));
    assert_eq!(disk.ruling.verdict, Verdict::Reclaimed, "what came back rests on the host alone");
}

#[tokio::test(start_paused = true)]
async fn shared_extents_are_looked_for_only_when_nothing_was_gained() {
    let vm = healthy();
    vm.script(|s| s.shared = true);
    assert_eq!(run(&vm).await.unwrap().disks[0].ruling.verdict, Verdict::Reclaimed);
    let vm = healthy();
    vm.script(|s| {
        s.shared = true;
        s.free_after -= 4 * GIB;
    });
    assert_eq!(run(&vm).await.unwrap().disks[0].ruling.verdict, Verdict::HeldOnHost);
}

#[tokio::test(start_paused = true)]
async fn what_is_worth_knowing_is_told_before_it_begins() {
    let mut vm = healthy();
    vm.view.disks[0].dirty_bitmaps = 1;
    let told = std::sync::Mutex::new(Vec::new());
    let listener = |event: TurnEvent| told.lock().unwrap().push(event);
    let neighbours = Neighbours::default();
    let parts = Parts { name: "vm", guest: &vm, vmm: &vm, storage: &vm, neighbours: &neighbours };
    let (_keep, wishes) = watch::channel(Wish::Go);
    turn(&parts, &TrimOptions::default(), true, &listener, wishes).await.unwrap();
    let events = told.into_inner().unwrap();
    let warning = |event: &TurnEvent| matches!(event, TurnEvent::Warning { layer: Layer::Backup, text } if text.starts_with("sda: "));
    let at = |wanted: &dyn Fn(&TurnEvent) -> bool| events.iter().position(wanted).unwrap();
    assert!(at(&warning) < at(&|event| *event == TurnEvent::Stage(Stage::Trimming)), "{events:?}");
    assert_eq!(events.iter().filter(|event| warning(event)).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_comes_late_is_waited_for() {
    for (fs_type, at_least, at_most) in [("ext4", 0, 2), ("btrfs", 0, 2), ("zfs", 6, 15), ("nfs4", 2, 5)] {
        let mut vm = healthy();
        vm.place.datastore.as_mut().unwrap().fs_type = fs_type.into();
        let began = tokio::time::Instant::now();
        let outcome = run(&vm).await.unwrap();
        let took = began.elapsed().as_secs();
        assert!((at_least..=at_most).contains(&took), "{fs_type}: {took} s");
        assert_eq!(outcome.disks[0].ledger.freed_bytes, Some(4 << 30), "{fs_type}");
    }
}
