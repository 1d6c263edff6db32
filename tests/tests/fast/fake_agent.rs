//! The honest agent by script, asked by the controller's client: what the suites of turns and commands build on.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use trimtab_controller::{
    guest::{AgentClient, Limits},
    model::{
        probe::{ProbeEvent, ProbeOrder},
        run::{RunEvent, SteerOrder, TrimOrder},
        trouble::{Kind, Trouble},
    },
    trim::ports::{Guest, ProbeStream, RunStream},
};
use trimtab_proto::{
    v1::{self, trim_event::What},
    words::{Action, RunState, StopReason},
};
use trimtab_tests::{
    GIB,
    fake_agent::{Call, FakeAgent, Script, Step, survey_of_one_disk},
    hybrid::Serving,
};

fn survey() -> v1::SurveyReply {
    survey_of_one_disk(GIB)
}

fn order() -> TrimOrder {
    TrimOrder {
        run_id: "run-1".into(),
        fence: 41,
        boot_id: String::new(),
        targets: Vec::new(),
        pace: None,
        deadline: Duration::from_secs(5),
        linger: Duration::from_secs(1),
        again: false,
        also_types: Vec::new(),
    }
}

fn state(state: RunState) -> Step {
    Step::Say(What::State(v1::RunReport { state: state.into(), ..Default::default() }))
}

fn end() -> Step {
    Step::Say(What::End(v1::RunReport {
        state: RunState::Ended.into(),
        stop: StopReason::Done.into(),
        settled: true,
        sent: vec![v1::Sent { device_id: "8:0".into(), bytes: Some(4096), written: Some(0) }],
        ..Default::default()
    }))
}

fn serve(agent: &FakeAgent, limits: Limits) -> (tempfile::TempDir, Serving, AgentClient) {
    let folder = tempfile::tempdir().unwrap();
    let serving = agent.serve(&folder.path().join("vsock")).unwrap();
    let client = AgentClient::new(serving.address().parse().unwrap(), limits);
    (folder, serving, client)
}

#[tokio::test]
async fn a_whole_run() {
    let deeds = Arc::new(AtomicUsize::new(0));
    let done = Arc::clone(&deeds);
    let deed = Step::Do(Arc::new(move || _ = done.fetch_add(1, Ordering::SeqCst)));
    let agent = FakeAgent::new(Script::new(survey(), vec![state(RunState::Running), deed, end()]));
    let (_folder, _serving, client) = serve(&agent, Limits::default());

    assert!(client.hello().await.unwrap().policy.host_may_trim);
    assert_eq!(client.survey().await.unwrap().filesystems[0].mount, "/");
    assert_eq!(client.get_run("run-1").await.unwrap_err().kind, Kind::AgentRefused);

    let mut run = client.trim(&order()).await.unwrap();
    assert!(matches!(run.next().await, Some(Ok(RunEvent::State(report))) if report.run_id == "run-1"));
    let Some(Ok(RunEvent::End(report))) = run.next().await else { panic!("no end") };
    assert_eq!((report.fence, report.settled, report.sent[0].discarded_bytes), (41, true, Some(4096)));
    assert!(run.next().await.is_none());
    assert_eq!(deeds.load(Ordering::SeqCst), 1);

    assert_eq!(client.get_run("run-1").await.unwrap(), report);
    let steer = SteerOrder { run_id: "run-1".into(), fence: 42, action: Action::Cancel };
    assert_eq!(client.steer(&steer).await.unwrap(), report);
    let calls = agent.calls();
    assert!(
        matches!(&calls[3], Call::Trim(request) if request.fence == 41 && request.linger_secs == 1),
        "{calls:?}"
    );
    assert!(matches!(&calls[5], Call::Steer(request) if request.action == 3), "{calls:?}");
}

/// A paused run stands still by its owner's wish: the stall limit waits until it goes on.
#[tokio::test]
async fn a_pause_is_no_stall() {
    let wait = || Step::Wait(Duration::from_millis(700));
    let limits = Limits { stall: Duration::from_millis(400), ..Limits::default() };
    let script = vec![state(RunState::Paused), wait(), state(RunState::Running), end()];
    let (_folder, _serving, client) = serve(&FakeAgent::new(Script::new(survey(), script)), limits.clone());
    let mut run = client.trim(&order()).await.unwrap();
    for _ in 0..3 {
        run.next().await.unwrap().unwrap();
    }
    let script = vec![state(RunState::Running), wait(), state(RunState::Paused), end()];
    let (_folder, _serving, client) = serve(&FakeAgent::new(Script::new(survey(), script)), limits);
    let mut run = client.trim(&order()).await.unwrap();
    run.next().await.unwrap().unwrap();
    assert_eq!(run.next().await.unwrap().unwrap_err().kind, Kind::AgentSilent);
}

/// A guest that hangs as a whole answers no ping: the keepalive finds out long before the stall limit.
#[tokio::test]
async fn a_hung_guest_is_lost() {
    let hang = Step::Do(Arc::new(|| std::thread::sleep(Duration::from_secs(2))));
    let limits = Limits {
        keepalive_interval: Duration::from_millis(200),
        keepalive_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let script = vec![state(RunState::Running), Step::Wait(Duration::from_millis(100)), hang, end()];
    let (_folder, _serving, client) = serve(&FakeAgent::new(Script::new(survey(), script)), limits);
    let mut run = client.trim(&order()).await.unwrap();
    run.next().await.unwrap().unwrap();
    let trouble = run.next().await.unwrap().unwrap_err();
    assert_eq!(trouble.kind, Kind::AgentLost, "{trouble}");
    assert!(trouble.text.contains("gave no sign of life"), "{trouble}");
}

#[tokio::test]
async fn a_whole_probe() {
    use v1::probe_event::What;
    let probe = vec![
        What::Written(v1::ProbeWritten { bytes: 16 << 20, ..Default::default() }),
        What::Failed(v1::Failure { kind: 4, errno: 5, text: "its disk broke".into() }),
    ];
    let agent = FakeAgent::new(Script { probe, ..Script::new(survey(), Vec::new()) });
    let (_folder, _serving, client) = serve(&agent, Limits::default());
    let order = ProbeOrder {
        filesystem_id: "8:0".into(),
        boot_id: "b".into(),
        bytes: 16 << 20,
        pause: Duration::from_millis(1500),
        deadline: Duration::from_secs(30),
    };
    let mut probe = client.probe(&order).await.unwrap();
    assert!(
        matches!(probe.next().await, Some(Ok(ProbeEvent::Written(written))) if written.bytes == 16 << 20)
    );
    assert!(matches!(probe.next().await, Some(Ok(ProbeEvent::Failed(failure))) if failure.errno == 5));
    assert!(probe.next().await.is_none());
    let calls = agent.calls();
    assert!(
        matches!(&calls[0], Call::Probe(asked) if (asked.pause_ms, asked.deadline_secs) == (1500, 30)),
        "{calls:?}"
    );
}

#[tokio::test]
async fn refusals() {
    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};
    let busy = [("since_unix_secs".to_owned(), "1767225600".to_owned())];
    let never = [("since_unix_secs".to_owned(), "9223372036854775807".to_owned())];
    let with = |code, reason: &str, domain: &str, metadata: &[(String, String)]| {
        let metadata: HashMap<_, _> = metadata.iter().cloned().collect();
        let details = ErrorDetails::with_error_info(reason, domain, metadata);
        Status::with_error_details(code, "guest\u{1b}text", details)
    };
    let precondition = |reason| with(Code::FailedPrecondition, reason, "trimtab", &[]);
    for (status, kind, text) in [
        (with(Code::Aborted, "BUSY", "trimtab", &busy), Kind::Busy, "under way since 2026-01-01T00:00:00Z"),
        (with(Code::Aborted, "BUSY", "trimtab", &never), Kind::Busy, "under way (\"guest"),
        (with(Code::PermissionDenied, "VETOED", "trimtab", &[]), Kind::Vetoed, "owner does not allow it"),
        (with(Code::PermissionDenied, "VETOED", "elsewhere", &[]), Kind::AgentRefused, "may not ask it"),
        (precondition("STALE_FENCE"), Kind::AgentRefused, "a newer caller has taken this run over"),
        (precondition("REBOOTED"), Kind::GuestRebooted, "booted again"),
        (precondition("TOO_SOON"), Kind::TooSoon, "more time between two trims"),
        (precondition("NO_SUCH_FILESYSTEM"), Kind::AgentRefused, "is not there any more"),
        (precondition("RUN_ID_REUSED"), Kind::AgentRefused, "with other parameters"),
        (precondition("NOT_PRIVILEGED"), Kind::AgentRefused, "CAP_SYS_ADMIN"),
        (precondition("FROM_THE_FUTURE"), Kind::AgentRefused, "FailedPrecondition (\"guest"),
        (Status::unavailable("x"), Kind::AgentRefused, "it is stopping (\"x\")"),
        (Status::resource_exhausted(""), Kind::AgentRefused, "too many callers"),
        (Status::invalid_argument("fence"), Kind::AgentRefused, "calls the request invalid (\"fence\")"),
        (Status::deadline_exceeded(""), Kind::AgentSilent, "gave up"),
        (Status::internal("poisoned"), Kind::AgentRefused, "Internal (\"poisoned\")"),
    ] {
        let shown = format!("{status:?}");
        let script = Script { refuse_trim: Some(status), ..Script::new(survey(), Vec::new()) };
        let (_folder, _serving, client) = serve(&FakeAgent::new(script), Limits::default());
        let trouble: Trouble = client.trim(&order()).await.unwrap_err();
        assert_eq!(trouble.kind, kind, "{shown}: {trouble}");
        assert!(trouble.text.contains(text), "{shown}: {trouble}");
        assert!(!trouble.text.contains('\u{1b}'), "{shown}: {trouble}");
    }
}
