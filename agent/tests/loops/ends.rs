//! What ends a run, and what is kept of it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::time;
use trimtab_proto::{
    v1,
    words::{FilesystemState, RunState, StopReason, Wire},
};

use crate::{
    client::{all, connect, end, next, run_id, slow, state, stop, under_way, until_progress},
    rig::{Disk, GIB, Long, Mounted, Scratch, Serving, until, workers_of},
};

/// Waits for a run's end without its stream.
async fn ended(agent: &Serving, n: u32) -> v1::RunReport {
    let mut client = connect(&agent.socket).await;
    for _ in 0..200 {
        let report = client.get_run(v1::GetRunRequest { run_id: run_id(n) }).await.unwrap().into_inner();
        if state(&report) == RunState::Ended {
            return report;
        }
        time::sleep(Duration::from_millis(50)).await;
    }
    panic!("run {n} goes on");
}

#[tokio::test]
async fn nobody_listens() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let agent = Serving::start(&scratch);
    let mut client = connect(&agent.socket).await;
    let asked = v1::TrimRequest { linger_secs: 1, ..slow(1, &[&long.id()]) };
    let stream = under_way(&mut client, asked.clone()).await;

    // A caller that is back within the second finds it at work.
    drop(stream);
    time::sleep(Duration::from_millis(400)).await;
    let mut stream = client.trim(v1::TrimRequest { fence: 2, ..asked }).await.unwrap().into_inner();
    time::sleep(Duration::from_millis(1500)).await;
    until_progress(&mut stream).await;

    // Who takes its connection along is gone too.
    drop((stream, client));
    let gone = Instant::now();
    let report = ended(&agent, 1).await;
    assert_eq!(stop(&report), Some(StopReason::CallerGone));
    assert!(gone.elapsed() > Duration::from_millis(900) && gone.elapsed() < Duration::from_secs(4));
    assert!(workers_of(agent.child.id()).is_empty());
}

#[tokio::test]
async fn a_slow_reader_holds_up_nothing() {
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, "one", 64 * GIB);
    let _mounted = Mounted::slow_to_trim(&scratch, &disk.device);
    let agent = Serving::start(&scratch);
    let mut client = connect(&agent.socket).await;
    let mut stream = client.trim(slow(1, &[&disk.id()])).await.unwrap().into_inner();
    next(&mut stream).await.unwrap();
    let kept = ended(&agent, 1).await;
    assert_eq!(stop(&kept), Some(StopReason::Done));
    assert_eq!(end(&all(stream).await), kept);
}

#[tokio::test]
async fn the_deadline() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let agent = Serving::start(&scratch);
    let mut client = connect(&agent.socket).await;
    let asked = v1::TrimRequest { deadline_secs: 1, ..slow(1, &[&long.id()]) };
    let report = end(&all(client.trim(asked).await.unwrap().into_inner()).await);
    assert_eq!(stop(&report), Some(StopReason::Deadline));
    assert!(report.duration_ms >= 1000 && report.duration_ms < 3000, "{}", report.duration_ms);
}

#[tokio::test]
async fn told_to_stop_it_reports_and_the_next_agent_knows() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let mut agent = Serving::start(&scratch);
    let asked = slow(1, &[&long.id()]);
    let stream = under_way(&mut connect(&agent.socket).await, asked.clone()).await;

    agent.signal(Signal::SIGTERM);
    let report = end(&all(stream).await);
    assert_eq!(stop(&report), Some(StopReason::Shutdown));
    assert_eq!(agent.wait(Duration::from_secs(5)), Some(0));

    let next = Serving::start(&scratch);
    assert_eq!(ended(&next, 1).await, report);
    let retry = v1::TrimRequest { fence: 2, ..asked };
    let replayed = all(connect(&next.socket).await.trim(retry).await.unwrap().into_inner()).await;
    assert_eq!(end(&replayed), v1::RunReport { fence: 2, ..report });
}

#[tokio::test]
async fn killed_it_leaves_no_worker() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let mut agent = Serving::start(&scratch);
    let _stream = under_way(&mut connect(&agent.socket).await, slow(1, &[&long.id()])).await;
    let id = agent.child.id();
    assert_eq!(workers_of(id).len(), 1);

    agent.signal(Signal::SIGKILL);
    agent.wait(Duration::from_secs(5));
    until("its worker is gone", Duration::from_secs(1), || workers_of(id).is_empty());

    let next = Serving::start(&scratch);
    let report = ended(&next, 1).await;
    assert_eq!(stop(&report), Some(StopReason::Shutdown));
    let run = report.filesystems.iter().find(|run| run.filesystem_id == long.id()).unwrap();
    assert!(Wire::read(run.state).is(FilesystemState::Partial));
    // The lock went with it.
    let asked = v1::TrimRequest { deadline_secs: 1, ..slow(2, &[&long.id()]) };
    all(connect(&next.socket).await.trim(asked).await.unwrap().into_inner()).await;
}
