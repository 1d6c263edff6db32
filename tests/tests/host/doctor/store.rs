//! What the host filesystem below an image does: it shares extents with a copy, or it is full.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::statvfs::statvfs;
use serde_json::json;
use trimtab_tests::guest::{DiskSpec, Format, Guest, GuestSpec};
use trimtab_tests::loop_disk::{Filesystem, LoopDisk};
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk, ruling};
use trimtab_tests::{GIB, MIB};

use super::host::run;
use super::table::{self, Row};
use super::{deleted, finding, trim};

const DELETED: u64 = DELETED_MIB * MIB;

/// Bytes that files of a host filesystem can still have, once all is written that was begun.
fn free_bytes(store: &Path) -> Result<u64> {
    run("sync", &["-f", &store.display().to_string()])?;
    let free = statvfs(store)?;
    Ok(free.blocks_available() * free.fragment_size())
}

#[test]
fn a_copy_shares_what_the_guest_frees() -> Result<()> {
    let guest = Guest::boot(GuestSpec::new("shared"))?;
    let mut stores = Vec::new();
    for (filesystem, name, title) in [
        (Filesystem::Xfs, "onxfs", "a reflinked copy of the image on XFS"),
        (Filesystem::Btrfs, "onbtrfs", "a reflinked copy of the image on btrfs"),
    ] {
        let store = LoopDisk::mount(filesystem, GIB)?;
        let image = store.path().join("guest.raw");
        std::fs::File::create(&image)?.set_len(GIB / 2)?;
        let walk = Walk::add(&guest, Kind::Ext4, DiskSpec::new(name, GIB / 2).image(&image))?;
        guest.write_noise(&format!("{}/goes", walk.mount), DELETED_MIB)?;
        guest.sh("sync")?;
        walk.disk.allocated_bytes()?;
        let copy = store.path().join("copy.raw");
        run("cp", &["--reflink=always", &image.display().to_string(), &copy.display().to_string()])?;
        guest.sh(&format!("rm {}/goes; sync", walk.mount))?;
        stores.push((store, walk, copy, title));
    }
    guest.start_agent("")?;
    let trimtab = Trimtab::of(&guest)?;
    let document = trimtab.doctor(&[guest.name()])?.document()?;
    let mut rows = Vec::new();
    for (store, walk, copy, title) in &stores {
        let found = finding(document.disk(&walk.disk)?, ("host_filesystem", "note")).context(*title)?;
        rows.push(Row::new(title, (found, &walk.disk), Some(0), "the copy deleted", Some(DELETED_MIB)));
        let (free, allocated) = (free_bytes(&store.path())?, walk.disk.allocated_bytes()?);
        let said = trim(walk, &[], &trimtab, &[])?;
        let fell = allocated.saturating_sub(walk.disk.allocated_bytes()?);
        ensure!(fell >= DELETED / 100 * 95, "{title}: du fell by {fell}: {said:#}");
        let gained = free_bytes(&store.path())?.saturating_sub(free);
        ensure!(gained < 4 * MIB, "{title}: the datastore gained {gained}: {said:#}");
        ensure!(ruling(&said) == "held_on_host by rule 3", "{title}: {said:#}");

        std::fs::remove_file(copy)?;
        let gained = || -> Result<u64> { Ok(free_bytes(&store.path())?.saturating_sub(free)) };
        // XFS gives back a deleted file's blocks in the background, which neither syncfs nor statfs waits for.
        let soon = Instant::now() + Duration::from_secs(30);
        while gained()? < DELETED / 100 * 80 && Instant::now() < soon {
            std::thread::sleep(Duration::from_millis(100));
        }
        ensure!(
            gained()? >= DELETED / 100 * 80,
            "{title}: the datastore gained {} with the copy gone",
            gained()?
        );
    }
    table::check("store", &rows)
}

#[test]
fn a_full_datastore_is_left_alone() -> Result<()> {
    let store = LoopDisk::mount(Filesystem::Ext4, 512 * MIB)?;
    let guest = Guest::boot(GuestSpec::new("full"))?;
    let base = guest.directory().join("base.raw");
    std::fs::File::create(&base)?.set_len(GIB)?;
    let image = store.path().join("overlay.qcow2");
    let (base, name) = (base.display().to_string(), image.display().to_string());
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", &base, "-F", "raw", &name])?;
    let spec = DiskSpec::new("overlay", GIB).format(Format::Qcow2).image(&image);
    let walk = deleted(Walk::add(&guest, Kind::Ext4, spec)?)?;
    let filler = store.path().join("filler");
    let free = free_bytes(&store.path())?;
    run("fallocate", &["-l", &(free - MIB).to_string(), &filler.display().to_string()])?;
    guest.start_agent("")?;
    let trimtab = Trimtab::of(&guest)?;

    let document = trimtab.doctor(&[guest.name()])?.document()?;

    let found = finding(document.disk(&walk.disk)?, ("datastore", "note"))?;
    let title = "an overlay on a full datastore: a trim could pause the VM";
    let row = Row::new(title, (found, &walk.disk), Some(0), "room made on the datastore", Some(DELETED_MIB));
    let before = walk.disk.allocated_bytes()?;
    let said = trim(&walk, &[], &trimtab, &[])?;
    ensure!(ruling(&said) == "not_run by rule 2", "{said:#}");
    ensure!(walk.disk.allocated_bytes()? == before, "{said:#}");
    ensure!(guest.qmp("query-status", json!({}))?["status"] == "running", "the guest is paused");

    std::fs::remove_file(&filler)?;
    // Less than a GiB is nearly full by rule, however small the datastore.
    let said = trim(&walk, &[], &trimtab, &["--anyway", "datastore"])?;
    let fell = before.saturating_sub(walk.disk.allocated_bytes()?);
    ensure!(fell >= DELETED / 100 * 95, "{fell} bytes came back: {said:#}");
    ensure!(guest.qmp("query-status", json!({}))?["status"] == "running", "the guest is paused");
    table::check("full", &[row])
}
