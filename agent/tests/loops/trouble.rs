//! What goes wrong by itself.

use std::{os::unix::net::UnixStream, process::Command, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time;
use trimtab_proto::{
    v1,
    words::{FailureKind, FilesystemState, Refusal, StopReason, Wire},
};

use crate::{
    client::{all, connect, end, refusal, request, slow, stop, under_way, until_progress},
    rig::{AGENT, Disk, GIB, Long, Mounted, Scratch, Serving, agent, id_of, until, workers_of},
};

#[tokio::test]
async fn a_worker_that_is_killed_fails_its_filesystem_alone() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let other = Disk::new(&scratch, "other", GIB);
    let _beside = Mounted::new(&scratch, "ext4", &other.device);
    let agent = Serving::start(&scratch);
    let mut client = connect(&agent.socket).await;
    let mut stream = client.trim(slow(1, &[&long.id(), &other.id()])).await.unwrap().into_inner();
    until("only the long one is left", Duration::from_secs(10), || {
        std::thread::sleep(Duration::from_millis(500));
        workers_of(agent.child.id()).len() == 1
    });
    until_progress(&mut stream).await;
    kill(Pid::from_raw(workers_of(agent.child.id())[0]), Signal::SIGKILL).unwrap();

    let report = end(&all(stream).await);
    assert_eq!(stop(&report), Some(StopReason::Done), "one filesystem's failure does not end the run");
    let run = |id: String| report.filesystems.iter().find(|run| run.filesystem_id == id).unwrap();
    assert!(Wire::read(run(other.id()).state).is(FilesystemState::Done));
    let failed = run(long.id());
    assert!(Wire::read(failed.state).is(FilesystemState::Failed));
    let failure = failed.failure.clone().unwrap();
    assert!(Wire::read(failure.kind).is(FailureKind::Worker), "{failure:?}");
    assert!(failure.text.contains("signal 9"), "{failure:?}");
    assert!(failed.claimed > Some(0), "what was done is still said");
}

#[tokio::test]
async fn without_the_capability_it_says_so() {
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, "one", GIB);
    let _mounted = Mounted::new(&scratch, "ext4", &disk.device);
    let mut poor = Command::new("setpriv");
    poor.args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", AGENT]);
    poor.arg("--run-dir").arg(scratch.path("run"));
    let agent = Serving::spawn(&scratch, "", poor);
    let mut client = connect(&agent.socket).await;
    client.survey(v1::SurveyRequest {}).await.unwrap();
    let status = client.trim(request(1, &[&disk.id()])).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::NotPrivileged), "{status}");
}

#[tokio::test]
async fn too_many_open_files_pass() {
    let scratch = Scratch::new();
    let mut limited = Command::new("prlimit");
    limited.args(["--nofile=20", AGENT]).arg("--run-dir").arg(scratch.path("run"));
    let agent = Serving::spawn(&scratch, "max_connections = 64\n", limited);
    {
        let _many: Vec<UnixStream> = (0..40).map(|_| UnixStream::connect(&agent.socket).unwrap()).collect();
        time::sleep(Duration::from_millis(500)).await;
    }
    let hello = time::timeout(Duration::from_secs(10), async {
        connect(&agent.socket).await.hello(v1::HelloRequest::default()).await
    });
    hello.await.expect("it accepts again").unwrap();
}

#[tokio::test]
async fn callers_that_say_nothing_lose_their_places() {
    let scratch = Scratch::new();
    let agent = Serving::start_with(&scratch, "max_connections = 2\n");
    let _silent: Vec<UnixStream> = (0..2).map(|_| UnixStream::connect(&agent.socket).unwrap()).collect();
    time::sleep(Duration::from_millis(3500)).await;
    connect(&agent.socket).await.hello(v1::HelloRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_trim_by_hand_makes_the_host_wait() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let serving = Serving::start(&scratch);
    let mut child = agent(&scratch)
        .args(["trim", "-q", "--pace", "gentle", "--deadline", "3s"])
        .arg(&long.mounted.path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("a worker is at it", Duration::from_secs(10), || !workers_of(child.id()).is_empty());
    let mut client = connect(&serving.socket).await;
    let status = client.trim(request(1, &[&long.id()])).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::Busy), "{status}");
    child.wait().unwrap();
    let report = end(&all(client.trim(request(1, &[&long.id()])).await.unwrap().into_inner()).await);
    assert_eq!(stop(&report), Some(StopReason::Done));
}

#[tokio::test]
async fn a_filesystem_that_is_gone_fails_by_itself() {
    let scratch = Scratch::new();
    let shared = Disk::new(&scratch, "shared", 130 * GIB);
    let parts = shared.in_two(64 * 1024);
    let _first = Mounted::slow_to_trim(&scratch, &parts[0]);
    let second = Mounted::slow_to_trim(&scratch, &parts[1]);
    let (one, two) = (id_of(&parts[0]), id_of(&parts[1]));
    let agent = Serving::start(&scratch);
    let mut client = connect(&agent.socket).await;
    let stream = under_way(&mut client, slow(1, &[&one, &two])).await;
    // While the first has the disk, the second goes away.
    drop(second);
    let report = end(&all(stream).await);
    let run = |id: &str| report.filesystems.iter().find(|run| run.filesystem_id == id).unwrap();
    assert!(Wire::read(run(&one).state).is(FilesystemState::Done));
    let failure = run(&two).failure.clone().unwrap();
    assert!(Wire::read(failure.kind).is(FailureKind::Gone), "{failure:?}");
}
