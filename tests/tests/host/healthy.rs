//! False alarms: where nothing is in the way the doctor says so, and its probe proves it. Each front end, format and
//! filesystem of the three.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_tests::guest::{DiskSpec, Format, FrontEnd, Guest, GuestSpec};
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::{Kind, Walk};
use trimtab_tests::{GIB, MIB};

const FRONT_ENDS: [(FrontEnd, &str); 4] = [
    (FrontEnd::VirtioScsi, "scsi"),
    (FrontEnd::VirtioBlk, "blk"),
    (FrontEnd::Nvme, "nvme"),
    (FrontEnd::Sata, "sata"),
];

/// The kinds of filesystem on disks of one format; SATA has six ports, and a guest has so many PCI slots.
fn healthy(format: Format) -> Result<()> {
    let combinations: Vec<(Kind, String, FrontEnd)> = FRONT_ENDS
        .iter()
        .flat_map(|(front_end, name)| {
            [Kind::Ext4, Kind::Xfs, Kind::Btrfs]
                .map(|kind| (kind, format!("{name}{}", kind.name()), *front_end))
        })
        .collect();
    let spec = combinations.iter().fold(GuestSpec::new(format.as_str()), |spec, (_, name, front_end)| {
        spec.disk(DiskSpec::new(name, GIB / 2).format(format).on(*front_end))
    });
    let guest = Guest::boot(spec)?;
    let mut walks = Vec::new();
    for (kind, name, _) in &combinations {
        let walk = Walk::on(&guest, *kind, guest.disk(name)?)?;
        // Something to free, without which nobody would ask a doctor.
        guest.write_noise(&format!("{}/goes", walk.mount), 32)?;
        guest.sh(&format!("sync; rm {}/goes; sync", walk.mount))?;
        walks.push(walk);
    }
    guest.start_agent("")?;

    let ended = Trimtab::of(&guest)?.doctor(&[guest.name(), "--probe"])?;

    let document = ended.document()?;
    let mut alarms = Vec::new();
    for walk in &walks {
        let said = document.disk(&walk.disk)?;
        alarms.extend(alarm(said).with_context(|| walk.disk.name.clone())?);
    }
    ensure!(alarms.is_empty(), "{alarms:#?}");
    ensure!(ended.exit == 0, "exit {}: {document}", ended.exit);
    for walk in &walks {
        ensure!(walk.disk.allocated_bytes()? < 200 * MIB, "{}: its image grew", walk.disk.name);
        walk.unmount_and_check()?;
    }
    Ok(())
}

/// What the doctor says against a healthy disk.
fn alarm(said: &Value) -> Result<Vec<String>> {
    let name = &said["device"];
    let findings = said["findings"].as_array().context("no findings")?;
    let bad =
        findings.iter().filter(|finding| ["cut", "holds"].iter().any(|state| finding["state"] == *state));
    let mut alarms: Vec<String> = bad.map(|finding| format!("{name}: {finding}")).collect();
    if said["proven"] != true {
        alarms.push(format!("{name} is not proven: {said:#}"));
    }
    let drive = findings.iter().find(|finding| finding["layer"] == "drive");
    if drive.is_none_or(|drive| drive["state"] != "open") {
        alarms.push(format!("{name}: a drive that is not open: {drive:?}"));
    }
    Ok(alarms)
}

#[test]
fn raw_disks_of_every_front_end_and_filesystem_are_proven_open() -> Result<()> {
    healthy(Format::Raw)
}

#[test]
fn qcow2_disks_of_every_front_end_and_filesystem_are_proven_open() -> Result<()> {
    healthy(Format::Qcow2)
}
