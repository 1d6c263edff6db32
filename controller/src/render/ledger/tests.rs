//! The screens of a trim, whole.

use std::time::Duration;

use trimtab_proto::words::{ClaimKind, RunState, SkipReason, Wire};

use super::*;
use crate::{
    layers::samples::{HEADER, Sample, filesystem},
    model::{disk::DiskCounters, guest::Skip, image::Qcow2Header, run::RunEvent, trouble::Kind},
    trim::{
        fakes::{FakeVm, report},
        look::Parts,
        neighbours::Neighbours,
        options::TrimOptions,
        turn::turn,
    },
};

const GIB: u64 = 1 << 30;

async fn outcome_of(vm: &FakeVm) -> Result<TurnOutcome, Trouble> {
    let (_keep, wishes) = tokio::sync::watch::channel(crate::trim::wish::Wish::Go);
    let neighbours = Neighbours::default();
    let parts = Parts { name: "vm", guest: vm, vmm: vm, storage: vm, neighbours: &neighbours };
    turn(&parts, &TrimOptions::default(), true, &|_| {}, wishes).await
}

/// A VM whose run sends, delivers and frees so much.
fn vm_that(sample: Sample, sent: u64, arrived: u64, allocated_after: u64) -> FakeVm {
    let mut vm = FakeVm::new(sample);
    let none = DiskCounters {
        written_bytes: Some(0),
        arrived_bytes: Some(0),
        failed_requests: Some(0),
        failed_io: None,
    };
    vm.before = none;
    vm.script(|s| {
        s.streams.push_back(vec![Ok(RunEvent::End(report(RunState::Ended, sent)))]);
        s.allocated_after = allocated_after;
        s.counters_after = DiskCounters { arrived_bytes: Some(arrived), ..none };
    });
    vm
}

async fn screen(name: &str, vm: &FakeVm) -> String {
    super::vm(name, &outcome_of(vm).await)
}

#[tokio::test(start_paused = true)]
async fn reclaimed() {
    let mut vm = vm_that(Sample::raw(), 28 * GIB, 28 * GIB, 12 * GIB);
    let mut iso = filesystem("11:0", "/mnt/iso", &[]);
    iso.skip = Some(Skip {
        reason: Wire::Known(SkipReason::ReadOnly),
        device_id: String::new(),
        text: "its superblock is read-only".into(),
    });
    vm.survey.filesystems.push(iso);
    insta::assert_snapshot!(screen("web-12", &vm).await, @r"
    web-12 sda  /guests/a.img  raw, ext4                                            reclaimed   18.0 GiB
      claimed 28.0 GiB -> sent 28.0 GiB -> arrived 28.0 GiB -> freed 18.0 GiB           30.0 -> 12.0 GiB
    skipped: /mnt/iso (read_only)
    ");
}

#[tokio::test(start_paused = true)]
async fn held_by_a_snapshot_and_an_echo() {
    let vm = vm_that(Sample::qcow2(Qcow2Header { snapshots: 1, ..HEADER }), 28 * GIB, 0, 30 * GIB);
    vm.script(|s| {
        let mut ended = report(RunState::Ended, 28 * GIB);
        ended.filesystems[0].claim = Some(Wire::Known(ClaimKind::RangeEcho));
        s.streams[0] = vec![Ok(RunEvent::End(ended))];
    });
    insta::assert_snapshot!(screen("web-12", &vm).await, @r"
    web-12 sda  /guests/a.img  qcow2, ext4                                       held on host        0 B
      claimed 28.0 GiB* -> sent 28.0 GiB -> arrived 0 B -> freed 0 B                    30.0 -> 30.0 GiB
      format: an internal snapshot keeps what the guest frees
      fix  deleting a snapshot gives its clusters back, and there is no way back to it: if you no longer
           need it, qemu-img snapshot -d NAME with the VM off, or HMP's delvm; which there are:
           qemu-img snapshot -l -U /guests/a.img
    * xfs returns the range it was asked for, whatever was free in it
    ");
}

#[tokio::test(start_paused = true)]
async fn no_line_is_wider_than_the_screen_and_no_escape_gets_out() {
    let mut vm = vm_that(Sample::raw(), 0, 0, 30 * GIB);
    vm.survey.filesystems[0].mount = "/\u{1b}[2J".repeat(40);
    vm.script(|s| {
        let mut ended = report(RunState::Ended, 0);
        ended.filesystems[0].failure = Some(crate::model::run::Failure {
            kind: Wire::Unknown(9),
            errno: 5,
            text: "\u{1b}]0;owned\u{7} and \u{202e}turned".into(),
        });
        s.streams[0] = vec![Ok(RunEvent::End(ended))];
    });
    let text = screen("web-12", &vm).await;
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    assert!(text.contains("failed"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_sum_counts_what_came_back() {
    let good = outcome_of(&vm_that(Sample::raw(), 28 * GIB, 28 * GIB, 12 * GIB)).await;
    let cut = outcome_of(&vm_that(Sample::raw(), 28 * GIB, 0, 30 * GIB)).await;
    let results = [("a".to_owned(), good), ("b".to_owned(), cut)];
    insta::assert_snapshot!(
        sum(&results, Duration::from_millis(4100), 64),
        @"18.0 GiB came back from 1 of 2 disks in 4.1 s; 20.0 GiB of slack at most is held or cut      exit 64"
    );
    let lost: Result<TurnOutcome, Trouble> = Err(Trouble::new(Kind::NoAgent, "nothing listens"));
    let line = sum(&[("c".to_owned(), lost)], Duration::from_secs(3), 32);
    assert!(
        line.starts_with("0 B came back from 0 of 0 disks in 3.0 s") && line.ends_with("exit 32"),
        "{line}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_datastore_gained_stands_beside_what_the_image_lost() {
    let vm = || {
        let vm = vm_that(Sample::raw(), 28 * GIB, 28 * GIB, 12 * GIB);
        vm.script(|s| s.free_after += 17 * GIB);
        vm
    };
    let one = vec![("a".to_owned(), outcome_of(&vm()).await)];
    assert_eq!(datastores(&one), "/guests gained 17.0 GiB meanwhile: 529.0 GiB are free\n");
    let two = vec![one[0].clone(), ("b".to_owned(), outcome_of(&vm()).await)];
    assert_eq!(datastores(&two), "", "each saw a part of it");
}

#[tokio::test(start_paused = true)]
async fn a_long_call_is_told_of() {
    let with = |calls: u32, millis: u64| async move {
        let vm = vm_that(Sample::raw(), 28 * GIB, 28 * GIB, 12 * GIB);
        let mut outcome = outcome_of(&vm).await;
        let run = outcome.as_mut().unwrap().filesystems[0].run.as_mut().unwrap();
        (run.calls, run.longest_call) = (calls, Duration::from_millis(millis));
        super::vm("web-12", &outcome)
    };
    for (name, calls, millis, expected) in [
        ("short", 12, 999, None),
        ("one of many", 12, 4120, Some("the longest call took 4.1 s, on / (ext4, 12 calls in all)")),
        ("the only one", 1, 61_000, Some("the longest call took 61.0 s, on / (ext4, 1 call in all)")),
    ] {
        let screen = with(calls, millis).await;
        match expected {
            Some(text) => assert!(screen.contains(text), "{name}: {screen}"),
            None => assert!(!screen.contains("longest call"), "{name}: {screen}"),
        }
        assert!(screen.lines().all(|line| line.chars().count() <= COLUMNS), "{name}: {screen}");
    }
}
