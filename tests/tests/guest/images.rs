//! Images of which `stat` alone does not tell the whole: a qcow2 whose data lies in another file, one that keeps the
//! clusters which it frees.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_tests::guest::{DiskSpec, Guest, GuestSpec, allocated_bytes};
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk, freed, number, ruling};
use trimtab_tests::{GIB, MIB};

use crate::common::checked;

const DELETED: u64 = DELETED_MIB * MIB;

fn format(disk: &Value) -> Result<&Value> {
    let findings = disk["findings"].as_array().context("no findings")?;
    findings.iter().find(|finding| finding["layer"] == "format").with_context(|| format!("{disk:#}"))
}

#[test]
fn data_outside_of_its_image_and_clusters_that_stay_in_it() -> Result<()> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let (header, data) = (directory.path().join("header.qcow2"), directory.path().join("data.raw"));
    let option = format!("data_file={}", data.display());
    let mut create = Command::new("qemu-img");
    create.args(["create", "-q", "-f", "qcow2", "-o", &option]).arg(&header).arg("1G");
    ensure!(create.status()?.success(), "qemu-img create");
    // By -drive, so that both stand on QEMU's command line.
    let apart = DiskSpec::new("apart", GIB).qcow2().image(&header);
    let kept = DiskSpec::new("kept", GIB).qcow2().format_property("pass-discard-request", false);
    let guest = Guest::boot(GuestSpec::new("images").disk(apart).disk(kept))?;
    let apart = Walk::on(&guest, Kind::Ext4, guest.disk("apart")?)?;
    let kept = Walk::on(&guest, Kind::Ext4, guest.disk("kept")?)?;
    for walk in [&apart, &kept] {
        guest.write_noise(&format!("{}/goes", walk.mount), DELETED_MIB)?;
        guest.sh(&format!("sync && rm {}/goes && sync", walk.mount))?;
    }
    guest.start_agent("")?;
    let before = allocated_bytes(&header)? + allocated_bytes(&data)?;

    let document = checked(&Trimtab::of(&guest)?.trim(&["images"])?)?;

    let said = document.disk(&apart.disk)?;
    ensure!(ruling(said) == "reclaimed by rule 5" && freed(said)? >= DELETED / 100 * 95, "{said:#}");
    let after = allocated_bytes(&header)? + allocated_bytes(&data)?;
    ensure!(number(said, "allocated_after_bytes")?.abs_diff(after) < MIB, "{after}: {said:#}");
    ensure!(before.saturating_sub(after).abs_diff(freed(said)?) < MIB, "{before} to {after}: {said:#}");
    let named = format(said)?;
    ensure!(
        named["state"] == "open" && named["text"].as_str().is_some_and(|text| text.contains("data.raw")),
        "{said:#}"
    );

    let said = document.disk(&kept.disk)?;
    ensure!(ruling(said) == "held_on_host by rule 14" && freed(said)? < MIB, "{said:#}");
    ensure!(format(said)?["state"] == "holds", "{said:#}");
    ensure!(
        said["because"].as_str().is_some_and(|because| because.contains("pass-discard-request")),
        "{said:#}"
    );
    apart.unmount_and_check()?;
    kept.unmount_and_check()
}
