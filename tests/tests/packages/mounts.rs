//! The units are hardened, and hide no filesystem: /home, /tmp and a mount that fstab does not know are trimmed by the
//! service that a call starts, and by the one that the timer starts.

use std::time::Duration;

use anyhow::{Result, ensure};
use trimtab_tests::MIB;
use trimtab_tests::guest::Guest;
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::ruling;

use crate::common::checked;
use crate::debian::{self, allocated, fill_and_delete, wait_for};

const MOUNTS: [&str; 3] = ["/home", "/tmp", "/mnt/unlisted"];
const DISKS: [&str; 3] = ["home", "tmp", "unlisted"];
const DELETED_MIB: u64 = 32;

/// Each of the three images must have lost what was deleted on it.
fn each_lost(guest: &Guest, full: &[u64], by: &str) -> Result<()> {
    for ((disk, full), now) in DISKS.iter().zip(full).zip(allocated(guest, &DISKS)?) {
        let lost = full.saturating_sub(now);
        ensure!(lost >= (DELETED_MIB - 2) * MIB, "{by}: the image of {disk} lost only {lost} bytes");
    }
    Ok(())
}

#[test]
fn the_hosts_trim_reaches_all_of_them() -> Result<()> {
    let guest = debian::lease()?;
    fill_and_delete(&guest, &MOUNTS, DELETED_MIB)?;
    let full = allocated(&guest, &DISKS)?;

    let ended = Trimtab::of(&guest)?.trim(&[guest.name()])?;

    let document = checked(&ended)?;
    ensure!(ended.exit == 0, "exit {}: {document}", ended.exit);
    for disk in DISKS {
        ensure!(ruling(document.disk(&guest.disk(disk)?)?) == "reclaimed by rule 5", "{disk}: {document}");
    }
    ensure!(document.filesystem("/")?["skipped"].is_null(), "{document}");
    each_lost(&guest, &full, "trimtab trim")
}

#[test]
fn the_local_service_reaches_all_of_them() -> Result<()> {
    let guest = debian::lease()?;
    fill_and_delete(&guest, &MOUNTS, DELETED_MIB)?;
    let full = allocated(&guest, &DISKS)?;

    guest.sh("systemctl start trimtab-trim.service")?;

    each_lost(&guest, &full, "trimtab-trim.service")?;
    // What it did is in the journal, as fstrim.service has it.
    let journal = debian::journal(&guest, "trimtab-trim.service")?;
    for mount in MOUNTS {
        ensure!(journal.contains(mount), "{mount} is not in the journal: {journal}");
    }
    wait_for(&guest, "trimtab-trim.service", "inactive", Duration::ZERO)?;
    Ok(())
}

#[test]
fn a_filesystem_that_is_mounted_while_the_agent_runs_is_trimmed_and_can_be_unmounted() -> Result<()> {
    let guest = debian::lease()?;
    guest.sh("umount /mnt/unlisted")?;
    // The agent starts, and is resident when the filesystem comes.
    Trimtab::of(&guest)?.run(&["survey", guest.name()])?;
    guest.mount_unlisted()?;
    fill_and_delete(&guest, &["/mnt/unlisted"], DELETED_MIB)?;
    let full = allocated(&guest, &["unlisted"])?[0];

    let ended = Trimtab::of(&guest)?.trim(&[guest.name()])?;

    let document = checked(&ended)?;
    ensure!(document.filesystem("/mnt/unlisted")?["skipped"].is_null(), "{document}");
    let lost = full.saturating_sub(allocated(&guest, &["unlisted"])?[0]);
    ensure!(lost >= (DELETED_MIB - 2) * MIB, "it lost only {lost} bytes: {document}");
    // Were the agent in a mount namespace of its own, the device would stay busy there.
    guest.sh("umount /mnt/unlisted && e2fsck -fn LABEL=unlisted >&2")?;
    guest.mount_unlisted()
}
