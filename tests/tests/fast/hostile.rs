//! The controller's client against an agent that means harm: every call ends within its bound, with the right kind
//! of trouble and a text that names what happened, and nothing of the guest's reaches a terminal unescaped.

use std::time::{Duration, Instant};

use trimtab_controller::{
    guest::{AgentClient, Budget, Limits},
    model::{
        probe::ProbeOrder,
        run::{RunEvent, TrimOrder},
        trouble::{Kind, Trouble},
    },
    trim::ports::{Guest, ProbeStream, RunStream},
};
use trimtab_tests::hostile::{HostileAgent, Misdeed};

/// Limits a tenth of the real ones and less, so that a test waits for none of them long.
fn limits() -> Limits {
    Limits {
        connect: Duration::from_millis(400),
        no_listener_retry: Duration::from_millis(250),
        call: Duration::from_millis(600),
        first_event: Duration::from_millis(600),
        stall: Duration::from_millis(500),
        end_margin: Duration::from_millis(500),
        probe_margin: Duration::from_millis(500),
        ..Limits::default()
    }
}

/// No call may take longer: connect and one question or the whole of a run of a second, and what two busy cores add.
const LONGEST: Duration = Duration::from_secs(4);

fn order() -> TrimOrder {
    TrimOrder {
        run_id: "5f3f0f6c-8d9e-4a53-9d6c-2f1d5a1c7b11".to_owned(),
        fence: 1,
        boot_id: String::new(),
        targets: Vec::new(),
        pace: None,
        deadline: Duration::from_secs(1),
        linger: Duration::ZERO,
        again: false,
        also_types: Vec::new(),
    }
}

fn a_probe() -> ProbeOrder {
    ProbeOrder {
        filesystem_id: "8:1".to_owned(),
        boot_id: String::new(),
        bytes: 16 << 20,
        pause: Duration::from_millis(100),
        deadline: Duration::from_secs(1),
    }
}

/// Runs one call against one misdeed: the trouble, and how many events came before it.
async fn meet(misdeed: Misdeed, rpc: &str, limits: Limits) -> (Result<(), Trouble>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let serving = HostileAgent(misdeed).serve(&folder.path().join("vsock")).unwrap();
    let agent = AgentClient::new(serving.address().parse().unwrap(), limits);
    let began = Instant::now();
    let mut events = 0;
    let outcome = match rpc {
        "hello" => agent.hello().await.map(drop),
        "survey" => agent.survey().await.map(drop),
        "get_run" => agent.get_run("r").await.map(drop),
        "trim" => match agent.trim(&order()).await {
            Err(trouble) => Err(trouble),
            Ok(mut run) => loop {
                match run.next().await {
                    None | Some(Ok(RunEvent::End(_))) => break Ok(()),
                    Some(Ok(_)) => events += 1,
                    Some(Err(trouble)) => {
                        assert!(
                            run.next().await.is_none(),
                            "{misdeed:?}: a stream goes on after its trouble"
                        );
                        break Err(trouble);
                    }
                }
            },
        },
        "probe" => match agent.probe(&a_probe()).await {
            Err(trouble) => Err(trouble),
            Ok(mut probe) => loop {
                match probe.next().await {
                    None => break Ok(()),
                    Some(Ok(_)) => events += 1,
                    Some(Err(trouble)) => {
                        assert!(
                            probe.next().await.is_none(),
                            "{misdeed:?}: a probe goes on after its trouble"
                        );
                        break Err(trouble);
                    }
                }
            },
        },
        _ => unreachable!("{rpc}"),
    };
    let took = began.elapsed();
    assert!(took < LONGEST, "{misdeed:?} held {rpc} up for {took:?}");
    (outcome, events)
}

async fn expect(misdeed: Misdeed, rpc: &str, kind: Kind, text: &str) -> Trouble {
    expect_with(misdeed, rpc, limits(), kind, text).await
}

async fn expect_with(misdeed: Misdeed, rpc: &str, limits: Limits, kind: Kind, text: &str) -> Trouble {
    let (outcome, _) = meet(misdeed, rpc, limits).await;
    let trouble = outcome.expect_err(&format!("{misdeed:?}"));
    assert_eq!(trouble.kind, kind, "{misdeed:?}, {rpc}: {trouble}");
    assert!(trouble.text.contains(text), "{misdeed:?}, {rpc}: {trouble}");
    for shown in [Some(&trouble.text), trouble.hint.as_ref()].into_iter().flatten() {
        assert!(!shown.chars().any(char::is_control), "{misdeed:?}: {shown:?}");
        assert!(shown.len() < 600, "{misdeed:?}: {shown}");
    }
    trouble
}

const TICK: Duration = Duration::from_millis(50);

#[tokio::test]
async fn the_handshake() {
    use Kind::{AgentNonsense, AgentSilent, NoAgent};
    for (misdeed, kind, text) in [
        (Misdeed::NeverAnswers, AgentSilent, "did not take the connection within 400ms"),
        (Misdeed::NoListener, NoAgent, "the guest has no listener on port 874"),
        (
            Misdeed::EndlessOk,
            AgentNonsense,
            "answered \"OK 1111111111111111OK 1111111111\" instead of \"OK\"",
        ),
        (Misdeed::SaysInstead("\u{1b}[2J\n"), AgentNonsense, r#"answered "\x1b[2J" instead"#),
        (Misdeed::SlowOk(Duration::from_secs(60)), AgentSilent, "did not take the connection"),
    ] {
        expect(misdeed, "hello", kind, text).await;
    }
    let qmp = Misdeed::SaysInstead("{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0}}}}\r\n");
    let trouble = expect(qmp, "hello", AgentNonsense, "answered \"{\"QMP\"").await;
    assert!(trouble.hint.unwrap().contains("QMP socket"));
}

#[tokio::test]
async fn sockets_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vsock");
    let ask = || async {
        let address = format!("unix:{}", path.display());
        AgentClient::new(address.parse().unwrap(), limits()).hello().await.unwrap_err()
    };
    let missing = ask().await;
    assert_eq!((missing.kind, missing.text.contains("does not exist")), (Kind::NoLink, true), "{missing}");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let deserted = ask().await;
    assert_eq!((deserted.kind, deserted.text.contains("nobody serves")), (Kind::NoLink, true), "{deserted}");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    let file = ask().await;
    assert_eq!(file.kind, Kind::NoLink, "{file}");
    // A listener that accepts nobody, with a full backlog.
    std::fs::remove_file(&path).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let held: Vec<_> = std::iter::from_fn(|| {
        let socket = std::os::unix::net::UnixStream::connect(&path);
        socket.ok()
    })
    .take(16)
    .collect();
    let began = Instant::now();
    assert_eq!(ask().await.kind, Kind::AgentSilent);
    assert!(began.elapsed() < LONGEST);
    drop((held, listener));
}

#[tokio::test]
async fn below_http2() {
    use Kind::{AgentLost, AgentNonsense, AgentSilent};
    for (misdeed, kind, text) in [
        (Misdeed::TurnsAway, AgentLost, "closed the connection without a word"),
        (Misdeed::Silent, AgentSilent, "did not answer Survey within 600ms"),
        (Misdeed::Http1, AgentNonsense, "began with \"HTTP/1.1"),
        (Misdeed::Garbage, AgentNonsense, r#"began with "\x7fELF"#),
        (Misdeed::Drips(TICK), AgentSilent, "did not answer Survey"),
        (Misdeed::EndlessHeaders, AgentNonsense, "broke the contract"),
        (Misdeed::NoWindow, AgentSilent, "did not answer Survey"),
        (Misdeed::LongFrame, AgentNonsense, "broke the contract"),
        (Misdeed::TakesRequest, AgentSilent, "did not answer Survey"),
        (Misdeed::GoesAway, AgentLost, "the connection to the agent at"),
    ] {
        expect(misdeed, "survey", kind, text).await;
        let kind_of_run = expect(misdeed, "trim", kind, "").await;
        assert!(kind_of_run.hint.is_some(), "{misdeed:?}");
    }
    let few = Budget { burst: 64 * 1024, per_sec: 0 };
    let limits = Limits { call_bytes: few, stream_bytes: few, ..limits() };
    for rpc in ["survey", "trim"] {
        expect_with(Misdeed::Pings, rpc, limits.clone(), AgentNonsense, "bytes came, 65536 are allowed")
            .await;
    }
}

#[tokio::test]
async fn one_answer() {
    use Kind::{AgentNonsense, AgentRefused};
    for (misdeed, kind, text) in [
        (Misdeed::WebServer, AgentNonsense, "404 Not Found"),
        (Misdeed::Message(2 * 1024 * 1024), AgentNonsense, "message length too large: found 2097152 bytes"),
        (Misdeed::Message(u32::MAX), AgentNonsense, "message length too large: found 4294967295 bytes"),
        (Misdeed::Gzip, AgentNonsense, "compressed with `gzip`"),
        (Misdeed::Compressed, AgentNonsense, "compressed-flag"),
        (Misdeed::Nothings, AgentNonsense, "a message of 500000 fields"),
        (Misdeed::NoMessage, AgentNonsense, "not a message of trimtab.v1"),
        (Misdeed::HugeString, AgentNonsense, "filesystems[0].mount: 921601 bytes, at most 12288"),
        (Misdeed::MaxNumbers, AgentNonsense, "filesystems[0].size: 18446744073709551615 bytes"),
        (Misdeed::Escapes, AgentRefused, r"\x1b[31mred\x1b]0;owned\x07\nroot#"),
        (Misdeed::BadDetails, AgentRefused, "(\"busy\")"),
        (Misdeed::LongRefusal, AgentRefused, "xxxxx…"),
    ] {
        expect(misdeed, "survey", kind, text).await;
    }
    // The same where a stream was expected.
    for misdeed in [Misdeed::WebServer, Misdeed::Message(u32::MAX), Misdeed::Gzip, Misdeed::Nothings] {
        expect(misdeed, "trim", AgentNonsense, "").await;
    }
    expect(Misdeed::BadDetails, "trim", AgentRefused, "(\"busy\")").await;
}

#[tokio::test]
async fn another_version_says_which_side_to_update() {
    for rpc in ["survey", "trim", "get_run"] {
        let trouble = expect(Misdeed::AnotherVersion, rpc, Kind::AgentVersion, "another version").await;
        let hint = trouble.hint.unwrap();
        assert!(
            hint.contains("99.1.0") && hint.contains("update the package trimtab on this host"),
            "{hint}"
        );
    }
}

#[tokio::test]
async fn runs() {
    use Kind::{AgentLost, AgentNonsense, AgentSilent};
    for (misdeed, kind, text) in [
        (Misdeed::Flood, AgentNonsense, "broke the contract"),
        (Misdeed::StandsStill(TICK), AgentSilent, "stood still for 500ms"),
        (Misdeed::FallsSilent, AgentSilent, "stood still for 500ms"),
        (Misdeed::NeverEnds(TICK), AgentSilent, "did not end its run, 500ms after the run's own deadline"),
        (Misdeed::Resets, AgentLost, "during Trim"),
        (Misdeed::EndsEarly, AgentLost, "ended before the run did"),
        (Misdeed::EndsFirst, AgentNonsense, "the first event is not the run's state"),
        (Misdeed::AnotherRun, AgentNonsense, "run_id: of another run"),
        (Misdeed::FailsLate, AgentLost, r"out of\nmemory"),
        (Misdeed::MaxNumbers, AgentNonsense, "progress.sent[0].bytes: 18446744073709551615 bytes"),
    ] {
        expect(misdeed, "trim", kind, text).await;
    }
    let few = Limits { stream_events: Budget { burst: 20, per_sec: 0 }, ..limits() };
    expect_with(Misdeed::NeverEnds(TICK / 10), "trim", few, AgentNonsense, "21 events, 20 are allowed").await;
    let few = Limits { stream_bytes: Budget { burst: 1024, per_sec: 0 }, ..limits() };
    expect_with(Misdeed::NeverEnds(TICK / 10), "trim", few, AgentNonsense, "bytes came, 1024 are allowed")
        .await;
}

#[tokio::test]
async fn probes() {
    use Kind::{AgentLost, AgentNonsense, AgentRefused, AgentSilent, AgentVersion};
    for (misdeed, kind, text) in [
        (Misdeed::EndsFirst, AgentNonsense, "trimmed: before written"),
        (Misdeed::AnotherRun, AgentNonsense, "written.bytes: 1048576 of 16777216 bytes"),
        (Misdeed::StandsStill(TICK), AgentNonsense, "written: a second time"),
        (Misdeed::MaxNumbers, AgentNonsense, "trimmed.sent[0].bytes: 18446744073709551615 bytes"),
        (Misdeed::FailsLate, AgentNonsense, "trimmed.given_up_ms: 99ms, and it is 7ms only"),
        (Misdeed::FallsSilent, AgentSilent, "did not end its probe 500ms after its deadline"),
        (Misdeed::EndsEarly, AgentLost, "ended its probe without a word"),
        (Misdeed::TakesRequest, AgentSilent, "did not answer Probe within 600ms"),
        (Misdeed::Nothings, AgentNonsense, "a message of 500000 fields"),
        (Misdeed::Escapes, AgentRefused, r"\x1b[31mred"),
        (Misdeed::AnotherVersion, AgentVersion, "another version"),
        (Misdeed::TurnsAway, AgentLost, "closed the connection without a word"),
    ] {
        expect(misdeed, "probe", kind, text).await;
    }
}

#[tokio::test]
async fn an_agent_that_drips_events_within_its_bounds_is_heard() {
    let (_, events) = meet(Misdeed::NeverEnds(TICK), "trim", limits()).await;
    assert!((10..40).contains(&events), "{events} events in 1.5 s at one each 50 ms");
}

#[tokio::test]
async fn settings_with_the_ok_line_are_not_lost() {
    let (outcome, _) = meet(Misdeed::SettingsWithOk, "hello", limits()).await;
    outcome.unwrap();
}

/// A call that is given up half-way closes its connection: nothing of it goes on in a task.
#[tokio::test]
async fn dropping_a_stream_hangs_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vsock");
    let serving = HostileAgent(Misdeed::NeverEnds(TICK)).serve(&path).unwrap();
    let agent = AgentClient::new(serving.address().parse().unwrap(), limits());
    let mut run = agent.trim(&order()).await.unwrap();
    assert!(run.next().await.unwrap().is_ok());
    let sockets = || {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    };
    let open = sockets();
    drop(run);
    let deadline = Instant::now() + LONGEST;
    while sockets() + 2 > open {
        assert!(Instant::now() < deadline, "both ends of the connection are still open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
