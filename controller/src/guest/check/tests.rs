//! What keeps the contract, and named breaches of it, one at a time.

use trimtab_proto::{v1, words};

use super::*;

pub(super) fn good_hello() -> v1::HelloReply {
    v1::HelloReply {
        agent_version: "0.1.0".into(),
        kernel: "6.12.0-1-amd64".into(),
        boot_id: "6f0c4a1e-0000-4000-8000-000000000001".into(),
        features: vec!["pause".into()],
        policy: Some(v1::Policy { host_may_trim: true, fastest: 9, ..Default::default() }),
    }
}

pub(super) fn good_survey() -> v1::SurveyReply {
    let disk =
        v1::Device { id: "8:0".into(), name: "sda".into(), kind: 1, size: 1 << 40, ..Default::default() };
    let part =
        v1::Device { id: "8:1".into(), name: "sda1".into(), lower_ids: vec!["8:0".into()], ..disk.clone() };
    let root = v1::Filesystem {
        id: "8:1".into(),
        mount: "/".into(),
        r#type: "ext4".into(),
        device_id: "8:1".into(),
        leaf_ids: vec!["8:0".into()],
        size: Some(1 << 40),
        used: Some(1 << 41),
        free_extents: vec![
            v1::FreeExtents { at_least: 4096, bytes: 100 },
            v1::FreeExtents { at_least: 65536, bytes: 100 },
        ],
        ..Default::default()
    };
    let gone = v1::Filesystem {
        id: "8:17".into(),
        mount: "/media/stick\n".into(),
        device_id: "8:17".into(),
        skip: Some(v1::Skip { reason: 99, device_id: "8:17".into(), text: "its device is gone".into() }),
        ..root.clone()
    };
    v1::SurveyReply {
        agent: Some(good_hello()),
        filesystems: vec![root, gone],
        devices: vec![part, disk],
        fstrim_timer: Some(v1::Timer { installed: true, active: true, next_unix_secs: Some(0) }),
        not_listed: 7,
        missing: vec!["no answer in time".into()],
    }
}

pub(super) fn good_report() -> v1::RunReport {
    v1::RunReport {
        run_id: "r".into(),
        fence: u64::MAX,
        boot_id: "b".into(),
        state: 5,
        stop: 1,
        filesystems: vec![v1::FilesystemRun {
            filesystem_id: "8:1".into(),
            state: 6,
            claimed: Some(0),
            failure: Some(v1::Failure { kind: 4, errno: 5, text: "EIO".into() }),
            ..Default::default()
        }],
        sent: vec![v1::Sent { device_id: "8:0".into(), bytes: Some(MAX_BYTES), written: None }],
        ..Default::default()
    }
}

#[test]
fn what_keeps_the_contract_passes_whole() {
    let survey = survey(good_survey()).unwrap();
    assert_eq!(survey.filesystems[0].used_bytes, Some(1 << 41), "kept as said, and judged elsewhere");
    assert_eq!(survey.filesystems[1].mount, "/media/stick\n", "escaped where it is shown, not here");
    assert_eq!(survey.filesystems[1].skip.as_ref().unwrap().reason, words::Wire::Unknown(99));
    assert_eq!(survey.agent.policy.fastest, Some(words::Wire::Unknown(9)));
    assert_eq!((survey.not_listed, survey.devices.len()), (7, 2));
    let report = report(good_report()).unwrap();
    assert_eq!(
        report.filesystems[0].claim,
        Some(words::Wire::Unknown(0)),
        "claimed without a word on what it means"
    );
    assert_eq!(report.sent[0].discarded_bytes, Some(MAX_BYTES));
}

/// A breach: its name, what it does to a good message, and the beginning of what is said about it.
type Breach<T> = (&'static str, fn(&mut T), &'static str);

fn each_is_named<T, U: std::fmt::Debug>(good: T, check: fn(T) -> Result<U, Nonsense>, breaches: &[Breach<T>])
where
    T: Clone,
{
    check(good.clone()).unwrap();
    for (name, breach, expected) in breaches {
        let mut bad = good.clone();
        breach(&mut bad);
        let said = check(bad).expect_err(name).to_string();
        assert!(said.starts_with(expected), "{name}: {said}");
        assert!(!said.chars().any(char::is_control) && said.len() < 200, "{name}: {said}");
    }
}

#[test]
fn breaches_of_hello() {
    each_is_named(
        good_hello(),
        hello,
        &[
            ("no version", |m| m.agent_version.clear(), "agent_version: empty"),
            ("long kernel", |m| m.kernel = "x".repeat(129), "kernel: 129 bytes, at most 128"),
            ("escape", |m| m.kernel = "\u{1b}[2J".into(), r#"kernel: "\x1b[2J" is not visible ASCII"#),
            ("no boot", |m| m.boot_id.clear(), "boot_id: empty"),
            ("features", |m| m.features = vec!["x".into(); 65], "features: 65 of them, at most 64"),
            ("empty feature", |m| m.features.push(String::new()), "features[1]: empty"),
            ("no policy", |m| m.policy = None, "policy: missing"),
            (
                "type",
                |m| {
                    m.policy =
                        Some(v1::Policy { also_allowed_types: vec!["a b".into()], ..Default::default() })
                },
                r#"policy.also_allowed_types[0]: "a b" is not visible ASCII"#,
            ),
        ],
    );
}

#[test]
fn breaches_of_survey() {
    each_is_named(
        good_survey(),
        survey,
        &[
            ("no agent", |m| m.agent = None, "agent: missing"),
            ("agent", |m| m.agent = Some(v1::HelloReply::default()), "agent.agent_version: empty"),
            ("two roots", |m| m.filesystems[1].id = "8:1".into(), r#"filesystems: "8:1" is named twice"#),
            ("two disks", |m| m.devices[0].id = "8:0".into(), r#"devices: "8:0" is named twice"#),
            (
                "id",
                |m| m.filesystems[0].id = "sda1".into(),
                r#"filesystems[0].id: "sda1" is not a device number"#,
            ),
            ("signed id", |m| m.filesystems[0].id = "+8:1".into(), "filesystems[0].id:"),
            ("padded id", |m| m.filesystems[0].id = "08:1".into(), "filesystems[0].id:"),
            ("large id", |m| m.filesystems[0].id = "8:4294967296".into(), "filesystems[0].id:"),
            ("three parts", |m| m.filesystems[0].id = "8:1:1".into(), "filesystems[0].id:"),
            (
                "relative mount",
                |m| m.filesystems[0].mount = "srv".into(),
                "filesystems[0].mount: \"srv\" is not an absolute",
            ),
            (
                "long mount",
                |m| m.filesystems[1].mount = "/".repeat(12289),
                "filesystems[1].mount: 12289 bytes",
            ),
            ("no type", |m| m.filesystems[0].r#type.clear(), "filesystems[0].type: empty"),
            (
                "used",
                |m| m.filesystems[0].used = Some(u64::MAX),
                "filesystems[0].used: 18446744073709551615 bytes",
            ),
            (
                "unknown device",
                |m| m.filesystems[0].device_id = "9:9".into(),
                r#"filesystems[0]: "9:9" is not among the devices"#,
            ),
            (
                "unknown leaf",
                |m| m.filesystems[0].leaf_ids.push("9:9".into()),
                r#"filesystems[0]: "9:9" is not among the devices"#,
            ),
            (
                "leaf twice",
                |m| m.filesystems[0].leaf_ids.push("8:0".into()),
                r#"filesystems[0].leaf_ids: "8:0" is named"#,
            ),
            (
                "many leaves",
                |m| m.filesystems[0].leaf_ids = vec!["8:0".into(); 513],
                "filesystems[0].leaf_ids: 513 of",
            ),
            ("much missing", |m| m.missing = vec![String::new(); 65], "missing: 65 of them, at most 64"),
            ("a long sentence", |m| m.missing = vec!["x".repeat(13_313)], "missing[0]: 13313 bytes"),
            (
                "extents fall",
                |m| m.filesystems[0].free_extents.reverse(),
                "filesystems[0].free_extents: sizes do not rise",
            ),
            (
                "extents grow",
                |m| m.filesystems[0].free_extents[1].bytes = 101,
                "filesystems[0].free_extents: more bytes in large",
            ),
            (
                "many extents",
                |m| m.filesystems[0].free_extents = vec![v1::FreeExtents::default(); 17],
                "filesystems[0].free_extents: 17 of them",
            ),
            (
                "long reason",
                |m| m.filesystems[1].skip.as_mut().unwrap().text = "x".repeat(13313),
                "filesystems[1].skip.text: 13313 bytes",
            ),
            (
                "many skipped",
                |m| m.filesystems = vec![m.filesystems[1].clone(); 257],
                "filesystems (skipped): 257 of them, at most 256",
            ),
            (
                "many trimmed",
                |m| m.filesystems = vec![m.filesystems[0].clone(); 1025],
                "filesystems (not skipped): 1025 of them",
            ),
            (
                "many devices",
                |m| m.devices = vec![m.devices[0].clone(); 4097],
                "devices: 4097 of them, at most 4096",
            ),
            (
                "unknown lower",
                |m| m.devices[0].lower_ids = vec!["9:9".into()],
                r#"devices[0]: "9:9" is not among"#,
            ),
            ("on itself", |m| m.devices[1].lower_ids = vec!["8:0".into()], "devices: "),
            ("circle", |m| m.devices[1].lower_ids = vec!["8:1".into()], "devices: "),
            ("size", |m| m.devices[0].size = MAX_BYTES + 1, "devices[0].size: 9223372036854775809 bytes"),
            ("name", |m| m.devices[0].name = "s da".into(), "devices[0].name: \"s da\" is not visible"),
            (
                "serial",
                |m| {
                    m.devices[0].identity =
                        Some(v1::Identity { serial: "x".repeat(513), ..Default::default() })
                },
                "devices[0].identity.serial: 513 bytes, at most 512",
            ),
            (
                "timer",
                |m| m.fstrim_timer.as_mut().unwrap().next_unix_secs = Some(i64::MAX),
                "fstrim_timer.next_unix_secs: 9223372036854775807 is no time",
            ),
            (
                "timer before",
                |m| m.fstrim_timer.as_mut().unwrap().next_unix_secs = Some(-1),
                "fstrim_timer.next_unix_secs: -1 is no time",
            ),
        ],
    );
}

#[test]
fn breaches_of_runs() {
    each_is_named(
        good_report(),
        report,
        &[
            ("no run", |m| m.run_id.clear(), "run_id: empty"),
            (
                "duration",
                |m| m.duration_ms = u64::MAX,
                "duration_ms: 18446744073709551615 ms, more than a year",
            ),
            (
                "twice",
                |m| m.filesystems.push(m.filesystems[0].clone()),
                r#"filesystems: "8:1" is named twice"#,
            ),
            ("disk twice", |m| m.sent.push(m.sent[0].clone()), r#"sent: "8:0" is named twice"#),
            (
                "many",
                |m| m.filesystems = vec![v1::FilesystemRun::default(); 1281],
                "filesystems: 1281 of them",
            ),
            ("many disks", |m| m.sent = vec![v1::Sent::default(); 4097], "sent: 4097 of them"),
            ("sent", |m| m.sent[0].bytes = Some(MAX_BYTES + 1), "sent[0].bytes: 9223372036854775809 bytes"),
            (
                "errno",
                |m| m.filesystems[0].failure.as_mut().unwrap().errno = -5,
                "filesystems[0].failure.errno: -5 is no",
            ),
            ("claimed", |m| m.filesystems[0].claimed = Some(u64::MAX), "filesystems[0].claimed: "),
        ],
    );
    use v1::trim_event::What;
    let good = v1::TrimEvent { seq: 1, elapsed_ms: 1, what: Some(What::End(good_report())) };
    each_is_named(
        good,
        event,
        &[
            ("nothing", |m| m.what = None, "what: missing"),
            ("elapsed", |m| m.elapsed_ms = MAX_MILLIS + 1, "elapsed_ms: "),
            (
                "no reason to end",
                |m| m.what = Some(What::End(v1::RunReport { stop: 0, ..good_report() })),
                "end.stop: missing",
            ),
            ("state", |m| m.what = Some(What::State(v1::RunReport::default())), "state.run_id: empty"),
            (
                "progress",
                |m| m.what = Some(What::Progress(v1::Progress::default())),
                "progress.filesystem_id: \"\" is not",
            ),
            (
                "filesystem",
                |m| m.what = Some(What::Filesystem(v1::FilesystemRun::default())),
                "filesystem.filesystem_id",
            ),
        ],
    );
}
