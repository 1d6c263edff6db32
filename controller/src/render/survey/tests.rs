//! The screen as a person sees it.

use super::*;
use crate::{
    layers::samples::{HEADER, Sample},
    model::{disk::DriveDiscard, image::Qcow2Header, trouble::Kind},
    render::COLUMNS,
    trim::fakes::look_of,
};

/// Without colours, which a terminal puts on and a pipe does not.
fn plain(results: &[(String, Result<Look, Trouble>)]) -> String {
    anstream::adapter::strip_str(&screen(results)).to_string()
}

fn host() -> Vec<(String, Result<Look, Trouble>)> {
    let mut cut = Sample::raw();
    cut.host.discard = DriveDiscard::Ignore;
    cut.image.allocation.allocated_bytes = Some(38 << 30);
    let held = Sample::qcow2(Qcow2Header { snapshots: 1, ..HEADER });
    let mut off = look_of(&[Sample::raw()]);
    off.guest = Err(Trouble::new(Kind::VmOff, "the VM is off"));
    vec![
        ("web-12".to_owned(), Ok(look_of(&[Sample::raw(), held]))),
        ("build-02".to_owned(), Ok(look_of(&[cut]))),
        ("old-7".to_owned(), Ok(off)),
        ("lab; reboot".to_owned(), Err(Trouble::new(Kind::NoAgent, "no agent there"))),
        ("mute".to_owned(), Err(Trouble::new(Kind::AgentSilent, "no answer in 10 s").hint("look at it"))),
    ]
}

#[test]
fn the_biggest_first_and_what_is_in_the_way() {
    let screen = plain(&host());
    let order: Vec<&str> =
        screen.lines().skip(1).take(4).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(order, ["build-02", "web-12", "web-12", "old-7"], "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= COLUMNS), "{screen}");
    let way = |n: usize| screen.lines().nth(n).unwrap().rsplit("GiB").next().unwrap().trim().to_owned();
    assert_eq!(way(2), "nothing", "{screen}");
    assert!(screen.contains("not read: old-7 (off), lab; reboot (no agent)"), "{screen}");
    assert!(screen.contains("not read: mute (no answer): no answer in 10 s\n  look at it"), "{screen}");
    assert!(screen.ends_with("next: trimtab doctor build-02 · trimtab trim web-12\n"), "{screen}");
    assert!(screen.contains("/guests: 50 % of 1.0 TiB in use"), "{screen}");
}

#[test]
fn names_are_quoted_in_what_to_do_next() {
    let lab = vec![("lab; reboot".to_owned(), Err(Trouble::new(Kind::NoAgent, "no agent there")))];
    assert!(plain(&lab).ends_with("next: trimtab doctor 'lab; reboot'\n"));
}

#[test]
fn names_that_are_too_long_are_cut() {
    let mut sample = Sample::raw();
    sample.host.image.as_mut().unwrap().path = format!("/guests/{}", "x".repeat(200)).into();
    let mut look = look_of(&[sample]);
    look.guest.as_mut().unwrap().devices[0].name = "\u{1b}]0;name".repeat(20);
    let screen = plain(&[("v".repeat(60), Ok(look))]);
    assert!(!screen.contains('\u{1b}'), "{screen}");
    assert!(screen.lines().take(2).all(|line| line.chars().count() <= COLUMNS), "{screen}");
}

#[test]
fn nothing_known_is_no_table() {
    assert_eq!(plain(&[]), "");
}
