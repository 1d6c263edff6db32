use trimtab_proto::words::Wire;

use super::*;
use crate::layers::{
    guard as any_guard,
    samples::{Sample, device as a_device, filesystem as a_filesystem},
};

fn skip(reason: SkipReason, device_id: &str) -> Option<Skip> {
    Some(Skip { reason: Wire::Known(reason), device_id: device_id.into(), text: "the agent's reason".into() })
}

/// "/" on sda, and "/secret" with 7 GiB free on a mapped device of `kind` above it.
fn layered(kind: DeviceKind) -> Sample {
    let mut sample = Sample::raw();
    sample.survey.devices.push(a_device("253:0", "dm-0", kind, &["8:0"]));
    let mut secret = a_filesystem("253:0", "/secret", &["8:0"]);
    secret.free_bytes = Some(7 << 30);
    secret.skip = skip(SkipReason::NoDiscard, "253:0");
    sample.survey.filesystems.push(secret);
    sample
}

#[test]
fn a_crypt_layer_cuts_when_it_is_the_only_way() {
    let mut sample = layered(DeviceKind::Crypt);
    let found = findings(&sample.facts());
    assert_eq!(found.iter().map(|f| f.state).collect::<Vec<_>>(), [State::Open, State::Holds]);
    assert_eq!(found[1].held_bytes, Some(7 << 30));
    sample.survey.filesystems.remove(0);
    let found = findings(&sample.facts());
    assert_eq!((found[0].layer, found[0].state), (Layer::Crypt, State::Cut));
}

#[test]
fn each_layer_by_its_name() {
    for (kind, expected) in [
        (DeviceKind::Crypt, Layer::Crypt),
        (DeviceKind::Lvm, Layer::Lvm),
        (DeviceKind::Md, Layer::Md),
        (DeviceKind::Mapped, Layer::Filesystem),
    ] {
        let mut sample = layered(kind);
        sample.survey.filesystems.remove(0);
        let cut = &findings(&sample.facts())[0];
        assert_eq!((cut.layer, cut.state), (expected, State::Cut), "{kind:?}");
        assert!(cut.fix.is_some(), "{kind:?}");
    }
}

#[test]
fn the_disk_itself_is_not_accused_twice() {
    let mut sample = layered(DeviceKind::Crypt);
    sample.survey.filesystems.remove(0);
    sample.survey.filesystems[0].skip.as_mut().unwrap().device_id = "8:0".into();
    assert_eq!(findings(&sample.facts())[0].state, State::Note);
}

#[test]
fn what_spans_disks_holds_no_figure() {
    let mut sample = layered(DeviceKind::Crypt);
    sample.survey.filesystems[1].leaf_ids.push("8:16".into());
    assert_eq!(findings(&sample.facts())[1].held_bytes, None);
}

#[test]
fn what_is_left_out_holds_its_free_space() {
    for (reason, short) in [
        (SkipReason::Type, "type not trusted"),
        (SkipReason::ReadOnly, "read-only"),
        (SkipReason::OptedOut, "owner's veto"),
        (SkipReason::Frozen, "frozen"),
        (SkipReason::OverMounted, "left out"),
    ] {
        let mut sample = Sample::raw();
        sample.survey.filesystems[0].skip = skip(reason, "");
        let found = findings(&sample.facts()).remove(0);
        assert_eq!((found.state, found.short.as_str()), (State::Holds, short), "{reason:?}");
        assert_eq!(found.held_bytes, Some(30 << 30), "{reason:?}");
    }
}

#[test]
fn a_kernel_at_risk_is_told_at_its_layer() {
    let mut sample = layered(DeviceKind::Md);
    sample.survey.filesystems[1].skip = skip(SkipReason::Kernel, "253:0");
    let found = &findings(&sample.facts())[1];
    assert_eq!((found.layer, found.state), (Layer::Md, State::Holds));
    assert!(found.text.contains("the agent's reason"), "its source is in the text: {}", found.text);
}

#[test]
fn an_empty_disk() {
    let mut sample = Sample::raw();
    sample.survey.filesystems.clear();
    assert_eq!(findings(&sample.facts())[0].short, "nothing mounted");
}

#[test]
fn frozen_and_damaged_filesystems_are_left_alone() {
    let mut sample = Sample::raw();
    assert_eq!(any_guard(&sample.facts(), &[]), None);
    sample.survey.filesystems[0].errors = Some(0);
    assert_eq!(any_guard(&sample.facts(), &[]), None);
    sample.survey.filesystems[0].errors = Some(2);
    let damaged = any_guard(&sample.facts(), &[]).unwrap();
    assert_eq!((damaged.layer, damaged.passes_by_itself), (Layer::Filesystem, false));
    assert!(findings(&sample.facts()).iter().any(|finding| finding.short == "filesystem errors"));
    sample.survey.filesystems[0].frozen = true;
    let frozen = any_guard(&sample.facts(), &[]).unwrap();
    assert_eq!((frozen.short.as_str(), frozen.passes_by_itself), ("frozen", true));
    assert_eq!(any_guard(&sample.facts(), &[Layer::Filesystem]), None);
}

#[test]
fn ext4_that_was_trimmed_in_vain() {
    let told = |sample: &Sample| findings(&sample.facts()).iter().any(|f| f.short == "trimmed in vain");
    let mut sample = Sample::raw();
    sample.counters.arrived_bytes = Some(0);
    assert!(!told(&sample), "never trimmed");
    sample.guest_disk().discarded_bytes = Some(1 << 30);
    assert!(told(&sample));
    sample.counters.arrived_bytes = None;
    assert!(!told(&sample), "not known what arrived");
    sample.counters.arrived_bytes = Some(0);
    sample.survey.filesystems[0].fs_type = "xfs".into();
    assert!(!told(&sample), "xfs remembers nothing");
    sample.survey.filesystems[0].fs_type = "ext4".into();
    sample.set_format(Format::Qcow2);
    assert!(!told(&sample), "a new qcow2 image has nothing to give back");
    sample.host.discard = DriveDiscard::Unknown;
    assert!(told(&sample));
}
