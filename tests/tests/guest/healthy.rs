//! False alarms: on each healthy combination of front end, format and filesystem the doctor says open, and its probe
//! proves it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_tests::GIB;
use trimtab_tests::guest::{Disk, DiskSpec, FrontEnd, Guest, GuestSpec};
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::{Kind, Walk};

const FRONT_ENDS: [(&str, FrontEnd); 4] = [
    ("scsi", FrontEnd::VirtioScsi),
    ("blk", FrontEnd::VirtioBlk),
    ("nvme", FrontEnd::Nvme),
    ("sata", FrontEnd::Sata),
];

#[test]
fn a_healthy_disk_is_open_and_proven() -> Result<()> {
    let mut spec = GuestSpec::new("healthy");
    for (name, front_end) in FRONT_ENDS {
        spec = spec.disk(DiskSpec::new(&format!("{name}raw"), GIB).on(front_end));
        spec = spec.disk(DiskSpec::new(&format!("{name}qcow"), GIB).qcow2().on(front_end));
    }
    let guest = Guest::boot(spec)?;
    guest.start_agent("")?;
    let trimtab = Trimtab::of(&guest)?;
    for kind in [Kind::Ext4, Kind::Xfs, Kind::Btrfs] {
        let mut walks = Vec::new();
        for (name, _) in FRONT_ENDS {
            for format in ["raw", "qcow"] {
                walks.push(Walk::on(&guest, kind, guest.disk(&format!("{name}{format}"))?)?);
            }
        }

        let ended = trimtab.doctor(&["healthy", "--probe"])?;

        let document = ended.document()?;
        for walk in &walks {
            let said = document.disk(&walk.disk)?;
            is_open(said).with_context(|| format!("{kind:?} on {}: {said:#}", walk.disk.name))?;
        }
        ensure!(ended.exit == 0, "exit {}: {document}", ended.exit);
        for walk in walks {
            wipe(&guest, &walk)?;
        }
    }
    Ok(())
}

fn is_open(said: &Value) -> Result<()> {
    let findings = said["findings"].as_array().context("no findings")?;
    for finding in findings {
        ensure!(
            finding["state"] == "open"
                || finding["layer"] == "granularity"
                || finding["layer"] == "underneath",
            "{finding:#}"
        );
    }
    for layer in ["filesystem", "device", "granularity", "drive", "format", "host_filesystem"] {
        ensure!(findings.iter().any(|finding| finding["layer"] == layer), "no line for {layer}");
    }
    ensure!(said["first_cut"].is_null() && said["guard"].is_null());
    ensure!(said["proven"] == true, "not proven");
    Ok(())
}

/// So that the next filesystem is made without a question.
fn wipe(guest: &Guest, walk: &Walk<'_>) -> Result<()> {
    let Disk { device, .. } = &walk.disk;
    guest.sh(&format!(
        "umount {} && dd if=/dev/zero of={device} bs=1M count=2 conv=fsync 2>/dev/null && blockdev --rereadpt {device} \
         2>/dev/null; true",
        walk.mount
    ))?;
    Ok(())
}
