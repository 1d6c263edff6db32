//! Probes: what was written comes back, and nothing is left of it.

use std::{fs, time::Duration};

use tokio::time;
use tonic::{Code, Streaming, transport::Channel};
use trimtab_proto::{
    v1::{self, agent_client::AgentClient, probe_event::What},
    words::{FailureKind, Refusal, Wire, feature},
};

use crate::{
    client::{all, connect, refusal, request, slow, under_way},
    rig::{Disk, GIB, Long, MIB, Mounted, Scratch, Serving, run, workers_of},
};

const FILE: u64 = 16 * MIB;

fn probe(id: &str) -> v1::ProbeRequest {
    v1::ProbeRequest {
        filesystem_id: id.into(),
        boot_id: String::new(),
        bytes: FILE,
        pause_ms: 300,
        deadline_secs: 30,
    }
}

async fn next(stream: &mut Streaming<v1::ProbeEvent>) -> Option<v1::ProbeEvent> {
    let message = time::timeout(Duration::from_secs(20), stream.message());
    message.await.expect("an event within 20 s").expect("no status after the first event")
}

async fn written(
    client: &mut AgentClient<Channel>,
    asked: v1::ProbeRequest,
) -> (Streaming<v1::ProbeEvent>, v1::ProbeWritten) {
    let mut stream = client.probe(asked).await.unwrap().into_inner();
    match next(&mut stream).await.and_then(|event| event.what) {
        Some(What::Written(written)) => (stream, written),
        other => panic!("{other:?}"),
    }
}

async fn trimmed(mut stream: Streaming<v1::ProbeEvent>) -> v1::ProbeTrimmed {
    match next(&mut stream).await {
        Some(v1::ProbeEvent { what: Some(What::Trimmed(trimmed)), elapsed_ms }) => {
            assert!(trimmed.given_up_ms <= elapsed_ms);
            assert!(next(&mut stream).await.is_none(), "it is the last event");
            trimmed
        }
        other => panic!("{other:?}"),
    }
}

async fn failed(mut stream: Streaming<v1::ProbeEvent>) -> v1::Failure {
    loop {
        match next(&mut stream).await.and_then(|event| event.what) {
            Some(What::Failed(failure)) => return failure,
            Some(What::Written(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The image grows by the file and falls by it again.
async fn comes_back(fs_type: &str, bytes: u64) -> (Scratch, Disk, Mounted) {
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, "one", bytes);
    let mounted = Mounted::new(&scratch, fs_type, &disk.device);
    mounted.write_and_delete(20 * MIB, 60 * MIB);
    let agent = Serving::start(&scratch);
    let mut client = connect(&agent.socket).await;
    let survey = client.survey(v1::SurveyRequest {}).await.unwrap().into_inner();
    assert!(survey.agent.unwrap().features.contains(&feature::PROBE.to_owned()));
    let id =
        survey.filesystems.iter().find(|fs| fs.mount == mounted.path.to_string_lossy()).unwrap().id.clone();

    let (stream, file) = written(&mut client, probe(&id)).await;
    let full = disk.allocated();
    assert_eq!((file.bytes, file.extents[0].bytes), (FILE, FILE));
    assert!(file.sent[0].written >= Some(FILE), "{:?}", file.sent);
    assert_eq!(
        fs::read_dir(&mounted.path)
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name() != "lost+found")
            .count(),
        1
    );
    let end = trimmed(stream).await;
    let fall = full.saturating_sub(disk.allocated());
    assert!(fall >= FILE - MIB, "{fs_type}: fell by {fall}, {end:?}");
    assert!(end.range >= FILE && end.settled, "{end:?}");
    assert_eq!(end.sent[0].device_id, disk.id());
    assert!(end.sent[0].bytes >= Some(FILE), "{end:?}");
    assert!(workers_of(agent.child.id()).is_empty());
    (scratch, disk, mounted)
}

#[tokio::test]
async fn ext4_forgets_that_it_was_trimmed() {
    let (scratch, disk, mounted) = comes_back("ext4", GIB).await;
    let before = disk.allocated();
    // The journal's commit frees the last blocks, which takes the mark from their groups.
    run("sync", &["-f", &mounted.path.to_string_lossy()]);
    let out = crate::rig::trim(&scratch, &["--json", &mounted.path.to_string_lossy()]);
    let claimed = crate::rig::json(&out)["filesystems"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|fs| fs["claimed_bytes"].as_u64())
        .unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&out.stdout)));
    assert!(claimed > 900 * MIB, "a probed group is looked at again: {claimed}");
    assert!(disk.allocated() <= before);
}

#[tokio::test]
async fn xfs() {
    comes_back("xfs", GIB).await;
}

#[tokio::test]
async fn btrfs() {
    comes_back("btrfs", GIB).await;
}

#[tokio::test]
async fn refused() {
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, "one", GIB);
    let mounted = Mounted::new(&scratch, "ext4", &disk.device);
    let id = disk.id();
    {
        let agent = Serving::start_with(&scratch, "[trim]\nhost_may_probe = false\n");
        let status = connect(&agent.socket).await.probe(probe(&id)).await.unwrap_err();
        assert_eq!((status.code(), refusal(&status)), (Code::PermissionDenied, Some(Refusal::Vetoed)));
    }
    let agent = Serving::start_with(&scratch, "[trim]\nhost_may_trim = false\nmin_interval_secs = 3600\n");
    let mut client = connect(&agent.socket).await;
    for (name, asked, expected) in [
        ("no such", probe("9:9"), Some(Refusal::NoSuchFilesystem)),
        ("another boot", v1::ProbeRequest { boot_id: "b".into(), ..probe(&id) }, Some(Refusal::Rebooted)),
        ("odd", v1::ProbeRequest { bytes: 1, ..probe(&id) }, None),
    ] {
        let status = client.probe(asked).await.unwrap_err();
        assert_eq!(refusal(&status), expected, "{name}: {status}");
    }
    // A freeze flag, as the hook leaves it.
    let flags = scratch.path("run/trimtab-agent/frozen");
    fs::create_dir_all(&flags).unwrap();
    fs::write(flags.join("all"), "").unwrap();
    let status = client.probe(probe(&id)).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::Skipped), "{status}");
    assert!(status.message().contains("frozen"), "{status}");
    fs::remove_file(flags.join("all")).unwrap();

    // Less than ten times the file is free.
    run("fallocate", &["-l", "850M", &mounted.path.join("big").to_string_lossy()]);
    let stream = client.probe(probe(&id)).await.unwrap().into_inner();
    let failure = failed(stream).await;
    assert!(Wire::read(failure.kind).is(FailureKind::NoRoom), "{failure:?}");
    fs::remove_file(mounted.path.join("big")).unwrap();

    // Its own veto and no other: it is not a trim, and no interval holds for it.
    for _ in 0..2 {
        let (stream, _) = written(&mut client, v1::ProbeRequest { pause_ms: 0, ..probe(&id) }).await;
        trimmed(stream).await;
    }
}

#[tokio::test]
async fn one_at_a_time() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let agent = Serving::start(&scratch);
    let mut client = connect(&agent.socket).await;
    {
        let _stream = under_way(&mut client, slow(1, &[&long.id()])).await;
        let status = client.probe(probe(&long.id())).await.unwrap_err();
        assert_eq!(refusal(&status), Some(Refusal::Busy), "{status}");
        let steer = v1::SteerRequest {
            run_id: crate::client::run_id(1),
            fence: 1,
            action: v1::Action::Cancel.into(),
        };
        client.steer(steer).await.unwrap();
        all(_stream).await;
    }
    let (stream, _) = written(&mut client, v1::ProbeRequest { pause_ms: 2000, ..probe(&long.id()) }).await;
    let status = client.trim(request(2, &[&long.id()])).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::Busy), "{status}");
    let status = client.probe(probe(&long.id())).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::Busy), "{status}");
    trimmed(stream).await;
    // The end was told when the disks were free.
    all(client
        .trim(v1::TrimRequest { deadline_secs: 1, ..request(3, &[&long.id()]) })
        .await
        .unwrap()
        .into_inner())
    .await;
}

/// Whatever ends it in its middle, no file is left, no worker, and the next probe may begin.
#[tokio::test]
async fn cut_off() {
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, "one", GIB);
    let mounted = Mounted::new(&scratch, "ext4", &disk.device);
    let id = disk.id();
    let free = || nix::sys::statvfs::statvfs(&mounted.path).unwrap().blocks_free();
    let empty = free();
    let long = v1::ProbeRequest { pause_ms: 10_000, ..probe(&id) };
    // Not blocking: what hangs up is a task of this thread.
    let gone = async |agent: &Serving| {
        for _ in 0..100 {
            if workers_of(agent.child.id()).is_empty() && free() == empty {
                return;
            }
            time::sleep(Duration::from_millis(50)).await;
        }
        panic!("its worker or its file is still there: {} blocks free of {empty}", free());
    };

    let mut agent = Serving::start(&scratch);
    let mut client = connect(&agent.socket).await;
    // Its caller hangs up.
    let (stream, _) = written(&mut client, long.clone()).await;
    assert!(free() < empty && workers_of(agent.child.id()).len() == 1);
    drop(stream);
    gone(&agent).await;
    // Its deadline passes.
    let (stream, _) = written(&mut client, v1::ProbeRequest { deadline_secs: 4, ..long.clone() }).await;
    let failure = failed(stream).await;
    assert!(Wire::read(failure.kind).is(FailureKind::Stuck) && failure.text.contains("4 s"), "{failure:?}");
    gone(&agent).await;
    // Its worker is killed.
    let (stream, _) = written(&mut client, v1::ProbeRequest { pause_ms: 500, ..long.clone() }).await;
    let worker = nix::unistd::Pid::from_raw(workers_of(agent.child.id())[0]);
    nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGKILL).unwrap();
    let failure = failed(stream).await;
    assert!(Wire::read(failure.kind).is(FailureKind::Worker), "{failure:?}");
    gone(&agent).await;
    // The agent is told to stop.
    let (stream, _) = written(&mut client, long.clone()).await;
    agent.signal(nix::sys::signal::Signal::SIGTERM);
    let failure = failed(stream).await;
    assert!(failure.text.contains("told to stop"), "{failure:?}");
    assert_eq!(agent.wait(Duration::from_secs(5)), Some(0));
    gone(&agent).await;
    // The agent is killed.
    let mut agent = Serving::start(&scratch);
    let (_stream, _) = written(&mut connect(&agent.socket).await, long).await;
    agent.signal(nix::sys::signal::Signal::SIGKILL);
    agent.wait(Duration::from_secs(5));
    gone(&agent).await;
    let agent = Serving::start(&scratch);
    let (stream, _) = written(&mut connect(&agent.socket).await, probe(&id)).await;
    trimmed(stream).await;
}
