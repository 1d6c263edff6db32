//! One filesystem is one superblock, however often and wherever it is mounted; and what is left out is left out for a
//! reason that is told.

use anyhow::{Context, Result, ensure};
use trimtab_tests::guest::{DiskSpec, Guest};
use trimtab_tests::trimtab::{Document, Trimtab};
use trimtab_tests::{GIB, MIB};

use crate::common::checked;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk, freed, number, ruling};

const DELETED: u64 = DELETED_MIB * MIB;

fn trim(guest: &Guest, words: &[&str]) -> Result<Document> {
    let ended = Trimtab::of(guest)?.trim(&[&[guest.name()], words].concat())?;
    let document = checked(&ended)?;
    ensure!(ended.exit == 0, "exit {}: {document}", ended.exit);
    Ok(document)
}

/// How many filesystems of a type the document has.
fn count(document: &Document, fs_type: &str) -> Result<usize> {
    let filesystems = document.only_vm()?["filesystems"].as_array().context("no filesystems")?;
    Ok(filesystems.iter().filter(|fs| fs["type"] == fs_type).count())
}

#[test]
fn a_bind_mount_and_a_subvolume_are_counted_once() -> Result<()> {
    let guest = Guest::lease()?;
    let bound = Walk::add(&guest, Kind::Ext4, DiskSpec::new("bound", GIB))?;
    let volumes = Walk::add(&guest, Kind::Btrfs, DiskSpec::new("volumes", GIB))?;
    guest.sh(&format!(
        "mkdir {0}/sub /mnt/again /mnt/readonly /mnt/volume
         mount --bind {0}/sub /mnt/again
         mount --bind {0} /mnt/readonly && mount -o remount,bind,ro /mnt/readonly
         btrfs -q subvolume create {1}/volume
         mount -o subvol=volume {2} /mnt/volume",
        bound.mount, volumes.mount, volumes.disk.device
    ))?;
    bound.write_and_delete(DELETED_MIB)?;
    volumes.write_and_delete(DELETED_MIB)?;
    // What is left is a mount that may not be written to, of a superblock that may.
    guest.sh(&format!("umount /mnt/again && umount {}", bound.mount))?;
    guest.start_agent("")?;

    let document = trim(&guest, &[])?;

    for (walk, fs_type) in [(&bound, "ext4"), (&volumes, "btrfs")] {
        ensure!(count(&document, fs_type)? == 1, "{document}");
        let said = document.disk(&walk.disk)?;
        ensure!(ruling(said) == "reclaimed by rule 5", "{said:#}");
        ensure!(freed(said)? >= DELETED / 100 * 95, "{said:#}");
        ensure!(number(said, "claimed_bytes")? == number(said, "sent_bytes")?, "{said:#}");
        ensure!(number(said, "claimed_bytes")? < GIB, "counted twice: {said:#}");
    }
    ensure!(document.filesystem("/mnt/readonly")?["state"] == "done", "{document}");
    Ok(())
}

#[test]
fn disk_and_mount_narrow_a_trim() -> Result<()> {
    let guest = Guest::lease()?;
    let other = Walk::add(&guest, Kind::Ext4, DiskSpec::new("other", GIB))?;
    let halves = guest.add_disk(DiskSpec::new("halves", GIB))?;
    guest.sh(&format!(
        "printf ',512M\\n,\\n' | sfdisk -q {0}
         for half in 1 2; do
             {1} {0}$half >&2; mkdir /mnt/half$half; mount {0}$half /mnt/half$half
         done; sync",
        halves.device,
        Kind::Ext4.mkfs()
    ))?;
    for path in ["/mnt/half1/goes", "/mnt/half2/goes", "/mnt/other/goes"] {
        guest.write_noise(path, DELETED_MIB)?;
    }
    guest.sh("rm /mnt/*/goes; sync")?;
    guest.start_agent("")?;

    // One half of a disk: the other half keeps what was deleted in it.
    let document = trim(&guest, &["--mount", "/mnt/half1"])?;
    ensure!(document.disks()?.len() == 1, "{document}");
    let first = freed(document.disk(&halves)?)?;
    ensure!((DELETED / 100 * 95..DELETED / 100 * 120).contains(&first), "freed {first}: {document}");
    ensure!(document.filesystem("/mnt/half1")?["state"] == "done", "{document}");
    for left in ["/mnt/half2", "/mnt/other"] {
        ensure!(document.filesystem(left)?["skipped"]["reason"] == "not_asked", "{document}");
    }

    // By the image's name; the rest of that disk is found now, and the other one still waits.
    let document = trim(&guest, &["--disk", &halves.image.display().to_string()])?;
    ensure!(document.disks()?.len() == 1, "{document}");
    ensure!(freed(document.disk(&halves)?)? >= DELETED / 100 * 95, "{document}");
    ensure!(other.disk.allocated_bytes()? >= DELETED, "the other disk was trimmed too");
    Ok(())
}

#[test]
fn what_is_left_out_says_why() -> Result<()> {
    let guest = Guest::lease()?;
    let hidden = Walk::add(&guest, Kind::Ext4, DiskSpec::new("hidden", GIB))?;
    let readonly = Walk::add(&guest, Kind::Ext4, DiskSpec::new("readonly", GIB))?;
    let foreign = guest.add_disk(DiskSpec::new("foreign", GIB))?;
    guest.sh(&format!(
        "mount -t tmpfs over {}
         umount {1} && mount -o ro {2} {1}
         modprobe vfat; mkdosfs {3} >&2; mkdir /mnt/foreign; mount -t vfat {3} /mnt/foreign",
        hidden.mount, readonly.mount, readonly.disk.device, foreign.device
    ))?;
    guest.start_agent("")?;

    let document = trim(&guest, &[])?;

    for (fs_type, mount, reason) in [
        ("ext4", &hidden.mount, "over_mounted"),
        ("ext4", &readonly.mount, "read_only"),
        ("vfat", &"/mnt/foreign".to_owned(), "type"),
    ] {
        let filesystems = document.only_vm()?["filesystems"].as_array().context("no filesystems")?;
        let found = filesystems.iter().find(|fs| fs["type"] == fs_type && fs["mount"] == mount.as_str());
        let found = found.with_context(|| format!("no {fs_type} at {mount}: {document}"))?;
        ensure!(found["skipped"]["reason"] == reason, "{found:#}");
        ensure!(found["claimed_bytes"].is_null(), "{found:#}");
    }
    for disk in [&hidden.disk, &readonly.disk, &foreign] {
        ensure!(document.disk(disk)?["sent_bytes"] == 0, "{document}");
    }
    Ok(())
}

#[test]
fn a_filesystem_in_a_file_is_trimmed_before_the_one_below_it() -> Result<()> {
    let guest = Guest::lease()?;
    let outer = Walk::add(&guest, Kind::Ext4, DiskSpec::new("outer", GIB))?;
    guest.sh(&format!(
        "truncate -s 512M {0}/file && {1} {0}/file >&2
         mkdir /mnt/inner && mount -o loop {0}/file /mnt/inner && sync",
        outer.mount,
        Kind::Ext4.mkfs()
    ))?;
    guest.write_noise("/mnt/inner/goes", DELETED_MIB)?;
    guest.sh("sync; rm /mnt/inner/goes; sync")?;
    guest.start_agent("")?;

    // In the other order the outer one would see nothing to free until the next trim.
    let document = trim(&guest, &[])?;

    ensure!(document.filesystem("/mnt/inner")?["state"] == "done", "{document}");
    let said = document.disk(&outer.disk)?;
    ensure!(ruling(said) == "reclaimed by rule 5", "{said:#}");
    ensure!(freed(said)? >= DELETED / 100 * 95, "{said:#}");
    guest.sh("umount /mnt/inner")?;
    Ok(())
}
