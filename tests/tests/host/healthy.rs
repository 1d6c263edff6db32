//! False alarms: where nothing is in the way the doctor says so, and its probe proves it. Each front end, format and
//! filesystem of the three, and what may stand between a filesystem and its disk.

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
    proven_open(&guest, &walks)?;
    for walk in &walks {
        ensure!(walk.disk.allocated_bytes()? < 200 * MIB, "{}: its image grew", walk.disk.name);
        walk.unmount_and_check()?;
    }
    Ok(())
}

/// Holds what the doctor and its probes say of the disks against what they are.
fn proven_open(guest: &Guest, walks: &[Walk<'_>]) -> Result<()> {
    guest.start_agent("")?;
    let ended = Trimtab::of(guest)?.doctor(&[guest.name(), "--probe"])?;
    let document = ended.document()?;
    let mut alarms = Vec::new();
    for walk in walks {
        let said = document.disk(&walk.disk)?;
        alarms.extend(alarm(said).with_context(|| walk.disk.name.clone())?);
    }
    ensure!(alarms.is_empty(), "{alarms:#?}");
    ensure!(ended.exit == 0, "exit {}: {document}", ended.exit);
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

/// A layer above a disk that passes discards: its name, the device on it, and how it is made of the disk `$1`.
const STACKS: [(&str, &str, &str); 4] = [
    (
        "luks",
        "/dev/mapper/luks",
        "printf secret >/run/key
         cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 $1 /run/key
         cryptsetup open --key-file /run/key --allow-discards $1 luks",
    ),
    ("volume", "/dev/vga/lv", "pvcreate -q $1; vgcreate -q vga $1; lvcreate -q -l 100%FREE -W n -n lv vga"),
    (
        "thin",
        "/dev/vgb/thin",
        "pvcreate -q $1; vgcreate -q vgb $1
         lvcreate -q -L 480M -T vgb/pool; lvcreate -q -V 450M -T vgb/pool -n thin",
    ),
    (
        "mirror",
        "/dev/md1",
        "mdadm -q --create /dev/md1 --run --level=1 --raid-devices=2 --assume-clean --metadata=1.2 $1 missing",
    ),
];

#[test]
fn layers_of_the_guest_that_pass_discards_are_proven_open() -> Result<()> {
    let spec = STACKS
        .iter()
        .fold(GuestSpec::new("stacks"), |spec, (name, ..)| spec.disk(DiskSpec::new(name, GIB / 2)));
    let guest = Guest::boot(spec)?;
    let mut walks = Vec::new();
    for (name, device, make) in STACKS {
        let disk = guest.disk(name)?;
        guest.sh(&format!("set -- {}\n{{ {make}\n}} >&2", disk.device)).context(name)?;
        let walk = Walk::upon(&guest, Kind::Ext4, disk, device)?;
        guest.write_noise(&format!("{}/goes", walk.mount), 32)?;
        guest.sh(&format!("sync; rm {}/goes; sync", walk.mount))?;
        walks.push(walk);
    }
    // Of the deleted file, the probe's own may have taken a part and given it back.
    let before: Vec<u64> = walks.iter().map(|walk| walk.disk.allocated_bytes()).collect::<Result<_>>()?;
    proven_open(&guest, &walks)?;
    let trimtab = Trimtab::of(&guest)?;
    let document = trimtab.trim(&[guest.name()])?.document()?;
    for (walk, before) in walks.iter().zip(before) {
        let said = document.disk(&walk.disk)?;
        let fell = before.saturating_sub(walk.disk.allocated_bytes()?);
        ensure!(fell >= 30 * MIB && said["verdict"] == "reclaimed", "{fell} bytes came back: {said:#}");
        walk.unmount_and_check()?;
    }
    Ok(())
}
