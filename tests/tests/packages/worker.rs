//! trimtab-worker.service under systemd: its user, in its sandbox, carries out what root has applied, and what it leaves
//! is for root and for its group.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_tests::guest::{DiskSpec, Guest};
use trimtab_tests::walk::{Kind, Walk};
use trimtab_tests::{GIB, MIB};

use crate::debian::{journal, show, wait_for};
use crate::host::{self, IMAGE, MOUNT, STORE, WORKER, as_user, owners};

const DELETED_MIB: u64 = 64;

/// Where the packaged trimtab.toml's example has the metrics.
const METRICS: &str = "/run/trimtab-worker/trimtab.prom";

/// A VM whose agent is this machine's.
fn vm(name: &str, image: &str, guest_disk: &str) -> String {
    format!(
        "[[vm]]\nname = \"{name}\"\nagent = \"vsock:1\"\n\
         [[vm.disk]]\nimage = \"{image}\"\nformat = \"raw\"\nguest = \"{guest_disk}\"\n"
    )
}

fn write(guest: &Guest, file: &str, text: &str) -> Result<()> {
    guest.sh(&format!("cat >{file} <<'TEXT'\n{text}TEXT")).map(drop)
}

/// Plans and applies as root, and returns the campaign's number.
fn apply(guest: &Guest, name: &str, options: &str) -> Result<i64> {
    let plan = format!("/root/{name}-plan.toml");
    guest.sh(&format!("trimtab campaign plan --name {name} {options} -o {plan}"))?;
    let applied: Value = serde_json::from_str(&guest.sh(&format!("trimtab campaign apply --json {plan}"))?)?;
    applied["campaign"].as_i64().with_context(|| format!("{applied:#}; the plan was {plan}"))
}

/// Waits until a campaign is over, and returns its summary.
fn done(guest: &Guest, campaign: i64, limit: Duration) -> Result<Value> {
    let began = Instant::now();
    loop {
        let said = guest.sh(&format!("trimtab campaign status --json {campaign} || true"))?;
        let status: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        if status["campaign"]["state"] == "done" {
            return Ok(status["campaign"].clone());
        }
        if began.elapsed() > limit {
            anyhow::bail!("after {limit:?}: {status:#}\n{}", journal(guest, WORKER)?);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Gives the image something to lose; returns what it occupies then.
fn fill_and_delete(guest: &Guest) -> Result<u64> {
    guest.write_noise(&format!("{MOUNT}/goes"), DELETED_MIB)?;
    let full = allocated(guest)?;
    guest.sh(&format!("rm {MOUNT}/goes; sync"))?;
    Ok(full)
}

fn allocated(guest: &Guest) -> Result<u64> {
    let blocks: u64 = guest.sh(&format!("stat -c %b {IMAGE}"))?.trim().parse()?;
    Ok(blocks * 512)
}

fn lost(guest: &Guest, full: u64, by: &str) -> Result<()> {
    let lost = full.saturating_sub(allocated(guest)?);
    ensure!(
        lost >= (DELETED_MIB - 4) * MIB,
        "{by}: the image lost only {lost} bytes\n{}",
        journal(guest, WORKER)?
    );
    Ok(())
}

#[test]
fn its_user_carries_out_what_root_has_applied() -> Result<()> {
    let guest = host::lease()?;
    let disk = guest.sh(&format!("findmnt -n -o SOURCE {MOUNT}"))?;
    write(&guest, "/etc/trimtab/fleet.toml", &vm("one", IMAGE, disk.trim().trim_start_matches("/dev/")))?;
    // As the example in it says; and gates that only a worker passes that reads what it must: they run as it does.
    guest.sh("sed -i 's/^#metrics/metrics/' /etc/trimtab/trimtab.toml")?;
    let gates = format!(
        "[[gate]]\nname = \"image\"\ncommand = [\"/usr/bin/head\", \"-c\", \"1\", \"{IMAGE}\"]\n\
         [[gate]]\nname = \"libvirt\"\ncommand = [\"/usr/bin/trimtab\", \"list\", \"--connect\", \"qemu:///system\"]\n"
    );
    guest.sh(&format!("cat >>/etc/trimtab/trimtab.toml <<'TEXT'\n{gates}TEXT"))?;
    let full = fill_and_delete(&guest)?;

    // Root's, before the worker has ever run.
    let first = apply(&guest, "first", "--gate image --gate libvirt")?;
    ensure!(owners(&guest)?.contains("trimtab.db root:root"), "{}", owners(&guest)?);
    guest.sh(&format!("systemctl start {WORKER}"))?;

    ensure!(show(&guest, WORKER, "ActiveState")? == "active");
    let pid = show(&guest, WORKER, "MainPID")?;
    let user = guest.sh(&format!("stat -c %U:%G /proc/{pid}"))?;
    ensure!(user.trim() == "trimtab:trimtab", "{user}");
    let summary = done(&guest, first, Duration::from_secs(120))?;
    ensure!(summary["done"]["reclaimed"] == 1, "{summary:#}\n{}", journal(&guest, WORKER)?);
    lost(&guest, full, "the first campaign")?;
    // Nothing was refused to it on the way, the line of each trim in the journal included.
    let said = guest.sh("journalctl -b -q -o cat -t trimtab")?;
    ensure!(said.contains("trim of one by trimtab: ") && said.contains("reclaimed"), "{said}");
    rights(&guest, "first")?;
    metrics(&guest)?;

    // Root's again, while it runs.
    let full = fill_and_delete(&guest)?;
    let second = apply(&guest, "second", "")?;
    let summary = done(&guest, second, Duration::from_secs(120))?;
    ensure!(summary["done"]["reclaimed"] == 1, "{summary:#}");
    lost(&guest, full, "the second campaign")?;
    rights(&guest, "first")?;

    guest.sh(&format!("systemctl stop {WORKER}"))?;
    ensure!(show(&guest, WORKER, "Result")? == "success" && show(&guest, WORKER, "ExecMainStatus")? == "0");
    ensure!(guest.sh(&format!("cat {METRICS}"))?.contains("trimtab_runs_ended_total{class=\"reclaimed\"} 2"));
    rights(&guest, "first")?;

    // Root is the worker once, with files that are not there any more, and leaves all to whom the folder belongs.
    let full = fill_and_delete(&guest)?;
    guest.sh("rm /var/lib/trimtab/*
         trimtab campaign plan --name own -o /root/own-plan.toml
         trimtab campaign apply --follow /root/own-plan.toml")?;
    lost(&guest, full, "root's own campaign")?;
    rights(&guest, "own")?;
    guest.sh(&format!("systemctl start {WORKER}"))?;
    ensure!(show(&guest, WORKER, "ActiveState")? == "active", "{}", journal(&guest, WORKER)?);
    Ok(())
}

/// All is the worker's, its group may read, nobody else may; and who may not is told what to do.
fn rights(guest: &Guest, campaign: &str) -> Result<()> {
    let owners = owners(guest)?;
    ensure!(owners.lines().any(|line| line == ". trimtab:trimtab 750"), "{owners}");
    ensure!(owners.lines().all(|line| line.contains(" trimtab:trimtab ")), "{owners}");
    ensure!(owners.contains("\ntrimtab.db "), "{owners}");
    for look in ["list", "report 1", "status 1"] {
        let said = as_user(guest, "nobody", "trimtab", &format!("trimtab campaign {look}"))?;
        ensure!(said.contains(campaign) && !said.contains("exit"), "{look}: {said}\n{owners}");
    }
    let refused = as_user(guest, "nobody", "nogroup", "trimtab campaign list")?;
    for word in [STORE, "ermission denied", "group", "exit 1"] {
        ensure!(refused.contains(word), "no {word} in {refused}");
    }
    let refused = as_user(guest, "nobody", "trimtab", "timeout 20 trimtab worker")?;
    ensure!(refused.contains("ermission denied") && refused.contains("run it as root"), "{refused}");
    Ok(())
}

/// Others read them: node_exporter has a user of its own.
fn metrics(guest: &Guest) -> Result<()> {
    let reclaimed = "trimtab_runs_ended_total{class=\"reclaimed\"} 1";
    let shown = format!(
        "timeout 60 sh -c 'until setpriv --reuid nobody --regid nogroup --clear-groups cat {METRICS} | \
             grep -qF \"$0\"; do sleep 1; done' '{reclaimed}'"
    );
    guest.sh(&shown).map(drop).with_context(|| format!("{METRICS} does not say {reclaimed}"))
}

#[test]
fn what_keeps_it_from_starting_is_said_and_not_tried_again() -> Result<()> {
    let guest = host::lease()?;
    guest.sh("sed -i 's/^#parallel.*/parallel = \"many\"/' /etc/trimtab/trimtab.toml")?;
    let line = guest.sh("grep -n '^parallel' /etc/trimtab/trimtab.toml | cut -d: -f1")?;
    ends_with(&guest, "2", &[&format!("/etc/trimtab/trimtab.toml:{}: parallel", line.trim())])?;

    guest.sh(
        "cp /root/trimtab.toml /etc/trimtab/trimtab.toml; systemctl reset-failed
         install -o trimtab -g trimtab /dev/null /var/lib/trimtab/trimtab.db.worker
         flock -F /var/lib/trimtab/trimtab.db.worker sleep 600 </dev/null >/dev/null 2>&1 & echo $! >/run/held",
    )?;
    let said = ends_with(&guest, "75", &["a worker carries the campaigns of this host out already"]);
    guest.sh("kill $(cat /run/held); rm /run/held")?;
    said?;

    guest.sh(&format!("systemctl reset-failed; systemctl start {WORKER}"))?;
    ensure!(show(&guest, WORKER, "ActiveState")? == "active");
    Ok(())
}

/// The unit's start fails with this exit code, after these words, and systemd leaves it at that.
fn ends_with(guest: &Guest, code: &str, words: &[&str]) -> Result<()> {
    guest.sh(&format!("! systemctl start {WORKER} 2>/dev/null"))?;
    let said = journal(guest, WORKER)?;
    ensure!(show(guest, WORKER, "ActiveState")? == "failed", "{said}");
    ensure!(
        show(guest, WORKER, "ExecMainStatus")? == code && show(guest, WORKER, "NRestarts")? == "0",
        "{said}"
    );
    for word in words {
        ensure!(said.contains(word), "no {word} in {said}");
    }
    Ok(())
}

#[test]
fn killed_in_the_middle_it_comes_back_and_finishes() -> Result<()> {
    let guest = host::lease()?;
    let walk = Walk::add(&guest, Kind::Ext4, DiskSpec::new("slow", 4 * GIB).throttled())?;
    walk.write_and_delete(DELETED_MIB)?;
    // Its real image is not this machine's. This one is as large, and occupies more than the filesystem uses.
    let image = "/home/slow.raw";
    guest.write_noise(image, 320)?;
    guest.sh(&format!("truncate -s 4G {image}; chown libvirt-qemu {image}; chmod 600 {image}"))?;
    write(&guest, "/etc/trimtab/fleet.toml", &vm("slow", image, walk.device.trim_start_matches("/dev/")))?;
    guest.sh(&format!("systemctl start {WORKER}"))?;
    guest.limit_writes(&walk.disk, 1)?;
    let campaign = apply(&guest, "slow", "--pace gentle")?;
    let before = guest.discarded_bytes(&walk.disk)?;
    let began = Instant::now();
    while guest.discarded_bytes(&walk.disk)? == before {
        ensure!(began.elapsed() < Duration::from_secs(60), "it does not begin: {}", journal(&guest, WORKER)?);
        std::thread::sleep(Duration::from_millis(200));
    }

    guest.sh(&format!("systemctl kill -s KILL --kill-who=main {WORKER}"))?;

    wait_for(&guest, WORKER, "activating", Duration::from_secs(10))?;
    wait_for(&guest, WORKER, "active", Duration::from_secs(60))?;
    guest.limit_writes(&walk.disk, 0)?;
    let summary = done(&guest, campaign, Duration::from_secs(150))?;
    ensure!(show(&guest, WORKER, "NRestarts")? == "1");
    let said = journal(&guest, WORKER)?;
    ensure!(said.contains("1 run of a worker before this one waits again"), "{said}");
    ensure!(summary["running"] == 0 && summary["waiting"] == 0, "{summary:#}");
    ensure!(summary["done"]["failed"].as_u64().unwrap_or(0) == 0, "{summary:#}\n{said}");
    guest.sh(&format!("umount {}; rm {image}", walk.mount)).map(drop)
}
