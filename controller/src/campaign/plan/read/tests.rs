//! What was written is read back, and nonsense is named.

use super::*;
use crate::campaign::plan::{samples, write};

fn read_text(text: &str) -> Result<Plan, Trouble> {
    read(Path::new("plan.toml"), text, &BTreeSet::from(["ceph"]))
}

#[test]
fn what_was_written_is_read_back() {
    let mut plan = samples::plan();
    let text = write::text(&plan);
    let mut back = read_text(&text).unwrap_or_else(|trouble| panic!("{trouble}\n{text}"));
    assert!(!text.contains('\u{1b}'), "{text}");
    assert_eq!(text.lines().nth(back.vms[1].line - 1), Some("name = \"db-1\""));
    // Comments are for people.
    plan.left_out.clear();
    plan.hosts[0].name.clear();
    plan.vms[1].notes.clear();
    back.vms.iter_mut().for_each(|vm| vm.line = 0);
    assert_eq!(back, plan);
}

#[test]
fn a_fleet_is_read_back() {
    let mut plan = samples::fleet();
    let text = write::text(&plan);
    assert!(text.contains("host = \"fedcba9876543210fedcba9876543210\"  # node2"), "{text}");
    let mut back = read_text(&text).unwrap_or_else(|trouble| panic!("{trouble}\n{text}"));
    plan.left_out.clear();
    plan.vms[1].notes.clear();
    back.vms.iter_mut().for_each(|vm| vm.line = 0);
    assert_eq!(back, plan, "web-1 is there twice, on two hosts");
    let host = "host = \"fedcba9876543210fedcba9876543210\"  # node2\n";
    let id = "id = \"fedcba9876543210fedcba9876543210\"";
    for (from, to, expected) in [
        (host, "", "host: \"web-1\" has none"),
        (host, "host = \"x\"\n", "host: this plan has no host of that machine id"),
        (host, "host = \"0123456789abcdef0123456789abcdef\"\n", "a second time, after line"),
        (id, "id = \"0123456789abcdef0123456789abcdef\"", "id: this host stands here a second time"),
        ("surveyed = ", "host = \"x\"\nsurveyed = ", "host: a plan is of one host, or it has [[hosts]]"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let trouble = read_text(&changed).unwrap_err();
        assert!(trouble.text.contains(expected), "{expected}: {trouble}");
    }
    let no_host = write::text(&samples::plan()).replacen("host = ", "# ", 1);
    assert!(read_text(&no_host).unwrap_err().text.contains("neither host nor [[hosts]]"));
}

#[test]
fn every_limit_is_read_back() {
    use crate::campaign::limits::Share;
    let mut plan = samples::plan();
    plan.limits = Limits {
        per_host: std::num::NonZeroU32::new(3),
        datastores: BTreeMap::from([("ext4:uuid@host".to_owned(), std::num::NonZeroU32::MIN)]),
        ramp: Vec::new(),
        failure_budget: Share::Count(5),
        strict: true,
        pace: Some(trimtab_proto::words::Pace::Gentle),
        ..Limits::default()
    };
    plan.windows.clear();
    let back = read_text(&write::text(&plan)).unwrap();
    assert_eq!((back.limits, back.windows), (plan.limits, plan.windows));
}

#[test]
fn nonsense_is_named() {
    let good = write::text(&samples::plan());
    let disks = good.lines().position(|line| line == "disks = [").unwrap();
    for (from, to, expected) in [
        (
            "at_once = 4 ",
            "at_once = 0 ",
            "plan.toml:11: at_once: invalid value: integer `0`, expected a nonzero",
        ),
        ("at_once = 4 ", "at_once = -1 ", "plan.toml:11: at_once: invalid value"),
        ("at_once", "at_ones", "plan.toml:11: unknown field `at_ones`"),
        ("\"10 %\"]", "\"0 %\"]", "plan.toml:14: ramp: expected a number of VMs"),
        (
            "failure_budget = \"10 %\"",
            "failure_budget = 0",
            "plan.toml:15: failure_budget: expected a number of VMs",
        ),
        (
            "\"ceph\"",
            "\"zfs\"",
            "plan.toml:19: gates: no [[gate]] of trimtab.toml on each of the hosts is called \"zfs\"",
        ),
        ("deadline_secs = 14400", "deadline_secs = 0", "plan.toml:21: deadline_secs: 0 is not from 1"),
        ("retries = 2", "retries = 99", "plan.toml:18: retries: 99 is more than"),
        (
            "[limits.datastores] ",
            "[limits.datastores]\nfast = 1 #",
            "plan.toml:24: limits.datastores: no [[datastore]]",
        ),
        ("Mon-Fri 22", "22", "plan.toml:26: weekly: the window \"22:00-05:00 Europe/Berlin\" names no days"),
        ("Berlin", "Bärlin", "plan.toml:26: weekly: the time zone \"Europe/Bärlin\" is not known"),
        ("weeks = 8", "weeks = 0", "plan.toml:27: weeks: 0 is not from 1"),
        ("\"db-1\"", "\"web-1\"", "name: \"web-1\" stands here a second time, after line"),
        ("trimtab.plan/1", "trimtab.plan/2", "plan.toml:5: schema: \"trimtab.plan/2\" is not"),
        ("name = \"nightly\"", "name = \"\"", "plan.toml:6: name: is empty"),
        ("surveyed = \"2026", "surveyed = \"yesterday", "plan.toml:8: surveyed: "),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from} is not in it");
        let trouble = read_text(&text).expect_err(to);
        assert!(trouble.kind == Kind::Config && trouble.text.contains(expected), "{trouble}\n{text}");
    }
    let elsewhere = good.replacen("inode = 7, datastore = \"ext4", "inode = 7, datastore = \"xfs", 1);
    let expected = format!("plan.toml:{}: datastore: no [[datastore]] of this plan", disks + 2);
    assert!(read_text(&elsewhere).unwrap_err().text.contains(&expected), "{expected}");
    let nobody = good.split("\n[[vm]]").next().unwrap();
    assert!(read_text(nobody).unwrap_err().text.contains("names no VM"));
    assert!(read_text("a = 1").unwrap_err().text.contains("is no plan"));
}
