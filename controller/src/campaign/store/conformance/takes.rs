//! Claims, and what a worker says of what it has.

use super::*;
use crate::campaign::run::{Baseline, BaselineDisk, Instruction, RunState};

fn baseline(allocated: u64) -> Baseline {
    Baseline {
        disks: vec![BaselineDisk {
            device: "vda".into(),
            file: (8, 12),
            allocated_bytes: Some(allocated),
            written_bytes: Some(1),
            arrived_bytes: None,
            failed_requests: None,
            failed_io: None,
        }],
    }
}

pub(crate) async fn best_first(store: &impl Store, _: &TestClock) {
    let mut new = campaign(3, loose());
    new.runs[0].position = 9;
    new.runs[1].datastores = vec!["z".into()];
    let id = store.apply(&new).await.unwrap();
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(take(store, id).await.vm.name);
    }
    assert_eq!(names, ["vm1", "vm2", "vm0"]);
    assert_eq!(store.claim(id, &worker()).await.unwrap(), Claim::Empty);
}

pub(crate) async fn each_once(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(20, loose())).await.unwrap();
    let mut runs = Vec::new();
    for _ in 0..20 {
        runs.push(take(store, id).await.run);
    }
    runs.sort_unstable();
    runs.dedup();
    assert_eq!(runs.len(), 20);
    assert_eq!(store.status(id).await.unwrap().running.len(), 20);
}

pub(crate) async fn fences_rise(store: &impl Store, clock: &TestClock) {
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    let mut last = 0;
    for step in 0..6 {
        let claimed = take(store, id).await;
        assert!(claimed.fence > last, "step {step}");
        last = claimed.fence;
        store.later(&claimed, &later(Wait::Retry, 0)).await.unwrap();
        // Whatever the clock does.
        if step == 2 { clock.back(Duration::from_secs(7200)) } else { clock.forward(Duration::from_secs(1)) }
    }
}

pub(crate) async fn only_of_its_host(store: &impl Store, _: &TestClock) {
    let mut new = campaign(2, loose());
    new.runs[0].vm.host = "other".into();
    let id = store.apply(&new).await.unwrap();
    assert_eq!(take(store, id).await.vm.name, "vm1");
    assert_eq!(store.claim(id, &worker()).await.unwrap(), Claim::Empty, "nothing of this host's is left");
    let other = Claimant { host: "other".into(), worker: "w".into() };
    assert!(
        matches!(store.claim(id, &other).await.unwrap(), Claim::Run(claimed) if claimed.vm.name == "vm0")
    );
}

pub(crate) async fn recover_keeps_what_is_needed(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(2, loose())).await.unwrap();
    let first = take(store, id).await;
    store.baseline(&first, &baseline(4096)).await.unwrap();
    let next = Claimant { worker: "w2".into(), ..worker() };
    assert_eq!(store.recover(&worker()).await.unwrap(), 0, "its own are not orphans");
    assert_eq!(store.recover(&next).await.unwrap(), 1);
    assert_eq!(store.recover(&next).await.unwrap(), 0);
    let again = take(store, id).await;
    assert_eq!((again.run, &again.agent_run_id), (first.run, &first.agent_run_id));
    assert_eq!(again.baseline, Some(baseline(4096)));
    assert_eq!(again.attempt, 1, "a worker that died is no failure of the VM's");
    assert!(again.fence > first.fence);
    let foreign = Claimant { host: "other".into(), worker: "w3".into() };
    assert_eq!(store.recover(&foreign).await.unwrap(), 0, "another host's are not its");
}

pub(crate) async fn baseline_and_heartbeat(store: &impl Store, clock: &TestClock) {
    let id = store.apply(&campaign(1, loose())).await.unwrap();
    let claimed = take(store, id).await;
    assert_eq!(claimed.baseline, None);
    assert_eq!(store.baseline(&claimed, &baseline(1)).await.unwrap(), Instruction::Keep);
    clock.forward(Duration::from_secs(3));
    let stages = [
        (claimed.run, claimed.fence, "trimming".to_owned()),
        (claimed.run, claimed.fence - 1, "a ghost".to_owned()),
        (999, 1, "no such run".to_owned()),
    ];
    let answers = store.heartbeat(&worker(), Some("gate ceph: closed"), &stages).await.unwrap();
    assert_eq!(
        answers,
        [(claimed.run, Instruction::Keep), (claimed.run, Instruction::Gone), (999, Instruction::Gone)]
    );
    let status = store.status(id).await.unwrap();
    assert_eq!(status.running[0].stage.as_deref(), Some("trimming"));
    assert_eq!(status.running[0].state, RunState::Running);
    assert_eq!(status.hosts[0].seen, Some(at(3)));
    assert_eq!(status.hosts[0].held.as_deref(), Some("gate ceph: closed"));
    store.finish(&claimed, &result(Class::Reclaimed, 1)).await.unwrap();
    assert_eq!(store.baseline(&claimed, &baseline(1)).await.unwrap(), Instruction::Gone);
}
