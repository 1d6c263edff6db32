//! Turns for a caller who keeps a baseline: lost results are fetched, and no byte is lost.

use std::sync::Mutex;

use super::*;
use crate::model::baseline::{Baseline, BaselineDisk};

/// Notes what it is told before the guest is called, and whether it had been called by then.
struct Keeper<'a> {
    vm: &'a FakeVm,
    told: Mutex<Vec<Baseline>>,
    refuses: bool,
}

impl Caller for Keeper<'_> {
    async fn before(&self, _: &Look, baseline: &Baseline) -> Result<(), Trouble> {
        self.vm.script(|s| assert!(s.orders.is_empty(), "the guest was called first"));
        self.told.lock().unwrap().push(baseline.clone());
        if self.refuses { Err(Trouble::new(Kind::Interrupted, "no more")) } else { Ok(()) }
    }

    fn was_alone(&self) -> bool {
        true
    }
}

fn keeper(vm: &FakeVm) -> Keeper<'_> {
    Keeper { vm, told: Mutex::default(), refuses: false }
}

async fn turn_of(
    vm: &FakeVm,
    keeper: &Keeper<'_>,
    baseline: Option<Baseline>,
) -> Result<TurnOutcome, Trouble> {
    let neighbours = Neighbours::default();
    let parts = Parts { name: "vm", guest: vm, vmm: vm, storage: vm, neighbours: &neighbours };
    let ticket = Ticket { run_id: "kept".into(), fence: 7, baseline };
    let (_keep, wishes) = watch::channel(Wish::Go);
    turn_for(keeper, ticket, &parts, &TrimOptions::default(), &|_| {}, wishes).await
}

/// 40 GiB, where the healthy VM has 30 before its trim and 26 after.
fn earlier(vm: &FakeVm) -> Baseline {
    let disk = BaselineDisk {
        device: "disk0".into(),
        file: vm.allocation.file,
        allocated_bytes: Some(40 * GIB),
        written_bytes: Some(0),
        arrived_bytes: Some(0),
        failed_requests: Some(0),
        failed_io: None,
    };
    Baseline { disks: vec![disk] }
}

/// The end that the agent keeps of "kept".
fn kept_end() -> RunReport {
    RunReport { run_id: "kept".into(), ..report(RunState::Ended, 20 * GIB) }
}

#[tokio::test(start_paused = true)]
async fn the_baseline_is_told_before_the_guest_is_called() {
    let vm = healthy();
    let keeper = keeper(&vm);
    turn_of(&vm, &keeper, None).await.unwrap();
    assert_eq!(keeper.told.lock().unwrap()[0].disks[0].allocated_bytes, Some(30 * GIB));
    vm.script(|s| assert_eq!((s.orders[0].run_id.as_str(), s.orders[0].fence), ("kept", 7)));
}

#[tokio::test(start_paused = true)]
async fn whoever_refuses_the_baseline_ends_the_turn() {
    let vm = healthy();
    let refusing = Keeper { refuses: true, ..keeper(&vm) };
    assert_eq!(turn_of(&vm, &refusing, None).await.unwrap_err().kind, Kind::Interrupted);
    vm.script(|s| assert!(s.orders.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_nobody_heard_is_fetched() {
    let vm = healthy();
    vm.script(|s| {
        s.trimmed = true;
        s.runs.push_back(Ok(kept_end()));
    });
    let keeper = keeper(&vm);
    let outcome = turn_of(&vm, &keeper, Some(earlier(&vm))).await.unwrap();
    vm.script(|s| assert!(s.orders.is_empty(), "nothing is trimmed again"));
    assert_eq!(outcome.disks[0].ledger.freed_bytes, Some(14 << 30), "from what was kept");
    assert_eq!(outcome.disks[0].ledger.arrived_bytes, Some(20 * GIB));
    assert_eq!(outcome.disks[0].ruling.verdict, Verdict::Reclaimed);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_is_taken_up() {
    let vm = healthy();
    vm.script(|s| s.runs.push_back(Ok(report(RunState::Running, 0))));
    vm.script(|s| s.runs.push_back(Ok(report(RunState::Running, 0))));
    let outcome = turn_of(&vm, &keeper(&vm), Some(earlier(&vm))).await.unwrap();
    vm.script(|s| assert_eq!((s.orders.len(), s.orders[0].fence), (1, 8), "attached, with a higher fence"));
    assert_eq!(outcome.disks[0].ledger.freed_bytes, Some(14 << 30));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_lets_nobody_attach_is_waited_for() {
    let vm = healthy();
    vm.script(|s| {
        s.trimmed = true;
        s.streams.clear();
        for _ in 0..40 {
            s.runs.push_back(Ok(report(RunState::Running, 0)));
            s.streams.push_back(vec![Err(Trouble::new(Kind::AgentRefused, "other parameters"))]);
        }
        s.runs.push_back(Ok(kept_end()));
    });
    let outcome = turn_of(&vm, &keeper(&vm), Some(earlier(&vm))).await.unwrap();
    assert_eq!(outcome.trouble, None);
    assert_eq!(outcome.disks[0].ledger.freed_bytes, Some(14 << 30));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_the_guest_forgot_is_done_anew_and_accounted_from_its_first_call() {
    let vm = healthy();
    let keeper = keeper(&vm);
    let outcome = turn_of(&vm, &keeper, Some(earlier(&vm))).await.unwrap();
    assert_eq!(outcome.disks[0].ledger.freed_bytes, Some(14 << 30));
    let told = keeper.told.lock().unwrap();
    assert_eq!(told[0].disks[0].allocated_bytes, Some(40 * GIB), "the older reading is kept on");
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_came_up_meanwhile_loses_no_bytes() {
    let mut vm = healthy();
    vm.view.disks[0].block_job = Some("running".into());
    vm.script(|s| s.trimmed = true);
    let outcome = turn_of(&vm, &keeper(&vm), Some(earlier(&vm))).await.unwrap();
    assert_eq!(outcome.disks[0].ruling.verdict, Verdict::NotRun);
    assert_eq!(outcome.disks[0].ledger.freed_bytes, Some(14 << 30));
}

#[tokio::test(start_paused = true)]
async fn another_image_under_the_name_has_a_reading_of_its_own() {
    let vm = healthy();
    let mut other = earlier(&vm);
    other.disks[0].file = (9, 9);
    let outcome = turn_of(&vm, &keeper(&vm), Some(other)).await.unwrap();
    assert_eq!(outcome.disks[0].ledger.freed_bytes, Some(4 << 30));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_cannot_be_asked_leaves_the_run_as_it_is() {
    let vm = healthy();
    vm.script(|s| s.runs.push_back(Err(Trouble::new(Kind::AgentSilent, "no answer"))));
    let ended = turn_of(&vm, &keeper(&vm), Some(earlier(&vm))).await;
    assert_eq!(ended.unwrap_err().kind, Kind::AgentSilent);
    vm.script(|s| assert!(s.orders.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_stopped_on_an_io_error_while_nobody_looked_is_harm() {
    let mut vm = healthy();
    vm.view.vm.state = Some(VmState::Stopped("io-error".into()));
    let kept = earlier(&vm);
    assert_eq!(turn_of(&vm, &keeper(&vm), Some(kept)).await.unwrap_err().kind, Kind::VmIoError);
    assert_eq!(
        turn_of(&vm, &keeper(&vm), None).await.unwrap_err().kind,
        Kind::VmPaused,
        "it was none of ours"
    );
}
