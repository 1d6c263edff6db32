//! What a trim is for: a deleted file in the guest makes its image smaller. Each filesystem on each format, and each
//! front end.

use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};
use trimtab_tests::guest::{Discard, DiskSpec, Format, FrontEnd, Guest, GuestSpec};
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::{GIB, MIB};

use crate::accused::a_drive_whose_command_line_says_ignore_is_not_trimmed;
use crate::common::checked;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk, close, freed, number, ruling};

const DELETED: u64 = DELETED_MIB * MIB;

/// Everything but SATA, which has no hot-plug here.
fn added() -> [(Kind, DiskSpec); 8] {
    let scsi = |name: &str| DiskSpec::new(name, GIB);
    [
        (Kind::Ext4, scsi("ext4raw")),
        (Kind::Xfs, scsi("xfsraw")),
        (Kind::Btrfs, scsi("btrfsraw")),
        (Kind::Ext4, scsi("ext4qcow2").qcow2()),
        (Kind::Xfs, scsi("xfsqcow2").qcow2()),
        (Kind::Btrfs, scsi("btrfsqcow2").qcow2()),
        (Kind::Ext4, scsi("virtioblk").on(FrontEnd::VirtioBlk)),
        (Kind::Ext4, scsi("nvme").on(FrontEnd::Nvme)),
    ]
}

#[test]
fn what_is_deleted_in_the_guest_leaves_the_image_and_all_else_stays() -> Result<()> {
    let sata = DiskSpec::new("sata", GIB).on(FrontEnd::Sata);
    let ignored = DiskSpec::new("ignored", GIB).discard(Discard::Ignore);
    let guest = Guest::boot(GuestSpec::new("matrix").disk(sata).disk(ignored))?;
    let mut walks = vec![Walk::on(&guest, Kind::Ext4, guest.disk("sata")?)?];
    for (kind, spec) in added() {
        walks.push(Walk::add(&guest, kind, spec)?);
    }
    let mut checksums = Vec::new();
    for walk in &walks {
        walk.keep_files()?;
        walk.write_and_delete(DELETED_MIB)?;
        checksums.push(walk.checksums()?);
    }
    guest.start_agent("")?;
    let trimtab = Trimtab::of(&guest)?;

    for walk in &walks {
        one_disk(walk, &trimtab).with_context(|| walk.disk.name.clone())?;
    }
    a_second_trim_finds_nothing_to_free(&walks, &trimtab)?;
    for (walk, before) in walks.iter().zip(&checksums) {
        ensure!(walk.checksums()? == *before, "{}: a file is not what it was", walk.disk.name);
        walk.unmount_and_check().with_context(|| walk.disk.name.clone())?;
    }
    // Of the same boot, since only a disk that is there at boot stands on QEMU's command line.
    let ignored = Walk::on(&guest, Kind::Ext4, guest.disk("ignored")?)?;
    a_drive_whose_command_line_says_ignore_is_not_trimmed(&ignored).context("ignored")
}

/// Trims one disk by its name, and holds the ledger against what `du` and the guest's counters say themselves.
fn one_disk(walk: &Walk<'_>, trimtab: &Trimtab) -> Result<()> {
    let (guest, disk) = (walk.guest, &walk.disk);
    let before = disk.allocated_bytes()?;
    let arrived_before = guest.arrived(disk)?.0;
    let sent_before = guest.discarded_bytes(disk)?;

    let ended = trimtab.trim(&["matrix", "--disk", disk.device.trim_start_matches("/dev/")])?;

    let document = checked(&ended)?;
    let said = document.disk(disk)?;
    ensure!(ended.exit == 0, "exit {}: {said:#}", ended.exit);
    ensure!(document.disks()?.len() == 1, "other disks took part");
    ensure!(ruling(said) == "reclaimed by rule 5", "{said:#}");
    ensure!(said["paired_by"] == "serial", "{said:#}");
    ensure!(said["impossible"].as_array().is_some_and(Vec::is_empty), "{said:#}");

    let freed = freed(said)?;
    let fell = before.saturating_sub(std::fs::metadata(&disk.image)?.blocks() * 512);
    ensure!(freed >= DELETED / 100 * 95, "freed {freed} of {DELETED}: {said:#}");
    close("freed against du", freed, fell)?;

    let (claimed, sent) = (number(said, "claimed_bytes")?, number(said, "sent_bytes")?);
    let arrived = number(said, "arrived_bytes")?;
    ensure!(sent == guest.discarded_bytes(disk)? - sent_before, "sent is not the guest's counter: {said:#}");
    ensure!(arrived == guest.arrived(disk)?.0 - arrived_before, "arrived is not QEMU's counter: {said:#}");
    // This kernel's XFS returns what it submitted, as the others do (6.11 and later echo the range).
    ensure!(document.filesystem(&walk.mount)?["claim"] == "submitted", "{document}");
    ensure!(claimed == sent, "claimed {claimed}, sent {sent}");
    match disk.format {
        Format::Raw => ensure!(sent == arrived, "sent {sent}, arrived {arrived}"),
        Format::Qcow2 => close("arrived against freed", arrived, freed)?,
    }
    Ok(())
}

/// All disks in one call this time, side by side.
fn a_second_trim_finds_nothing_to_free(walks: &[Walk<'_>], trimtab: &Trimtab) -> Result<()> {
    let mut words = vec!["matrix"];
    for walk in walks {
        words.extend(["--disk", walk.disk.device.trim_start_matches("/dev/")]);
    }
    let ended = trimtab.trim(&words)?;
    let document = checked(&ended)?;
    for walk in walks {
        let said = document.disk(&walk.disk)?;
        ensure!(said["verdict"] == "already_compact", "{}: {said:#}", walk.disk.name);
        let filesystem = document.filesystem(&walk.mount)?;
        ensure!(filesystem["state"] == "done", "{filesystem:#}");
        if walk.kind == Kind::Ext4 {
            ensure!(said["sent_bytes"] == 0, "ext4 remembers what it trimmed: {said:#}");
        }
    }
    ensure!(ended.exit == 0, "exit {}: {document}", ended.exit);
    Ok(())
}
