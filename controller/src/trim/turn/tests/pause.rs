//! Turns that somebody pauses.

use std::sync::{Arc, Mutex};

use super::*;

/// A VM whose run lasts until it is cancelled, and whose agent answers so to each order to pause or to go on.
fn lasting(answers: Vec<Result<RunState, Trouble>>) -> FakeVm {
    let vm = healthy();
    vm.script(|s| {
        s.streams = [vec![Ok(RunEvent::State(report(RunState::Running, 0)))]].into();
        s.steers = answers.into_iter().map(|answer| Ok(report(answer?, 0))).collect();
    });
    vm
}

/// Trims it while these wishes come, a second apart; what was told from the call on until the end of the run.
async fn trim_with(vm: &FakeVm, comes: &[Wish]) -> (TurnOutcome, Vec<TurnEvent>) {
    let (wish, wishes) = watch::channel(Wish::Go);
    let told = Arc::new(Mutex::new(Vec::new()));
    let running = {
        let (vm, told) = (vm.clone(), Arc::clone(&told));
        tokio::spawn(async move {
            let neighbours = Neighbours::default();
            let parts = Parts { name: "vm", guest: &vm, vmm: &vm, storage: &vm, neighbours: &neighbours };
            let listener = |event: TurnEvent| told.lock().unwrap().push(event);
            turn(&parts, &TrimOptions::default(), true, &listener, wishes).await
        })
    };
    for next in comes {
        tokio::time::sleep(Duration::from_secs(1)).await;
        wish.send_replace(*next);
    }
    let outcome = running.await.unwrap().unwrap();
    let [begins, ends] = [Stage::Trimming, Stage::Settling].map(TurnEvent::Stage);
    let told = told.lock().unwrap();
    let of_run = told.iter().skip_while(|event| **event != begins).take_while(|event| **event != ends);
    (outcome, of_run.cloned().collect())
}

fn steered(vm: &FakeVm) -> Vec<Action> {
    vm.script(|s| s.steered.iter().map(|order| order.action).collect())
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_said_when_the_agent_has_heard_it() {
    // The last one comes when all is passed and the counters settle: that is no pause any more.
    let vm = lasting(vec![Ok(RunState::Paused), Ok(RunState::Running), Ok(RunState::Settling)]);
    let (outcome, told) = trim_with(&vm, &[Wish::Pause, Wish::Go, Wish::Pause, Wish::Cancel]).await;
    assert_eq!(outcome.disks[0].ledger.freed_bytes, Some(4 << 30));
    assert_eq!(steered(&vm), [Action::Pause, Action::Resume, Action::Pause, Action::Cancel]);
    let stages = [Stage::Trimming, Stage::Paused, Stage::Trimming, Stage::Cancelling];
    assert_eq!(told, stages.map(TurnEvent::Stage));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_refuses_a_pause_goes_on_and_that_is_said() {
    let vm = lasting(vec![Err(Trouble::new(Kind::AgentRefused, "it knows of no pause"))]);
    let (outcome, told) = trim_with(&vm, &[Wish::Pause, Wish::Cancel]).await;
    assert!(outcome.trouble.is_none(), "{outcome:?}");
    assert_eq!(steered(&vm), [Action::Pause, Action::Cancel]);
    let warned = |event: &TurnEvent| matches!(event, TurnEvent::Warning { text, .. } if text.contains("it knows of no pause"));
    assert!(told.iter().any(warned), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_paused_before_its_connection_was_lost_goes_on_when_it_is_to() {
    let vm = lasting(vec![Ok(RunState::Running)]);
    vm.script(|s| s.streams[0] = vec![Ok(RunEvent::State(report(RunState::Paused, 0)))]);
    let (_, told) = trim_with(&vm, &[Wish::Go, Wish::Cancel]).await;
    assert_eq!(steered(&vm), [Action::Resume, Action::Cancel]);
    assert!(told.contains(&TurnEvent::Stage(Stage::Trimming)), "{told:?}");
}
