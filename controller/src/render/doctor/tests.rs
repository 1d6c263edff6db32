//! The screen as a person sees it.

use super::*;
use crate::{
    layers::samples::{HEADER, Sample},
    model::{disk::DriveDiscard, image::Qcow2Header, trouble::Kind},
    render::COLUMNS,
    trim::fakes::look_of,
};

fn screen(look: Look) -> String {
    let diagnosis = Diagnosis::of(&look, Some(&"vsock:3".parse().unwrap()));
    anstream::adapter::strip_str(&vm("web-12", &Ok((look, diagnosis)))).to_string()
}

#[test]
fn a_cut_and_a_holder() {
    let mut cut = Sample::raw();
    cut.host.discard = DriveDiscard::Ignore;
    let held = Sample::qcow2(Qcow2Header { snapshots: 1, ..HEADER });
    let mut look = look_of(&[cut, held]);
    look.vm.manager = Manager::Libvirt { uri: "qemu:///system".into(), domain: "web-12".into() };
    look.vm.state = Some(VmState::Running);
    let screen = screen(look);
    assert!(
        screen.starts_with("web-12  libvirt qemu:///system, running\n  way    link             open"),
        "{screen}"
    );
    assert!(screen.contains("  qemu   drive            CUT      "), "{screen}");
    assert!(screen.contains("cut at drive. A trim now frees nothing"), "{screen}");
    assert!(screen.contains("format           holds 30.0 GiB "), "{screen}");
    assert!(screen.contains("format holds what is named above"), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= COLUMNS), "{screen}");
}

#[test]
fn a_hostile_guest_stays_on_its_line() {
    let mut look = look_of(&[Sample::raw()]);
    look.guest.as_mut().unwrap().filesystems[0].mount = "/\u{1b}[2J\n$(reboot)".into();
    let screen = screen(look);
    assert!(!screen.contains('\u{1b}'), "{screen}");
    assert!(!screen.contains("\n$(reboot)"), "{screen}");
}

#[test]
fn a_vm_that_could_not_be_looked_at() {
    let trouble = Trouble::new(Kind::NoQmp, "nothing listens").hint("is it on?");
    assert_eq!(vm("old", &Err(trouble)), "old: nothing listens\n  is it on?\n");
}

#[test]
fn a_probe_says_how_far_it_got() {
    let look = look_of(&[Sample::raw()]);
    let mut diagnosis = Diagnosis::of(&look, Some(&"vsock:3".parse().unwrap()));
    diagnosis.disks[0].probe = Some(Probe {
        proven: Some(false),
        ended_at: Some(Layer::Drive),
        text: "the guest sent discards, and the image stayed as it was".into(),
        mount: Some("/mnt/d".into()),
        range_bytes: Some(128 << 20),
        sent_bytes: Some(127 << 20),
        fell_bytes: Some(-65536),
        ..Probe::default()
    });
    let screen = anstream::adapter::strip_str(&vm("web-12", &Ok((look, diagnosis)))).to_string();
    let said =
        "probe on /mnt/d: NOT OPEN at drive: the guest sent discards, and the image stayed as it was (range
  128.0 MiB -> sent 127.0 MiB -> arrived not read -> image 64.0 KiB)
nothing is seen to cut, and yet the way is not open.
";
    assert!(screen.ends_with(said), "{screen}");
}
