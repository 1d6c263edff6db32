//! Who takes part, in which order, and why not.

use super::*;
use crate::{
    campaign::{
        plan::assess::{assess, in_the_way},
        run::VmKey,
    },
    config::datastores::DatastoreNames,
    layers::samples::{HEADER, Sample},
    model::{
        disk::DriveDiscard,
        image::Qcow2Header,
        trouble::{Kind, Trouble},
        vm::Vm,
    },
    trim::{fakes::look_of, look::Look},
};

const GIB: u64 = 1 << 30;

fn wishes() -> Wishes {
    Wishes {
        name: "n".into(),
        limits: Limits::default(),
        windows: Vec::new(),
        window_weeks: 8,
        include_set_aside: false,
        named: BTreeSet::new(),
    }
}

type Seen = (Vm, Result<Look, Trouble>);

fn host(id: &str) -> PlanHost {
    PlanHost { id: id.into(), name: format!("name of {id}"), published: Timestamp::UNIX_EPOCH }
}

/// What host h has seen.
fn view(seen: &[Seen]) -> HostView {
    let names = DatastoreNames::default();
    let (mut vms, mut datastores): (Vec<SeenVm>, Vec<SeenDatastore>) = Default::default();
    for (vm, result) in seen {
        let (seen, stores) = assess("h", vm, result, &names);
        vms.push(seen);
        datastores.extend(stores);
    }
    HostView { host: host("h"), datastores, vms, beside: Vec::new() }
}

fn built_with(seen: &[Seen], wishes: &Wishes, remembered: &[VmRow]) -> Plan {
    let known = Known { now: Timestamp::UNIX_EPOCH, remembered, spared: &[] };
    build(&[view(seen)], false, vec![excluded()], wishes, &known)
}

fn excluded() -> LeftOut {
    LeftOut {
        name: "not-this".into(),
        host: "h".into(),
        reason: Reason::Excluded,
        text: "--exclude says so".into(),
        paste: None,
    }
}

fn built(seen: &[Seen]) -> Plan {
    built_with(seen, &wishes(), &[])
}

fn seen(name: &str, samples: &[Sample]) -> Seen {
    (Vm::named(name), Ok(look_of(samples)))
}

#[test]
fn what_the_host_alone_says_is_in_the_way() {
    let vm = Vm::named("a");
    let blind = |samples: &[Sample]| {
        let mut look = look_of(samples);
        look.guest = Err(Trouble::new(Kind::NoAgent, "its guest was not asked"));
        in_the_way(&vm, &look).map(|out| (out.reason, out.text))
    };
    assert_eq!(blind(&[with_slack(5)]), None);
    assert_eq!(blind(&[cut(), with_slack(5)]), None, "one of two is enough");
    let (reason, text) = blind(&[cut()]).unwrap();
    assert!(reason == Reason::Cut && text.contains("drive: "), "{text}");
    let mut full = Sample::raw();
    full.image.allocation.allocated_bytes = Some(40 * GIB);
    assert_eq!(blind(&[full]).unwrap().0, Reason::Guarded);
}

/// Slack of so many GiB: the sample's guest uses 10 GiB.
fn with_slack(gib: u64) -> Sample {
    let mut sample = Sample::raw();
    sample.image.allocation.allocated_bytes = Some((10 + gib) * GIB);
    sample
}

fn cut() -> Sample {
    let mut sample = Sample::raw();
    sample.host.discard = DriveDiscard::Ignore;
    sample
}

/// The only VM that is left out beside the excluded one.
fn left_out(seen: Seen) -> LeftOut {
    let plan = built(&[seen]);
    assert!(plan.vms.is_empty(), "{plan:?}");
    let out = plan.left_out.iter().find(|out| out.reason != Reason::Excluded);
    out.unwrap_or_else(|| panic!("{plan:?}")).clone()
}

#[test]
fn the_fullest_datastore_first() {
    let mut full = with_slack(5);
    let store = full.datastore();
    (store.identity, store.free_bytes) = ("full".into(), store.size_bytes / 50);
    let plan = built(&[seen("a", &[with_slack(5)]), seen("b", &[with_slack(9)]), seen("c", &[full])]);
    let order: Vec<_> = plan.vms.iter().map(|vm| (vm.name.as_str(), vm.expected_bytes / GIB)).collect();
    assert_eq!(order, [("c", 5), ("b", 9), ("a", 5)]);
    let stores: Vec<_> =
        plan.datastores.iter().map(|store| (store.name.as_str(), store.expected_bytes / GIB)).collect();
    assert_eq!(stores, [("ext4:uuid@host", 14), ("full", 5)]);
    assert_eq!(plan.left_out, [excluded()]);
    assert_eq!(plan.expected_bytes(), 19 * GIB);
}

#[test]
fn what_takes_part() {
    let plan = built(&[seen("a", &[with_slack(5), cut()])]);
    let [vm] = plan.vms.as_slice() else { panic!("{plan:?}") };
    assert_eq!((vm.expected_bytes, vm.at_most_bytes, vm.first), (5 * GIB, Some(5 * GIB), true));
    assert_eq!(vm.disks.len(), 2, "a disk that is cut lies on its datastore all the same");
    assert_eq!((vm.disks[0].image.as_str(), vm.disks[0].inode), ("/guests/a.img", 2));
    assert!(vm.notes[0].starts_with("sdb stays as it is: drive: "), "{:?}", vm.notes);
    assert_eq!(vm.datastores(), ["ext4:uuid@host"], "each once");

    let overlay = Sample::qcow2(Qcow2Header { has_backing_file: true, ..HEADER });
    let plan = built(&[seen("overlay", &[overlay]), seen("a", &[with_slack(1)])]);
    let order: Vec<_> = plan.vms.iter().map(|vm| (vm.name.as_str(), vm.at_most_bytes.is_some())).collect();
    assert_eq!(order, [("a", true), ("overlay", false)], "what is not known comes last");

    let mut paused = look_of(&[with_slack(5)]);
    paused.guest = Err(Trouble::new(Kind::VmPaused, "the VM does not run (paused)"));
    paused.disks[0].guest = None;
    let plan = built(&[(Vm::named("paused"), Ok(paused))]);
    assert_eq!((plan.vms.len(), plan.vms[0].notes.len()), (1, 1), "{plan:?}");

    let mut busy = with_slack(5);
    busy.host.block_job = Some("copying".into());
    assert_eq!(built(&[seen("busy", &[busy])]).vms.len(), 1, "a job passes by itself");
}

#[test]
fn what_is_left_out() {
    let trouble = |kind| (Vm::named("x y"), Err(Trouble::new(kind, "why")));
    let guest = |kind| {
        let mut look = look_of(&[with_slack(5)]);
        look.guest = Err(Trouble::new(kind, "why"));
        (Vm::named("x y"), Ok(look))
    };
    let mut shared = with_slack(5);
    shared.used_by_others = vec!["other".into()];
    let mut unread = look_of(&[with_slack(5)]);
    unread.disks[0].image_trouble = Some(Trouble::new(Kind::Image, "cannot read it"));
    let mut remote = look_of(&[with_slack(5)]);
    (remote.disks[0].host.image, remote.disks[0].image) = (None, None);
    for (name, seen, reason, text, paste) in [
        ("cut", seen("x y", &[cut()]), Reason::Cut, "sda: drive: ", Some("trimtab doctor 'x y'")),
        ("guarded", seen("x y", &[shared]), Reason::Guarded, "sda: protocol: ", Some("trimtab doctor 'x y'")),
        (
            "compact",
            seen("x y", &[with_slack(0)]),
            Reason::NothingToFree,
            "10.0 GiB are allocated, and its guest uses 10.0 GiB",
            None,
        ),
        (
            "unread",
            (Vm::named("x"), Ok(unread)),
            Reason::NoImage,
            "sda: cannot read it",
            Some("trimtab doctor x"),
        ),
        (
            "rbd",
            (Vm::named("x"), Ok(remote)),
            Reason::NoImage,
            "sda: its image is not",
            Some("trimtab doctor x"),
        ),
        ("diskless", seen("x", &[]), Reason::NoImage, "it has no disk", None),
        ("off", guest(Kind::VmOff), Reason::Off, "why", None),
        ("no agent", guest(Kind::NoAgent), Reason::NoAgent, "why", Some("trimtab doctor 'x y'")),
        ("silent", guest(Kind::AgentSilent), Reason::NoAnswer, "why", Some("trimtab doctor 'x y'")),
        ("no QMP", trouble(Kind::NoQmp), Reason::NoAnswer, "why", Some("trimtab doctor 'x y'")),
    ] {
        let out = left_out(seen);
        assert_eq!((out.reason, out.paste.as_deref()), (reason, paste), "{name}: {out:?}");
        assert!(out.text.starts_with(text), "{name}: {out:?}");
    }
}

#[test]
fn what_the_store_remembers() {
    let row = |failed_in_a_row, proven: Option<Timestamp>| VmRow {
        vm: VmKey { host: "h".into(), name: "a".into(), uuid: None },
        seen: Timestamp::UNIX_EPOCH,
        proven,
        failed_in_a_row,
    };
    let all = [seen("a", &[with_slack(5)])];
    let first = |row| built_with(&all, &wishes(), &[row]).vms[0].first;
    assert!(first(row(1, None)) && !first(row(0, Some(Timestamp::UNIX_EPOCH))));
    let aside = built_with(&all, &wishes(), &[row(2, None)]);
    assert_eq!(aside.left_out[0].reason, Reason::SetAside, "{aside:?}");
    let brought_back = Wishes { include_set_aside: true, ..wishes() };
    assert_eq!(built_with(&all, &brought_back, &[row(2, None)]).vms.len(), 1);
    let mut other = row(2, None);
    other.vm.uuid = Some("another VM of that name".into());
    assert_eq!(built_with(&all, &wishes(), &[other]).vms.len(), 1);
}

#[test]
fn hosts_that_share_a_datastore_and_an_image() {
    let seen = [seen("a", &[with_slack(5)]), seen("b", &[with_slack(9)])];
    let mut one = view(&seen);
    let as_file = |vm: &mut SeenVm, inode: u64| {
        let image = vm.disks[0].image.as_mut().unwrap();
        (image.inode, image.known_as) = (inode, vec![format!("nfs:nas:/x\n{inode}")]);
    };
    let mut other = one.clone();
    other.host = host("g");
    as_file(&mut other.vms[0], 77);
    // The samples' images are one file.
    as_file(&mut other.vms[1], 78);
    as_file(&mut one.vms[1], 78);
    let known = Known { now: Timestamp::UNIX_EPOCH, remembered: &[], spared: &[] };
    let plan = build(&[one, other], true, Vec::new(), &wishes(), &known);
    let vms: Vec<_> = plan.vms.iter().map(|vm| (vm.name.as_str(), vm.host.as_str())).collect();
    assert_eq!(vms, [("a", "h"), ("a", "g")]);
    let out: Vec<_> =
        plan.left_out.iter().map(|out| (out.name.as_str(), out.host.as_str(), out.reason)).collect();
    assert_eq!(out, [("b", "g", Reason::Guarded), ("b", "h", Reason::Guarded)]);
    assert!(plan.left_out[0].text.contains("b of host name of h"), "{}", plan.left_out[0].text);
    let stores: Vec<_> = plan.datastores.iter().map(|store| store.expected_bytes / GIB).collect();
    assert_eq!(stores, [10], "it is there once");
    assert_eq!(plan.hosts.len(), 2);
}

#[test]
fn who_is_spared_unless_named() {
    let spared = [Spared { called: "a".into(), why: "the store's database runs in it".into() }];
    let known = Known { now: Timestamp::UNIX_EPOCH, remembered: &[], spared: &spared };
    let hosts = [view(&[seen("a", &[with_slack(5)]), seen("b", &[with_slack(5)])])];
    let plan = build(&hosts, false, Vec::new(), &wishes(), &known);
    assert_eq!((plan.vms.len(), plan.left_out[0].reason), (1, Reason::Spared));
    assert_eq!(plan.left_out[0].text, "the store's database runs in it; name it to have it trimmed");
    let named = Wishes { named: BTreeSet::from(["a".to_owned()]), ..wishes() };
    assert_eq!(build(&hosts, false, Vec::new(), &named, &known).vms.len(), 2);
}
