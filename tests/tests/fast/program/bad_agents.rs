//! Agents that mean harm, against the whole program: each costs its own VM a bounded time, and no other VM anything.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tonic::Status;
use trimtab_proto::{
    v1::{self, trim_event::What},
    words::{FilesystemState, RunState, StopReason},
};
use trimtab_tests::{
    MIB,
    fake_agent::{FakeAgent, Script, Step, survey_of_one_disk},
    hostile::{HostileAgent, Misdeed},
};

use super::write_inventory;
use crate::common::checked;

/// The promise for the whole program.
const MOST_KIB: u64 = 64 * 1024;

/// A VM that does not answer costs at most this.
const MOST_TIME: Duration = Duration::from_secs(30);

/// Frees more than T.
const FREED: u64 = 32 * MIB;

fn vm(name: &str) -> String {
    format!("[[vm]]\nname = \"{name}\"\nagent = \"unix:DIR/{name}\"\n")
}

#[test]
fn each_misdeed_ends_in_its_own_error() {
    let cases = [
        ("silent", Misdeed::NeverAnswers, "agent_silent"),
        ("takes", Misdeed::TakesRequest, "agent_silent"),
        ("nobody", Misdeed::NoListener, "no_agent"),
        ("garbage", Misdeed::Garbage, "agent_nonsense"),
        ("huge", Misdeed::HugeString, "agent_nonsense"),
        ("message", Misdeed::Message(u32::MAX), "agent_nonsense"),
        ("headers", Misdeed::EndlessHeaders, "agent_nonsense"),
        ("nothings", Misdeed::Nothings, "agent_nonsense"),
        ("numbers", Misdeed::MaxNumbers, "agent_nonsense"),
        ("version", Misdeed::AnotherVersion, "agent_version"),
        ("escapes", Misdeed::Escapes, "agent_refused"),
        ("goes", Misdeed::GoesAway, "agent_lost"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let text: String = cases.iter().map(|(name, ..)| vm(name)).collect();
    let trimtab = write_inventory(folder.path(), &text);
    std::thread::scope(|scope| {
        for (name, misdeed, kind) in cases {
            let (trimtab, folder) = (&trimtab, folder.path());
            scope.spawn(move || {
                let _serving = HostileAgent(misdeed).serve(&folder.join(name)).unwrap();
                let ended = trimtab.trim(&[name]).unwrap();
                let document = checked(&ended).unwrap();
                let error = &document.vm(name).unwrap()["error"];
                assert_eq!((ended.exit, error["kind"].as_str()), (32, Some(kind)), "{misdeed:?}: {document}");
                assert!(ended.took < MOST_TIME, "{misdeed:?}: {:?}", ended.took);
                assert!((1..=MOST_KIB).contains(&ended.peak_kib), "{misdeed:?}: {} KiB", ended.peak_kib);
                let printed = format!("{}{}", ended.stdout, ended.stderr);
                assert!(!printed.contains(['\u{1b}', '\u{7}']), "{misdeed:?}: {printed:?}");
            });
        }
    });
}

/// An honest agent of a guest with one disk, whose run does `deed` on the host.
fn honest(run: Vec<Step>) -> FakeAgent {
    FakeAgent::new(Script::new(survey_of_one_disk(64 * MIB), run))
}

fn running() -> Step {
    Step::Say(What::State(v1::RunReport { state: RunState::Running.into(), ..Default::default() }))
}

/// A run that gives back what `image` occupies.
fn trims(image: PathBuf) -> Vec<Step> {
    let deed = move || {
        let file = std::fs::OpenOptions::new().write(true).open(&image).unwrap();
        file.set_len(0).and_then(|()| file.set_len(2 * FREED)).unwrap();
    };
    let done = v1::FilesystemRun {
        filesystem_id: "8:0".into(),
        state: FilesystemState::Done.into(),
        claimed: Some(FREED),
        claim: 1,
        passes: 1,
        ..Default::default()
    };
    let end = v1::RunReport {
        state: RunState::Ended.into(),
        stop: StopReason::Done.into(),
        settled: true,
        filesystems: vec![done],
        sent: vec![v1::Sent { device_id: "8:0".into(), bytes: Some(FREED), written: Some(0) }],
        ..Default::default()
    };
    vec![running(), Step::Do(Arc::new(deed)), Step::Say(What::End(end))]
}

fn image(folder: &Path, name: &str) -> (PathBuf, String) {
    let path = folder.join(format!("{name}.img"));
    let mut file = std::fs::File::create(&path).unwrap();
    // Sparse: an image that has all of its space is taken for preallocated, and left alone.
    let noise = vec![0xa5; usize::try_from(FREED).unwrap()];
    file.write_all(&noise).and_then(|()| file.set_len(2 * FREED)).and_then(|()| file.sync_all()).unwrap();
    let disk =
        format!("{}[[vm.disk]]\nimage = \"DIR/{name}.img\"\nformat = \"raw\"\nguest = \"sda\"\n", vm(name));
    (path, disk)
}

#[test]
fn a_hostile_a_hanging_and_a_dying_vm_disturb_no_other() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let folder = directory.path();
    let ((first, one), (second, two), (_, three)) =
        (image(folder, "first"), image(folder, "second"), image(folder, "dies"));
    let text = [one, vm("floods"), vm("hangs"), two, three].concat();
    let trimtab = write_inventory(folder, &text);
    let _hostile = HostileAgent(Misdeed::HugeString).serve(&folder.join("floods")).unwrap();
    let _hanging = HostileAgent(Misdeed::TakesRequest).serve(&folder.join("hangs")).unwrap();
    let _first = honest(trims(first)).serve(&folder.join("first")).unwrap();
    let _second = honest(trims(second)).serve(&folder.join("second")).unwrap();
    let dies = vec![running(), Step::Fail(Status::unavailable("stopping"))];
    let _dies = honest(dies).serve(&folder.join("dies")).unwrap();

    let ended = trimtab.trim(&["--all", "--parallel", "5"]).unwrap();

    let document = checked(&ended).unwrap();
    assert_eq!(ended.exit, 64, "{document}");
    for name in ["first", "second"] {
        let vm = document.vm(name).unwrap();
        let disk = &vm["disks"][0];
        assert!(vm["error"].is_null(), "{vm:#}");
        assert_eq!((&disk["verdict"], &disk["rule"]), (&"reclaimed".into(), &"5".into()), "{disk:#}");
        assert!(disk["freed_bytes"].as_u64() >= Some(FREED), "{disk:#}");
    }
    for (name, kind) in [("floods", "agent_nonsense"), ("hangs", "agent_silent")] {
        assert_eq!(document.vm(name).unwrap()["error"]["kind"], kind, "{document}");
    }
    let dead = document.vm("dies").unwrap();
    assert!(dead["error"]["kind"].is_string(), "{dead:#}");
    assert_eq!(dead["disks"][0]["freed_bytes"], 0, "the host's own figure: {dead:#}");
    assert!(ended.took < MOST_TIME, "{:?}", ended.took);
    assert!((1..=MOST_KIB).contains(&ended.peak_kib), "{} KiB", ended.peak_kib);
}
