//! The guard that cannot wait: QEMU pauses a guest whose qcow2 overlay is trimmed on a full datastore. A real guest, on
//! a host filesystem that is small enough to fill.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use trimtab_tests::guest::{Disk, DiskSpec, Format, Guest, GuestSpec, allocated_bytes};
use trimtab_tests::loop_disk::{Filesystem, LoopDisk};
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::{GIB, MIB};

use crate::common::checked;
use crate::rig::run;

fn write_and_delete(guest: &Guest, disk: &Disk) -> Result<()> {
    let mount = format!("/mnt/{}", disk.name);
    guest.sh(&format!(
        "{} {} >&2; mkdir {mount}; mount {1} {mount}; sync",
        Filesystem::Ext4.mkfs(),
        disk.device
    ))?;
    guest.write_noise(&format!("{mount}/goes"), 64)?;
    guest.sh(&format!("sync; rm {mount}/goes; sync"))?;
    Ok(())
}

#[test]
fn an_overlay_on_a_full_datastore_is_not_trimmed_and_its_guest_not_paused() -> Result<()> {
    let datastore = LoopDisk::mount(Filesystem::Ext4, 512 * MIB)?;
    let guest = Guest::boot(GuestSpec::new("full"))?;
    let (base, overlay) = (guest.directory().join("base.raw"), datastore.path().join("overlay.qcow2"));
    std::fs::File::create(&base)?.set_len(GIB)?;
    let (base, overlay_name) = (base.to_str().context("base")?, overlay.to_str().context("overlay")?);
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay_name])?;
    let overlay = guest.add_disk(DiskSpec::new("overlay", GIB).format(Format::Qcow2).image(&overlay))?;
    let other = guest.add_disk(DiskSpec::new("other", GIB))?;
    for disk in [&overlay, &other] {
        write_and_delete(&guest, disk)?;
    }
    let available = nix::sys::statvfs::statvfs(&datastore.path())?;
    let available = available.blocks_available() * available.fragment_size();
    let filler = datastore.path().join("filler");
    run("fallocate", &["-l", &(available - MIB).to_string(), filler.to_str().context("filler")?])?;
    guest.start_agent("")?;
    let before = allocated_bytes(&overlay.image)?;
    let sent_before = guest.discarded_bytes(&overlay)?;

    let ended = Trimtab::of(&guest)?.trim(&["full"])?;

    let document = checked(&ended)?;
    let said = document.disk(&overlay)?;
    ensure!(said["verdict"] == "not_run" && said["rule"] == "2", "{said:#}");
    let because = said["because"].as_str().context("because")?;
    ensure!(because.contains("a backing file: a trim could pause the VM"), "{said:#}");
    ensure!(said["fix"].as_str().is_some_and(|fix| fix.contains("--anyway=datastore")), "{said:#}");
    ensure!(guest.discarded_bytes(&overlay)? == sent_before, "the guest sent discards");
    ensure!(allocated_bytes(&overlay.image)? == before, "the image changed");
    ensure!(guest.qmp("query-status", json!({}))?["status"] == "running", "the guest is paused");
    // The guard is of that disk alone.
    ensure!(document.disk(&other)?["verdict"] == "reclaimed", "{document}");
    ensure!(ended.exit == 64, "exit {}: {document}", ended.exit);
    Ok(())
}
