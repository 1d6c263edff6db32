use trimtab_proto::words::{ClaimKind, DeviceKind, FailureKind, Wire, feature};

use super::*;
use crate::{
    layers::samples::{HEADER, Sample, device, filesystem},
    model::{
        disk::{DiskCounters, VmState},
        guest::FreeExtents,
        image::Qcow2Header,
        run::Failure,
    },
    trim::{fakes::FakeVm, look, neighbours::Neighbours},
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn willing() -> Sample {
    let mut sample = Sample::raw();
    sample.survey.agent.features = vec![feature::PROBE.into()];
    sample.survey.agent.policy.host_may_probe = true;
    sample
}

fn counters(arrived_mib: u64) -> DiskCounters {
    DiskCounters {
        arrived_bytes: Some(arrived_mib * MIB),
        failed_requests: Some(0),
        failed_io: None,
        written_bytes: Some(0),
    }
}

fn written() -> ProbeEvent {
    let extents = vec![FreeExtents { at_least_bytes: 4 * MIB, bytes: BYTES }];
    ProbeEvent::Written(ProbeWritten { bytes: BYTES, extents, sent: Vec::new() })
}

fn trimmed(given_up: Duration, sent_mib: u64) -> ProbeEvent {
    ProbeEvent::Trimmed(ProbeTrimmed {
        given_up,
        claimed_bytes: sent_mib * MIB,
        claim: Wire::Known(ClaimKind::Submitted),
        range_bytes: 128 * MIB,
        beyond_range: false,
        sent: vec![Sent {
            device_id: "8:0".into(),
            discarded_bytes: Some(sent_mib * MIB),
            written_bytes: Some(0),
        }],
        settled: true,
    })
}

/// A probe of which these events come; the image is at 1000, 1016 and then `after` MiB.
fn vm(sample: Sample, events: Vec<Result<ProbeEvent, Trouble>>, after: (u64, DiskCounters)) -> FakeVm {
    let vm = FakeVm::new(sample);
    vm.script(|s| {
        s.probe = events.into();
        s.stages = vec![(1000 * MIB, counters(5)), (1016 * MIB, counters(5)), (after.0 * MIB, after.1)];
    });
    vm
}

async fn run(vm: &FakeVm) -> Probe {
    let neighbours = Neighbours::default();
    let parts = Parts { name: "a", guest: vm, vmm: vm, storage: vm, neighbours: &neighbours };
    let look = look::look(&parts).await.unwrap();
    probe(&parts, &look, &look.disks[0], &[]).await
}

const LATE: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn proven() {
    let vm = vm(willing(), vec![Ok(written()), Ok(trimmed(LATE, 100))], (990, counters(105)));
    let probe = run(&vm).await;
    assert_eq!(
        (probe.proven, probe.ended_at, probe.mount.as_deref()),
        (Some(true), None, Some("/")),
        "{probe:?}"
    );
    assert_eq!((probe.sent_bytes, probe.arrived_bytes), (Some(100 * MIB), Some(100 * MIB)));
    assert_eq!(probe.fell_bytes, Some(26 << 20), "from when the file was there");
    let order = vm.script(|s| s.probed.clone());
    assert_eq!(
        (order[0].filesystem_id.as_str(), order[0].boot_id.as_str(), order[0].pause),
        ("8:1", "b", PAUSE)
    );
}

#[tokio::test(start_paused = true)]
async fn ended() {
    let vm = vm(willing(), vec![Ok(written()), Ok(trimmed(LATE, 100))], (1016, counters(5)));
    let probe = run(&vm).await;
    assert_eq!((probe.proven, probe.ended_at, probe.fell_bytes), (Some(false), Some(Layer::Drive), Some(0)));
}

/// A look that was done later than the guest says the file was given up is none at the file.
#[tokio::test(start_paused = true)]
async fn looks_that_came_late_do_not_count() {
    let none = DiskCounters::default();
    let early = Duration::from_millis(100);
    let vm = vm(willing(), vec![Ok(written()), Ok(trimmed(early, 100))], (1000, none));
    let probe = run(&vm).await;
    assert_eq!((probe.proven, probe.fell_bytes), (None, Some(0)), "{probe:?}");
    assert!(probe.text.contains("could not be read while the file was there"), "{probe:?}");
}

#[tokio::test(start_paused = true)]
async fn trouble_is_told_and_proves_nothing() {
    let failure = Failure { kind: Wire::Known(FailureKind::NoRoom), errno: 28, text: "full".into() };
    let busy = Trouble::new(Kind::Busy, "another trim is under way").hint("later");
    for (name, events, says) in [
        ("before the file", vec![Ok(ProbeEvent::Failed(failure.clone()))], "the guest could not probe: full"),
        ("after it", vec![Ok(written()), Ok(ProbeEvent::Failed(failure))], "the guest could not probe: full"),
        ("busy", vec![Err(busy.clone())], "another trim is under way"),
        ("lost", vec![Ok(written()), Err(busy)], "another trim is under way"),
    ] {
        let vm = vm(willing(), events, (1016, counters(5)));
        let probe = run(&vm).await;
        assert_eq!((probe.proven, probe.ended_at, probe.text.as_str()), (None, None, says), "{name}");
    }
    let vm = vm(willing(), vec![Ok(written()), Ok(trimmed(LATE, 100))], (990, counters(105)));
    let neighbours = Neighbours::default();
    let parts = Parts { name: "a", guest: &vm, vmm: &vm, storage: &vm, neighbours: &neighbours };
    let look = look::look(&parts).await.unwrap();
    let mut stopped = vm.clone();
    stopped.view.vm.state = Some(VmState::Stopped("io-error".into()));
    let parts = Parts { vmm: &stopped, ..parts };
    let probe = probe(&parts, &look, &look.disks[0], &[]).await;
    assert!(probe.proven.is_none() && probe.text.contains("io-error"), "{probe:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_probed() {
    type Change = fn(&mut Sample);
    let cases: [(&str, Change, &str); 12] = [
        ("an old agent", |s| s.survey.agent.features.clear(), "too old"),
        ("a veto", |s| s.survey.agent.policy.host_may_probe = false, "host_may_probe"),
        ("unpaired", |s| s.survey.devices[0].identity.serial = "OTHER".into(), "paired"),
        ("a job", |s| s.host.block_job = Some("running".into()), "job"),
        ("a full datastore", |s| s.datastore().free_bytes = GIB - 1, "less than 1 GiB"),
        ("no filesystem", |s| s.survey.filesystems.clear(), "no ext4"),
        ("another type", |s| s.survey.filesystems[0].fs_type = "vfat".into(), "no ext4"),
        ("frozen", |s| s.survey.filesystems[0].frozen = true, "frozen"),
        ("errors", |s| s.survey.filesystems[0].errors = Some(1), "error"),
        ("over two disks", |s| s.survey.filesystems[0].leaf_ids.push("8:16".into()), "alone"),
        ("full", |s| s.survey.filesystems[0].free_bytes = Some(GIB / 2), "too full"),
        (
            "in a file",
            |s| {
                s.survey.devices.push(device("7:0", "loop0", DeviceKind::Loop, &["8:1"]));
                s.survey.filesystems[0].device_id = "7:0".into();
            },
            "no ext4",
        ),
    ];
    for (name, change, says) in cases {
        let mut sample = willing();
        sample.survey.devices[0].identity.serial = "DISK0".into();
        change(&mut sample);
        let serial = sample.survey.devices[0].identity.serial.clone();
        let job = sample.host.block_job.clone();
        let mut vm = vm(sample, Vec::new(), (1000, counters(5)));
        vm.survey.devices[0].identity.serial = serial;
        vm.survey.devices[0].size_bytes = 1;
        vm.view.disks[0].block_job = job;
        let probe = run(&vm).await;
        assert!(probe.proven.is_none() && probe.text.contains(says), "{name}: {probe:?}");
        assert_eq!(vm.script(|s| s.probed.len()), 0, "{name}: nothing was written");
    }
    let mut grows = Sample::qcow2(Qcow2Header { snapshots: 1, ..HEADER });
    grows.survey.agent = willing().survey.agent;
    grows.datastore().free_bytes = 2 * GIB;
    let probe = run(&vm(grows, Vec::new(), (1000, counters(5)))).await;
    assert!(probe.proven.is_none() && probe.text.contains("a trim could pause the VM"), "{probe:?}");
}

#[tokio::test(start_paused = true)]
async fn which_filesystem() {
    let mut sample = willing();
    let other = |id: &str, mount: &str, fs_type: &str, free: u64| {
        let fs = filesystem(id, mount, &["8:0"]);
        crate::model::guest::Filesystem { fs_type: fs_type.into(), free_bytes: Some(free * GIB), ..fs }
    };
    sample.survey.filesystems = vec![
        other("8:2", "/small", "ext4", 2),
        other("0:40", "/large", "btrfs", 30),
        other("8:3", "/data", "xfs", 20),
    ];
    let vm = vm(sample, vec![Ok(written()), Ok(trimmed(LATE, 100))], (990, counters(105)));
    assert_eq!(run(&vm).await.mount.as_deref(), Some("/data"), "btrfs comes last, since it trims more");
}
