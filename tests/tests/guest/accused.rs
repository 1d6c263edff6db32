//! Who is accused of losing a guest's discards, and who is not. The counters alone would accuse the innocent: a second
//! trim, swap, holes, a filesystem that is still being initialized.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_tests::guest::{Discard, DiskSpec, Format, FrontEnd, Guest};
use trimtab_tests::trimtab::{Document, Trimtab};
use trimtab_tests::{GIB, MIB};

use crate::common::checked;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk, freed, number, ruling};

const DELETED: u64 = DELETED_MIB * MIB;

/// Trims with more words and holds the exit code against what is expected.
fn trim(guest: &Guest, exit: i32, words: &[&str]) -> Result<Document> {
    let ended = Trimtab::of(guest)?.trim(&[&[guest.name()], words].concat())?;
    let document = checked(&ended)?;
    ensure!(ended.exit == exit, "exit {} instead of {exit}: {document}", ended.exit);
    Ok(document)
}

/// The state of a layer in a disk's findings.
fn layer<'a>(disk: &'a Value, name: &str) -> Result<&'a Value> {
    let findings = disk["findings"].as_array().context("no findings")?;
    findings.iter().find(|finding| finding["layer"] == name).with_context(|| format!("no {name} in {disk:#}"))
}

/// `disk` came by -drive with `discard=ignore`: a trim would free nothing and make ext4 forget what it could free.
pub(crate) fn a_drive_whose_command_line_says_ignore_is_not_trimmed(walk: &Walk<'_>) -> Result<()> {
    let guest = walk.guest;
    walk.write_and_delete(DELETED_MIB)?;
    let sent_before = guest.discarded_bytes(&walk.disk)?;
    let name = walk.disk.device.trim_start_matches("/dev/");

    let document = trim(guest, 32, &["--disk", name])?;

    let said = document.disk(&walk.disk)?;
    ensure!(ruling(said) == "cut_in_vmm by rule 2a", "{said:#}");
    ensure!(said["fix"].as_str().is_some_and(|fix| fix.contains("discard=unmap")), "{said:#}");
    ensure!(layer(said, "drive")?["state"] == "cut", "{said:#}");
    ensure!(document.only_vm()?["run_id"].is_null(), "a run was started: {document}");
    ensure!(guest.discarded_bytes(&walk.disk)? == sent_before, "the guest sent discards");
    // ext4 has forgotten nothing: its own trim still finds what was deleted.
    let claimed = guest.sh(&format!("fstrim -v {} | tr -dc '0-9 (' | cut -d'(' -f2", walk.mount))?;
    let claimed: u64 = claimed.trim().parse().with_context(|| format!("fstrim said {claimed:?}"))?;
    ensure!(claimed >= DELETED, "ext4 had only {claimed} bytes left to trim");
    Ok(())
}

#[test]
fn a_drive_that_drops_discards_is_found_by_counters_then_by_the_guests_silence() -> Result<()> {
    let guest = Guest::lease()?;
    // Added to a running QEMU, so that no command line says what it does.
    let walk = Walk::add(&guest, Kind::Ext4, DiskSpec::new("ignores", GIB).discard(Discard::Ignore))?;
    walk.keep_files()?;
    walk.write_and_delete(DELETED_MIB)?;
    guest.start_agent("")?;
    let before = walk.disk.allocated_bytes()?;

    for (words, verdict) in [
        (&[][..], "cut_in_vmm by rule 12"),
        // ext4 believes that it has trimmed all of that.
        (&[], "cut_in_guest by rule 10"),
        (&["--again"], "cut_in_vmm by rule 12"),
    ] {
        let document = trim(&guest, 32, words)?;
        let said = document.disk(&walk.disk)?;
        ensure!(ruling(said) == verdict, "{words:?}: {said:#}");
        ensure!(said["on_guests_word"] == true, "{said:#}");
        ensure!(said["arrived_bytes"] == 0 && said["freed_bytes"] == 0, "{words:?}: {said:#}");
        let sent = number(said, "sent_bytes")?;
        ensure!((sent >= DELETED) == verdict.ends_with("12"), "{words:?}: sent {sent}");
    }
    ensure!(walk.disk.allocated_bytes()? == before, "the image changed");
    Ok(())
}

#[test]
fn a_device_that_offers_no_discard_is_the_device() -> Result<()> {
    let guest = Guest::lease()?;
    // As virtio-blk is on machine types before 4.0.
    let spec = DiskSpec::new("old", GIB).on(FrontEnd::VirtioBlk).device_property("discard", false);
    let walk = Walk::add(&guest, Kind::Ext4, spec)?;
    walk.write_and_delete(DELETED_MIB)?;
    guest.start_agent("")?;

    for (words, verdict) in
        [(&[][..], "cut_in_vmm by rule 2a"), (&["--anyway", "device"], "cut_in_vmm by rule 7")]
    {
        let document = trim(&guest, 32, words)?;
        let said = document.disk(&walk.disk)?;
        ensure!(ruling(said) == verdict, "{words:?}: {said:#}");
        ensure!(layer(said, "device")?["state"] == "cut", "{said:#}");
        ensure!(document.filesystem(&walk.mount)?["skipped"]["reason"] == "no_discard", "{document}");
    }
    Ok(())
}

#[test]
fn an_internal_snapshot_holds_until_it_is_deleted() -> Result<()> {
    let guest = Guest::lease()?;
    let walk = Walk::add(&guest, Kind::Ext4, DiskSpec::new("snapshot", GIB).qcow2())?;
    walk.keep_files()?;
    guest.write_noise(&format!("{}/goes", walk.mount), DELETED_MIB)?;
    guest.sh(&format!("sync && umount {}", walk.mount))?;
    let image = walk.disk.image.clone();
    guest.remove_disk(&walk.disk)?;
    qemu_img(&["snapshot", "-c", "before-upgrade", &image.display().to_string()])?;
    let again = DiskSpec::new("snapshot", GIB).qcow2().image(&image);
    let walk = Walk::mounted(&guest, Kind::Ext4, guest.add_disk(again)?)?;
    guest.sh(&format!("rm {}/goes && sync", walk.mount))?;
    guest.start_agent("")?;

    let document = trim(&guest, 32, &[])?;

    let said = document.disk(&walk.disk)?;
    ensure!(ruling(said) == "held_on_host by rule 14", "{said:#}");
    let format = layer(said, "format")?;
    ensure!(format["state"] == "holds", "{said:#}");
    ensure!(format["fix"].as_str().is_some_and(|fix| fix.contains("if you no longer need it")), "{said:#}");
    ensure!(number(said, "sent_bytes")? >= DELETED, "{said:#}");
    // What the text says of a way out is true: without the snapshot the clusters go.
    walk.unmount_and_check()?;
    guest.remove_disk(&walk.disk)?;
    let before = walk.disk.allocated_bytes()?;
    qemu_img(&["snapshot", "-d", "before-upgrade", &image.display().to_string()])?;
    let freed = before.saturating_sub(walk.disk.allocated_bytes()?);
    ensure!(freed >= DELETED / 100 * 95, "deleting the snapshot gave {freed} bytes back");
    Ok(())
}

fn qemu_img(words: &[&str]) -> Result<()> {
    let done = Command::new("qemu-img").args(words).output().context("cannot run qemu-img")?;
    ensure!(done.status.success(), "qemu-img {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

#[test]
fn swap_and_unused_disks_are_accused_of_nothing() -> Result<()> {
    let guest = Guest::lease()?;
    // Half of it swap that was written, half of it a filesystem.
    let halves = guest.add_disk(DiskSpec::new("halves", GIB))?;
    let unused = guest.add_disk(DiskSpec::new("unused", GIB).qcow2())?;
    let (swap, data) = (format!("{}1", halves.device), format!("{}2", halves.device));
    guest.write_noise("/run/noise64", 64)?;
    guest.sh(&format!(
        "printf ',256M,S\\n,,L\\n' | sfdisk -q {0}
         for disk in {swap} {1}; do dd if=/run/noise64 of=$disk bs=1M conv=fsync 2>/dev/null; done
         rm /run/noise64
         mkswap {swap} >&2; swapon {swap}
         {2} {data} >&2; mkdir /mnt/data; mount {data} /mnt/data; sync",
        halves.device,
        unused.device,
        Kind::Ext4.mkfs()
    ))?;
    guest.start_agent("")?;

    // The first call meets the holes of the new filesystem, the second sends nothing.
    for rule in ["13", "9"] {
        let document = trim(&guest, 0, &[])?;
        let said = document.disk(&halves)?;
        ensure!(ruling(said) == format!("already_compact by rule {rule}"), "{said:#}");
        let slack = said["slack_before_bytes"].as_array().context("no slack")?;
        ensure!(slack[1].as_u64() >= Some(DELETED / 4 * 3) && slack[0].as_u64() < Some(16 * MIB), "{said:#}");
        let said = document.disk(&unused)?;
        ensure!(ruling(said) == "already_compact by rule 9", "{said:#}");
        ensure!(said["sent_bytes"] == 0, "{said:#}");
    }
    Ok(())
}

#[test]
fn holes_and_lazy_initialization_are_accused_of_nothing() -> Result<()> {
    let guest = Guest::lease()?;
    // Nothing was ever deleted on any: all free space is holes. The kernel writes inode tables into three of them.
    let raw = guest.add_disk(DiskSpec::new("raw", 16 * GIB))?;
    let qcow2 = guest.add_disk(DiskSpec::new("qcow2", 64 * GIB).qcow2())?;
    let fresh = guest.add_disk(DiskSpec::new("fresh", 2 * GIB).qcow2())?;
    let holes = Walk::add(&guest, Kind::Xfs, DiskSpec::new("holes", GIB))?;
    // Discards have been seen to pass here, which is known of no drive that was added to a running QEMU before.
    guest.sh(&format!("tr '\\0' x </dev/zero | dd of={0} bs=1M count=1 iflag=fullblock conv=fsync 2>/dev/null; blkdiscard -f {0}", qcow2.device))?;
    for disk in [&raw, &qcow2, &fresh] {
        guest.sh(&format!(
            "mke2fs -q -t ext4 -E nodiscard {0} && mkdir /mnt/{1} && mount -o init_itable=10 {0} /mnt/{1}",
            disk.device, disk.name
        ))?;
    }
    guest.start_agent("")?;
    // The kernel begins within 5 s of a mount (EXT4_DEF_LI_MAX_START_DELAY), and with this option rests ten times as long
    // as it writes: tens of seconds on these disks, however fast or slow the machine is.
    guest.sh("sleep 6")?;

    let document = trim(&guest, 64, &[])?;

    for (disk, verdict) in [
        (&raw, "already_compact by rule 13"),
        (&holes.disk, "already_compact by rule 13"),
        (&qcow2, "already_compact by rule 15"),
        // Whether discards pass here nobody knows yet, and that is what is said.
        (&fresh, "not_measurable by rule 16"),
    ] {
        let said = document.disk(disk)?;
        ensure!(ruling(said) == verdict, "{said:#}");
        ensure!(number(said, "sent_bytes")? > 256 * MIB, "{said:#}");
        let arrives = disk.format == Format::Raw;
        ensure!((number(said, "arrived_bytes")? > 256 * MIB) == arrives, "{said:#}");
    }
    // That of the smaller one may be over before the trim has begun; not that of both.
    let written = number(document.disk(&raw)?, "written_meanwhile_bytes")?
        + number(document.disk(&qcow2)?, "written_meanwhile_bytes")?;
    ensure!(written > 0, "no initialization ran meanwhile");
    Ok(())
}

#[test]
fn a_disk_without_a_serial_is_paired_by_its_address_and_never_by_guess() -> Result<()> {
    let guest = Guest::lease()?;
    let specs = [
        DiskSpec::new("nameless", GIB).without_serial(),
        DiskSpec::new("blk", GIB).on(FrontEnd::VirtioBlk).without_serial(),
        // The same serial on two disks says nothing of either.
        DiskSpec::new("twin1", GIB).serial("TWIN"),
        DiskSpec::new("twin2", GIB).serial("TWIN"),
    ];
    let walks: Vec<Walk<'_>> =
        specs.into_iter().map(|spec| Walk::add(&guest, Kind::Ext4, spec)).collect::<Result<_>>()?;
    // Different amounts, so that an exchange would show.
    for (walk, mib) in walks.iter().zip([32, 48, 64, 80]) {
        walk.write_and_delete(mib)?;
    }
    guest.start_agent("")?;

    let document = trim(&guest, 0, &[])?;

    for (walk, mib) in walks.iter().zip([32, 48, 64, 80]) {
        let said = document.disk(&walk.disk)?;
        ensure!(said["paired_by"] == "address", "{said:#}");
        ensure!(said["guest_disk"] == walk.disk.device.trim_start_matches("/dev/"), "{said:#}");
        ensure!(freed(said)?.abs_diff(mib * MIB) < 4 * MIB, "{mib} MiB were deleted: {said:#}");
    }
    Ok(())
}

#[test]
fn twins_that_nothing_tells_apart_stay_unpaired_and_are_shown() -> Result<()> {
    let guest = Guest::lease()?;
    let walks = ["left", "right"].map(|name| Walk::add(&guest, Kind::Ext4, DiskSpec::new(name, GIB)));
    let walks: Vec<Walk<'_>> = walks.into_iter().collect::<Result<_>>()?;
    let mut inventory = format!("[[vm]]\nname = \"guest\"\nagent = \"{}\"\n", guest.agent_endpoint());
    for walk in &walks {
        walk.write_and_delete(DELETED_MIB)?;
        // Without QMP, and with nothing but the image's name.
        inventory
            .push_str(&format!("[[vm.disk]]\nimage = \"{}\"\nformat = \"raw\"\n", walk.disk.image.display()));
    }
    let file = guest.directory().join("twins.toml");
    std::fs::write(&file, inventory)?;
    guest.start_agent("")?;

    let ended = Trimtab::with(&file)?.trim(&["guest"])?;

    let document = checked(&ended)?;
    for walk in &walks {
        let said = document.disk(&walk.disk)?;
        ensure!(said["paired_by"].is_null() && said["guest_disk"].is_null(), "{said:#}");
        ensure!(said["sent_bytes"].is_null() && said["arrived_bytes"].is_null(), "{said:#}");
        // The host's own figures need no pair.
        ensure!(ruling(said) == "reclaimed by rule 5", "{said:#}");
        ensure!(freed(said)? >= DELETED / 100 * 95, "{said:#}");
    }
    let names: Vec<&str> = walks.iter().map(|walk| walk.disk.device.trim_start_matches("/dev/")).collect();
    ensure!(document.only_vm()?["unpaired_guest_disks"] == serde_json::json!(names), "{document}");
    ensure!(ended.exit == 64, "exit {}", ended.exit);
    Ok(())
}
