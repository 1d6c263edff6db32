//! A newer package in the middle of a trim, then no package in the middle of a trim, then none at all.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trimtab_tests::GIB;
use trimtab_tests::guest::{DiskSpec, Guest};
use trimtab_tests::trimtab::{Running, Trimtab};
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk, ruling};

use crate::common::checked;
use crate::debian::{self, DEB, journal, processes, show, wait_for};
use crate::packages;

const SERVICE: &str = "trimtab-agent.service";
const NEWER: &str = "/root/newer.deb";

/// A trim of a disk that QEMU slows down, in its middle.
fn in_the_middle(guest: &Guest, walk: &Walk<'_>) -> Result<Running> {
    // ext4 forgets what was trimmed before.
    guest.sh(&format!("umount {0} && mount {1} {0}", walk.mount, walk.device))?;
    walk.write_and_delete(DELETED_MIB)?;
    // 64 block groups, each a discard: a minute, in which dpkg is long done.
    guest.limit_writes(&walk.disk, 1)?;
    let mut running =
        Trimtab::of(guest)?.start_trim(&[guest.name(), "--disk", "slow", "--pace", "gentle"])?;
    running.wait_for_the_middle()?;
    ensure!(processes(guest)? == 2, "the agent and a worker");
    Ok(running)
}

/// What dpkg says, and asks nobody.
fn dpkg(guest: &Guest, what: &str) -> Result<String> {
    guest.sh(&format!("dpkg --force-confdef --force-confold {what} 2>&1"))
}

#[test]
fn an_upgrade_lets_a_trim_finish_and_a_removal_ends_it() -> Result<()> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let newer = packages::newer_agent_deb(directory.path())?;
    let guest = Guest::boot(debian::spec("upgrades")?.file(&newer, NEWER))?;
    let walk = Walk::add(&guest, Kind::Ext4, DiskSpec::new("slow", 8 * GIB).throttled())?;
    guest.sh(
        "printf '\\n# mine\\nidle_exit_secs = 2\\n' >/tmp/mine; cat /etc/trimtab/agent.toml >>/tmp/mine
              cp /tmp/mine /etc/trimtab/agent.toml",
    )?;

    let running = in_the_middle(&guest, &walk)?;
    let pid = show(&guest, SERVICE, "MainPID")?;
    let said = dpkg(&guest, &format!("-i {NEWER}"))?;

    ensure!(said.contains("goes on as it is"), "{said}");
    ensure!(
        show(&guest, SERVICE, "MainPID")? == pid && processes(&guest)? == 2,
        "the trim was disturbed: {said}{}",
        journal(&guest, SERVICE)?
    );
    guest.limit_writes(&walk.disk, 0)?;
    let ended = running.end()?;
    let document = checked(&ended)?;
    ensure!(ended.exit == 0 && document.only_vm()?["stop"] == "done", "exit {}: {document}", ended.exit);
    ensure!(ruling(document.disk(&walk.disk)?) == "reclaimed by rule 5", "{document}");
    ensure!(guest.sh(&format!("readlink /proc/{pid}/exe"))?.contains("(deleted)"), "it is the old program");
    conffile_is_kept(&guest)?;

    // Idle, it goes; the next call starts the new one.
    wait_for(&guest, SERVICE, "inactive", Duration::from_secs(30))?;
    let running = in_the_middle(&guest, &walk)?;
    let pid = show(&guest, SERVICE, "MainPID")?;
    ensure!(guest.sh(&format!("readlink /proc/{pid}/exe"))?.trim() == "/usr/bin/trimtab-agent");

    let said = dpkg(&guest, "-r trimtab-agent")?;

    ensure!(processes(&guest)? == 0, "something still runs: {said}");
    nothing_listens(&guest)?;
    guest.limit_writes(&walk.disk, 0)?;
    let ended = running.end()?;
    let document = checked(&ended)?;
    // What came back came back, and the rest is said to be left.
    ensure!(document.only_vm()?["stop"] == "shutdown", "exit {}: {document}", ended.exit);
    let because = document.disk(&walk.disk)?["because"].to_string();
    ensure!(because.contains("stopped before its end"), "{document}");
    ensure!(document.disk(&walk.disk)?["freed_bytes"].is_i64(), "the host's figures are missing: {document}");
    let journal = journal(&guest, SERVICE)?;
    ensure!(!journal.contains("panicked") && !journal.contains("SIGKILL"), "{journal}");

    ensure!(guest.sh("cat /etc/trimtab/agent.toml")?.contains("# mine"), "a removal keeps the configuration");
    dpkg(&guest, "-P trimtab-agent")?;
    let left = guest.sh("ls -d /etc/trimtab /run/trimtab-agent /etc/systemd/system/*trimtab* \
                         /etc/systemd/system/*/*trimtab* /var/lib/systemd/deb-systemd-helper-enabled/*trimtab* \
                         2>/dev/null || true")?;
    ensure!(left.is_empty(), "a purge leaves {left}");
    ensure!(guest.sh("systemctl --failed --no-legend")?.is_empty());
    walk.unmount_and_check()?;
    comes_back(&guest)
}

/// The administrator's lines stay; the package's new file lies beside.
fn conffile_is_kept(guest: &Guest) -> Result<()> {
    let text = guest.sh("cat /etc/trimtab/agent.toml")?;
    ensure!(text.contains("# mine") && !text.contains("New in version 99"), "{text}");
    let beside = guest.sh("cat /etc/trimtab/agent.toml.dpkg-dist")?;
    ensure!(beside.contains("New in version 99"), "{beside}");
    // And it is what is read: that is no drop-in.
    ensure!(guest.sh("trimtab-agent config")?.contains("idle_exit_secs"));
    Ok(())
}

fn nothing_listens(guest: &Guest) -> Result<()> {
    let units = guest.sh("systemctl list-units --all --no-legend 'trimtab*' || true")?;
    let running: Vec<&str> = units.lines().filter(|line| line.contains(" active ")).collect();
    ensure!(running.is_empty(), "{units}");
    let refused = trimtab_tests::guest::connect_vsock(
        &guest.vsock_socket(),
        trimtab_tests::guest::AGENT_PORT,
        Duration::ZERO,
    );
    ensure!(refused.is_err(), "port 874 still answers");
    Ok(())
}

/// After a purge an installation is a first one.
fn comes_back(guest: &Guest) -> Result<()> {
    dpkg(guest, &format!("-i {DEB}"))?;
    let ended = Trimtab::of(guest)?.run(&["survey", guest.name()])?;
    ensure!(ended.exit == 0, "{}{}", ended.stdout, ended.stderr);
    guest.sh("systemctl is-active trimtab-agent.socket").map(drop).context("the socket")
}
