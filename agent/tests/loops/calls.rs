//! The contract: a run is started, attached to, replayed, refused.

use std::time::Duration;

use tokio::time;
use tonic::Code;
use tonic_types::StatusExt;
use trimtab_proto::{
    BUSY_SINCE,
    v1::{self, trim_event::What},
    words::{Refusal, RunState, StopReason},
};

use crate::{
    client::{
        all, connect, end, next, refusal, request, run_id, slow, state, stop, under_way, until_progress,
    },
    rig::{Disk, GIB, Long, MIB, Mounted, Scratch, Serving},
};

#[tokio::test]
async fn a_run_from_hello_to_replay() {
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, "one", GIB);
    let mounted = Mounted::new(&scratch, "ext4", &disk.device);
    mounted.write_and_delete(MIB, 100 * MIB);
    let agent = Serving::start(&scratch);
    let mut client = connect(&agent.socket).await;

    let hello = client.hello(v1::HelloRequest::default()).await.unwrap().into_inner();
    assert_eq!(hello.features, ["pause", "again", "probe"]);
    assert!(hello.policy.unwrap().host_may_trim);
    let survey = client.survey(v1::SurveyRequest {}).await.unwrap().into_inner();
    let fs = survey.filesystems.iter().find(|fs| fs.id == disk.id()).expect("the filesystem is surveyed");
    assert_eq!(fs.mount, mounted.path.to_string_lossy());
    assert_eq!(fs.leaf_ids, [disk.id()]);

    let before = disk.allocated();
    let asked = v1::TrimRequest { boot_id: hello.boot_id.clone(), ..request(1, &[&fs.id]) };
    let events = all(client.trim(asked.clone()).await.unwrap().into_inner()).await;
    assert!(before - disk.allocated() >= 95 * MIB);
    assert!(matches!(&events[0].what, Some(What::State(report)) if state(report) == RunState::Running));
    assert!(events.iter().map(|event| event.seq).eq(1..=u64::try_from(events.len()).unwrap()));
    let report = end(&events);
    assert_eq!((state(&report), stop(&report)), (RunState::Ended, Some(StopReason::Done)));
    assert_eq!(report.boot_id, hello.boot_id);
    assert!(report.settled);
    let run = report.filesystems.iter().find(|run| run.filesystem_id == disk.id()).unwrap();
    assert_eq!(run.claimed, report.sent[0].bytes);

    let asked_for = v1::GetRunRequest { run_id: run_id(1) };
    assert_eq!(client.get_run(asked_for).await.unwrap().into_inner(), report);

    // A retry fetches the lost result; nothing is trimmed again.
    let retry = v1::TrimRequest { fence: 7, ..asked.clone() };
    let replayed = all(client.trim(retry).await.unwrap().into_inner()).await;
    assert_eq!(replayed.len(), 2);
    assert_eq!(end(&replayed), v1::RunReport { fence: 7, ..report });

    for (name, asked, reason) in [
        ("a lower fence", v1::TrimRequest { fence: 6, ..asked.clone() }, Refusal::StaleFence),
        (
            "other parameters",
            v1::TrimRequest { fence: 8, again: true, ..asked.clone() },
            Refusal::RunIdReused,
        ),
        ("another boot", v1::TrimRequest { boot_id: "x".into(), ..request(2, &[]) }, Refusal::Rebooted),
        ("an unknown filesystem", request(3, &["4095:7"]), Refusal::NoSuchFilesystem),
        (
            "a type that is not allowed",
            v1::TrimRequest { also_types: vec!["f2fs".into()], ..request(4, &[]) },
            Refusal::Vetoed,
        ),
    ] {
        let status = client.trim(asked).await.unwrap_err();
        assert_eq!(refusal(&status), Some(reason), "{name}: {status}");
    }
    let status = client.trim(v1::TrimRequest { deadline_secs: 0, ..request(5, &[]) }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let status = client.get_run(v1::GetRunRequest { run_id: run_id(99) }).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status}");
}

#[tokio::test]
async fn one_run_at_a_time_and_the_newest_caller_listens() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let agent = Serving::start(&scratch);
    let mut client = connect(&agent.socket).await;
    let asked = slow(1, &[&long.id()]);
    let first = under_way(&mut client, asked.clone()).await;

    let status = client.trim(slow(2, &[&long.id()])).await.unwrap_err();
    assert_eq!((status.code(), refusal(&status)), (Code::Aborted, Some(Refusal::Busy)));
    let info = status.get_details_error_info().unwrap();
    assert!(info.metadata[BUSY_SINCE].parse::<u64>().unwrap() > 1_700_000_000);
    assert!(!status.message().contains(&run_id(1)), "never an id: {status}");

    let again = v1::TrimRequest { fence: 2, ..asked.clone() };
    let mut second = client.trim(again).await.unwrap().into_inner();
    assert!(matches!(next(&mut second).await.unwrap().what, Some(What::State(_))));
    assert_eq!(stop(&end(&all(first).await)), Some(StopReason::Superseded));
    let status = client.trim(asked).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::StaleFence), "{status}");

    // The run itself goes on, under the second caller.
    let progress = until_progress(&mut second).await;
    assert!(progress.passed < Some(progress.of));
    let steer = v1::SteerRequest { run_id: run_id(1), fence: 2, action: v1::Action::Cancel.into() };
    client.steer(steer).await.unwrap();
    assert_eq!(stop(&end(&all(second).await)), Some(StopReason::Cancelled));
}

#[tokio::test]
async fn pause_resume_cancel() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let agent = Serving::start(&scratch);
    let mut client = connect(&agent.socket).await;
    let stream = under_way(&mut client, slow(1, &[&long.id()])).await;
    let steer =
        |action: v1::Action, fence| v1::SteerRequest { run_id: run_id(1), fence, action: action.into() };

    let paused = client.steer(steer(v1::Action::Pause, 1)).await.unwrap().into_inner();
    assert_eq!(state(&paused), RunState::Paused);
    // A call that is under way has half a second for its end.
    time::sleep(Duration::from_secs(2)).await;
    let passed = |report: v1::RunReport| {
        report.filesystems.iter().find(|run| run.skip.is_none()).map(|run| run.passed).unwrap()
    };
    let get = v1::GetRunRequest { run_id: run_id(1) };
    let stands = passed(client.get_run(get.clone()).await.unwrap().into_inner());
    time::sleep(Duration::from_millis(700)).await;
    assert_eq!(passed(client.get_run(get.clone()).await.unwrap().into_inner()), stands);

    let status = client.steer(steer(v1::Action::Resume, 0)).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::StaleFence), "{status}");
    let resumed = client.steer(steer(v1::Action::Resume, 1)).await.unwrap().into_inner();
    assert_eq!(state(&resumed), RunState::Running);
    time::sleep(Duration::from_millis(700)).await;
    assert!(passed(client.get_run(get).await.unwrap().into_inner()) > stands);

    client.steer(steer(v1::Action::Cancel, 2)).await.unwrap();
    let ended = time::timeout(Duration::from_secs(2), all(stream)).await.expect("it ends at once");
    let report = end(&ended);
    assert_eq!((stop(&report), report.fence), (Some(StopReason::Cancelled), 2));
    let told: Vec<RunState> = ended
        .iter()
        .filter_map(|event| match &event.what {
            Some(What::State(report)) => Some(state(report)),
            _ => None,
        })
        .collect();
    assert!(told.ends_with(&[RunState::Stopping, RunState::Settling]), "{told:?}");
    // Of a run that has ended, Steer gives the report.
    let after = client.steer(steer(v1::Action::Cancel, 2)).await.unwrap().into_inner();
    assert_eq!(after, report);
}

#[tokio::test]
async fn the_owner_decides() {
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, "one", GIB);
    let _mounted = Mounted::new(&scratch, "ext4", &disk.device);
    {
        let agent = Serving::start_with(&scratch, "[trim]\nhost_may_trim = false\n");
        let status = connect(&agent.socket).await.trim(request(1, &[&disk.id()])).await.unwrap_err();
        assert_eq!((status.code(), refusal(&status)), (Code::PermissionDenied, Some(Refusal::Vetoed)));
    }
    let agent = Serving::start_with(&scratch, "[trim]\nmin_interval_secs = 3600\n");
    let mut client = connect(&agent.socket).await;
    all(client.trim(request(1, &[&disk.id()])).await.unwrap().into_inner()).await;
    let status = client.trim(request(2, &[&disk.id()])).await.unwrap_err();
    assert_eq!(refusal(&status), Some(Refusal::TooSoon), "{status}");
    // A replay is no new run.
    all(client.trim(request(1, &[&disk.id()])).await.unwrap().into_inner()).await;
}
