//! `trimtab-agent trim`, without any host.

use std::{
    io::Read,
    process::Stdio,
    time::{Duration, Instant},
};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::rig::{Disk, GIB, LONG, Long, MIB, Mounted, Scratch, agent, json, trim, until, workers_of};

/// The one filesystem that had its turn.
fn only(document: &Value) -> Value {
    let all = document["filesystems"].as_array().unwrap();
    let turned: Vec<&Value> = all.iter().filter(|fs| fs["skipped"].is_null()).collect();
    assert_eq!(turned.len(), 1, "{document}");
    turned[0].clone()
}

#[test]
fn what_was_deleted_comes_back() {
    for fs_type in ["ext4", "xfs", "btrfs"] {
        let scratch = Scratch::new();
        let disk = Disk::new(&scratch, fs_type, GIB);
        let mounted = Mounted::new(&scratch, fs_type, &disk.device);
        let deleted = 120 * MIB;
        let checksum = mounted.write_and_delete(20 * MIB, deleted);
        let before = disk.allocated();

        let out = trim(&scratch, &["--json", &mounted.path.to_string_lossy()]);
        assert_eq!(out.status.code(), Some(0), "{fs_type}: {}", String::from_utf8_lossy(&out.stderr));
        let freed = before - disk.allocated();
        assert!(freed >= deleted / 100 * 95, "{fs_type}: freed {freed} of {deleted}");
        assert_eq!(mounted.checksum(), checksum, "{fs_type}");

        let document = json(&out);
        assert_eq!(document["schema"], "trimtab-agent.trim/1");
        assert_eq!((&document["stop"], &document["settled"]), (&"done".into(), &true.into()), "{fs_type}");
        let fs = only(&document);
        assert_eq!((&fs["state"], &fs["passes"]), (&"done".into(), &1.into()), "{fs_type}");
        let sent = &document["disks"][0];
        assert_eq!(sent["id"], disk.id(), "{fs_type}");
        match fs_type {
            // Every kernel that these tests run on has it.
            "xfs" => {
                assert_eq!(fs["claim"], "range_echo");
                assert!(sent["sent_bytes"].as_u64().unwrap() >= deleted);
            }
            _ => {
                assert_eq!(fs["claim"], "submitted");
                assert_eq!(
                    fs["claimed_bytes"], sent["sent_bytes"],
                    "{fs_type}: claimed is what the disk saw"
                );
            }
        }
    }
}

#[test]
fn each_pace_frees_the_same() {
    for (fs_type, pace) in [("ext4", "gentle"), ("ext4", "steady"), ("xfs", "gentle"), ("btrfs", "gentle")] {
        let scratch = Scratch::new();
        let disk = Disk::new(&scratch, fs_type, 3 * GIB);
        let mounted = Mounted::new(&scratch, fs_type, &disk.device);
        mounted.write_and_delete(MIB, 100 * MIB);
        let before = disk.allocated();
        let out = trim(&scratch, &["--json", "--pace", pace, &mounted.path.to_string_lossy()]);
        let freed = before - disk.allocated();
        assert!(freed >= 95 * MIB, "{fs_type} {pace}: freed {freed}");
        assert_eq!(only(&json(&out))["passed_bytes"], 3 * GIB, "{fs_type} {pace}");
    }
}

#[test]
fn again_makes_ext4_look_again() {
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, "again", 2 * GIB);
    let mounted = Mounted::new(&scratch, "ext4", &disk.device);
    let mount = mounted.path.to_string_lossy().into_owned();
    let claimed = |args: &[&str]| {
        let before = disk.discarded();
        let out = trim(&scratch, &[&["--json", &mount], args].concat());
        let claimed = only(&json(&out))["claimed_bytes"].as_u64().unwrap();
        assert_eq!(disk.discarded() - before, claimed, "the disk has seen it");
        claimed
    };
    let first = claimed(&[]);
    assert!(first > GIB, "{first}");
    assert_eq!(claimed(&[]), 0, "ext4 remembers");
    assert_eq!(claimed(&["--again"]), first);
    // In steps too, since every call makes it remember again.
    assert_eq!(claimed(&["--again", "--pace", "gentle"]), first);
}

/// When each filesystem ran, in lines of --events.
fn spans(scratch: &Scratch, mounts: &[&Mounted]) -> Vec<(usize, usize)> {
    let mut args = vec!["--events".to_owned(), "--pace".to_owned(), "gentle".to_owned()];
    args.extend(mounts.iter().map(|m| m.path.to_string_lossy().into_owned()));
    let out = trim(scratch, &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.last().unwrap()["schema"], "trimtab-agent.trim/1", "the document ends them");
    let at = |mount: &Mounted, state: &str| {
        let is = |e: &Value| {
            e["event"] == "filesystem" && e["mount"] == *mount.path.to_string_lossy() && e["state"] == state
        };
        events.iter().position(is).unwrap_or_else(|| panic!("{state}: {text}"))
    };
    mounts.iter().map(|mount| (at(mount, "running"), at(mount, "done"))).collect()
}

#[test]
fn one_at_a_time_on_a_disk_and_disks_side_by_side() {
    let scratch = Scratch::new();
    let shared = Disk::new(&scratch, "shared", 5 * GIB);
    let parts = shared.in_two(2048);
    let one = Mounted::new(&scratch, "ext4", &parts[0]);
    let two = Mounted::new(&scratch, "xfs", &parts[1]);
    let other = Disk::new(&scratch, "other", 4 * GIB);
    let beside = Mounted::new(&scratch, "ext4", &other.device);

    let spans = spans(&scratch, &[&one, &two, &beside]);
    let apart = |a: (usize, usize), b: (usize, usize)| a.1 < b.0 || b.1 < a.0;
    assert!(apart(spans[0], spans[1]), "one disk: {spans:?}");
    assert!(!apart(spans[0], spans[2]), "two disks: {spans:?}");
}

#[test]
fn the_inner_before_the_outer() {
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, "outer", 4 * GIB);
    let outer = Mounted::new(&scratch, "ext4", &disk.device);
    let image = Disk::over(outer.path.join("inner.img"), GIB);
    let inner = Mounted::new(&scratch, "ext4", &image.device);
    inner.write_and_delete(MIB, 100 * MIB);
    let before = disk.allocated();
    let spans = spans(&scratch, &[&outer, &inner]);
    assert!(spans[1].1 < spans[0].0, "{spans:?}");
    let freed = before - disk.allocated();
    assert!(freed >= 95 * MIB, "what the inner gave back went on to the disk: {freed}");
}

#[test]
fn interrupted_it_still_reports() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let mount = long.mount();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut child = agent(&scratch)
            .args(["trim", "--json", "--again", "--pace", "gentle", &mount])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        until("a worker is at it", Duration::from_secs(10), || !workers_of(child.id()).is_empty());
        std::thread::sleep(Duration::from_millis(700));

        // Meanwhile nobody else trims this guest.
        let second = trim(&scratch, &["--json", &mount]);
        assert_eq!(second.status.code(), Some(75));
        let error = &json(&second)["error"];
        assert_eq!(error["kind"], "busy");
        assert!(error["since_unix_secs"].is_u64(), "{error}");

        let told = Instant::now();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let status = child.wait().unwrap();
        assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
        assert_eq!(status.code(), Some(130), "{signal}");
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["stop"], "cancelled");
        let fs = only(&document);
        assert_eq!(fs["state"], "partial");
        let passed = fs["passed_bytes"].as_u64().unwrap();
        assert!(passed > 0 && passed < LONG, "{passed}");
        assert!(fs["claimed_bytes"].as_u64().unwrap() > 0);
    }
}

#[test]
fn a_deadline_ends_it() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let mount = long.mount();
    let out = trim(&scratch, &["--json", "--pace", "gentle", "--deadline", "1s", &mount]);
    assert_eq!(out.status.code(), Some(32), "all of them stopped before their end");
    assert_eq!(json(&out)["stop"], "deadline");
}

#[test]
fn what_cannot_be_trimmed_says_why() {
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, "dry", GIB);
    let mounted = Mounted::new(&scratch, "ext4", &disk.device);
    let inside = mounted.path.join("lost+found").to_string_lossy().into_owned();
    let file = scratch.path("agent.toml").to_string_lossy().into_owned();
    for (mount, says) in [
        (inside.as_str(), "is not a mount point; its filesystem is mounted on"),
        (file.as_str(), "cannot look at"),
        ("/proc", "/proc is not trimmed"),
    ] {
        let out = trim(&scratch, &[mount]);
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{mount}: {text}");
        assert!(text.contains(says), "{mount}: {text}");
    }
}

#[test]
fn a_smallest_extent_without_sense_is_bounded() {
    for fs_type in ["ext4", "xfs", "btrfs"] {
        let scratch = Scratch::new();
        let disk = Disk::new(&scratch, fs_type, GIB);
        let mounted = Mounted::new(&scratch, fs_type, &disk.device);
        let out = trim(&scratch, &["--json", "--min-extent", "1024T", &mounted.path.to_string_lossy()]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(0), "{fs_type}: {said}");
        assert_eq!(
            said.matches("no free extent can have").count(),
            usize::from(fs_type != "btrfs"),
            "{said}"
        );
    }
    for (argument, says) in
        [("--min-extent=1.5M", "is not a size"), ("--pace=slow", "gentle, steady or full")]
    {
        let scratch = Scratch::new();
        let out = trim(&scratch, &[argument]);
        assert_eq!(out.status.code(), Some(2), "{argument}");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_dry_run_trims_nothing() {
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, "dry", GIB);
    let mounted = Mounted::new(&scratch, "ext4", &disk.device);
    mounted.write_and_delete(MIB, 50 * MIB);
    let before = disk.allocated();
    let out = trim(&scratch, &["--json", "--dry-run", &mounted.path.to_string_lossy()]);
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(disk.allocated(), before);
    let fs = only(&json(&out));
    let free = fs["free_bytes"].as_u64().unwrap();
    assert!(fs["discardable_bytes"].as_u64().unwrap() <= free && free > 500 * MIB, "{fs}");
}

/// One letter of /proc/PID/stat: T is stopped.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.starts_with('T')
}

#[test]
fn put_away_and_brought_back() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let before = long.disk.discarded();
    let child = agent(&scratch)
        .args(["trim", "--json", "--pace", "gentle", &long.mount()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    until("it discards", Duration::from_secs(20), || long.disk.discarded() > before);
    kill(pid, Signal::SIGTSTP).unwrap();
    until("it is stopped", Duration::from_secs(5), || is_stopped(child.id()));
    let stands = long.disk.discarded();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(long.disk.discarded(), stands, "nothing is discarded meanwhile");

    kill(pid, Signal::SIGCONT).unwrap();
    until("it goes on", Duration::from_secs(5), || long.disk.discarded() > stands);
    kill(pid, Signal::SIGINT).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(130));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("paused; `fg` goes on with it"), "{said}");
}

#[test]
fn nothing_is_discarded_after_a_cancel_and_a_later_run_does_the_rest() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let mount = long.mount();
    let before = long.disk.discarded();
    let child = agent(&scratch)
        .args(["trim", "--json", "--pace", "gentle", &mount])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until("it discards", Duration::from_secs(20), || long.disk.discarded() > before);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let at_once = long.disk.discarded();
    let out = child.wait_with_output().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(long.disk.discarded(), at_once, "no new discard 100 ms after the signal");

    let first = only(&json(&out))["claimed_bytes"].as_u64().unwrap();
    let rest = trim(&scratch, &["--json", "--pace", "full", &mount]);
    let rest = only(&json(&rest))["claimed_bytes"].as_u64().unwrap();
    // ext4 remembers what was done, and by the counters all of it was done once. What was under way at the cancel is
    // done twice.
    let sent = long.disk.discarded() - before;
    assert!(first > 0 && rest > 0, "{first} {rest}");
    assert!(first + rest <= sent && sent <= first + rest + GIB, "{first} + {rest}, {sent}");
    assert!(first + rest > LONG / 10 * 9, "{first} + {rest} of {LONG}");
}
