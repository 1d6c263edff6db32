//! Agents of other versions, as bytes (proto/tests/wire): what an older one does not say is unknown, what a newer one says
//! beyond this version is passed over or shown as a number.

use prost::Message;
use trimtab_proto::v1;

use super::*;
use crate::model::run::RunEvent;

/// Reads a fixture: hexadecimal bytes, and words behind `#`.
fn wire<M: Message + Default>(text: &str) -> M {
    let digits = text.lines().flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    let bytes: Vec<u8> = digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    M::decode(bytes.as_slice()).unwrap()
}

macro_rules! fixture {
    ($name:literal) => {
        wire(include_str!(concat!("../../../../proto/tests/wire/", $name, ".hex")))
    };
}

#[test]
fn an_older_agent() {
    let agent = hello(fixture!("hello-older")).unwrap();
    assert_eq!((agent.version.as_str(), agent.features.len()), ("0.0.9", 0));
    let policy = agent.policy;
    assert!(policy.host_may_trim && !policy.host_may_probe, "who says nothing of probes knows none");
    assert_eq!((policy.fastest, policy.min_interval_secs), (None, 0));

    let survey = survey(fixture!("survey-older")).unwrap();
    let fs = &survey.filesystems[0];
    assert_eq!((fs.size_bytes, fs.used_bytes, fs.free_bytes, fs.errors), (None, None, None, None));
    assert!(fs.free_extents.is_empty() && !fs.frozen && fs.skip.is_none());
    let disk = survey.device("8:0").unwrap();
    assert_eq!((disk.discarded_bytes, disk.written_bytes), (None, None), "not counted is not 0");
    assert_eq!(survey.fstrim_timer, None);

    let Event { what: RunEvent::End(report), .. } = event(fixture!("end-older")).unwrap() else {
        panic!("no end")
    };
    assert!(report.sent.is_empty() && !report.settled);
    let run = &report.filesystems[0];
    assert_eq!(run.claimed_bytes, Some(4096));
    assert_eq!(run.claim.unwrap().to_string(), "unknown (0)", "a claim, and no word on what it means");
}

#[test]
fn a_newer_agent() {
    let agent = hello(fixture!("hello-newer")).unwrap();
    assert_eq!(
        (agent.version.as_str(), agent.features.as_slice()),
        ("7.3.0", &["pause", "teleport"].map(String::from)[..])
    );
    assert_eq!(agent.policy.fastest.unwrap().to_string(), "unknown (9)");

    let survey = survey(fixture!("survey-newer")).unwrap();
    assert_eq!(survey.filesystems[0].fs_type, "ext5");
    let skip = survey.filesystems[1].skip.as_ref().unwrap();
    assert_eq!(
        (skip.reason.to_string().as_str(), skip.text.as_str()),
        ("unknown (99)", "for a reason of tomorrow")
    );
    let disk = survey.device("8:0").unwrap();
    assert_eq!((disk.kind.to_string(), disk.identity.serial.as_str()), ("unknown (99)".to_owned(), "DISK0"));

    let Event { what: RunEvent::End(report), .. } = event(fixture!("end-newer")).unwrap() else {
        panic!("no end")
    };
    assert_eq!(report.stop.unwrap().to_string(), "unknown (99)");
    assert_eq!((report.sent[0].discarded_bytes, report.settled), (Some(4096), true));
    let run = &report.filesystems[0];
    let failure = run.failure.as_ref().unwrap();
    assert_eq!(run.state.to_string(), "unknown (99)");
    assert_eq!(
        (failure.kind.to_string().as_str(), failure.text.as_str()),
        ("unknown (99)", "as never before")
    );
}

/// Everything else of Hello may grow; who asks which version answers must always be able to.
#[test]
fn what_hello_is_for_ever() {
    let older: v1::HelloReply = fixture!("hello-older");
    let expected = v1::HelloReply {
        agent_version: "0.0.9".into(),
        kernel: "5.10.0".into(),
        boot_id: "6f0c4a1e-0000-4000-8000-000000000001".into(),
        features: vec![],
        policy: Some(v1::Policy { host_may_trim: true, ..Default::default() }),
    };
    assert_eq!(older, expected);
}
