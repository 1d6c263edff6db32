//! What QEMU's command line says of a drive. Mended by another boot with another command line.

use anyhow::{Context, Result, ensure};
use trimtab_tests::guest::{Discard, DiskSpec, Guest, GuestSpec};
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk};
use trimtab_tests::{GIB, MIB};

use super::table::{self, Row};
use super::{deleted, finding, trim};

struct Drive {
    name: &'static str,
    disk: &'static str,
    broken: fn(DiskSpec) -> DiskSpec,
    whole: fn(DiskSpec) -> DiskSpec,
    finding: (&'static str, &'static str),
    /// As [`super::Case::before_mib`].
    before_mib: Option<u64>,
}

const DRIVES: [Drive; 4] = [
    Drive {
        name: "a drive with `discard=ignore`",
        disk: "ignore",
        broken: |disk| disk.discard(Discard::Ignore),
        whole: |disk| disk,
        finding: ("drive", "cut"),
        before_mib: Some(0),
    },
    Drive {
        name: "a drive of which nothing says `discard=`",
        disk: "unset",
        broken: |disk| disk.discard(Discard::Unset),
        whole: |disk| disk,
        finding: ("drive", "cut"),
        before_mib: Some(0),
    },
    Drive {
        name: "a qcow2 node with `discard=unmap` over a file node with `discard=ignore`",
        disk: "filenode",
        broken: |disk| disk.qcow2().file_discard(Discard::Ignore),
        whole: DiskSpec::qcow2,
        finding: ("drive", "cut"),
        // The image forgets the clusters, and keeps their place.
        before_mib: None,
    },
    Drive {
        name: "a qcow2 node with `pass-discard-request=off`",
        disk: "passoff",
        broken: |disk| disk.qcow2().format_property("pass-discard-request", false),
        whole: DiskSpec::qcow2,
        finding: ("format", "holds"),
        before_mib: None,
    },
];

impl Drive {
    fn spec(&self) -> DiskSpec {
        DiskSpec::new(self.disk, GIB)
    }
}

#[test]
fn what_is_said_on_qemus_command_line() -> Result<()> {
    let spec =
        DRIVES.iter().fold(GuestSpec::new("drive"), |spec, drive| spec.disk((drive.broken)(drive.spec())));
    let broken = Guest::boot(spec)?;
    let mut walks = Vec::new();
    for drive in &DRIVES {
        walks.push(deleted(Walk::on(&broken, Kind::Ext4, broken.disk(drive.disk)?)?)?);
    }
    broken.start_agent("")?;
    let trimtab = Trimtab::of(&broken)?;
    let document = trimtab.doctor(&[broken.name()])?.document()?;
    let mut rows = Vec::new();
    for (drive, walk) in DRIVES.iter().zip(&walks) {
        let found = finding(document.disk(&walk.disk)?, drive.finding).context(drive.name)?;
        rows.push(Row::new(
            drive.name,
            (found, &walk.disk),
            drive.before_mib,
            "`discard=unmap` and nothing else said, a power cycle",
            Some(DELETED_MIB),
        ));
        if drive.before_mib == Some(0) {
            let before = walk.disk.allocated_bytes()?;
            let said = trim(walk, &[], &trimtab, &["--anyway", "drive"])?;
            ensure!(before.abs_diff(walk.disk.allocated_bytes()?) < MIB, "{}: {said:#}", drive.name);
        }
        broken.sh(&format!("umount {}", walk.mount))?;
    }
    broken.kill()?;

    let whole = DRIVES.iter().zip(&walks).fold(GuestSpec::new("drive"), |spec, (drive, walk)| {
        spec.disk((drive.whole)(drive.spec()).image(&walk.disk.image))
    });
    let whole = Guest::boot(whole)?;
    let mut mended = Vec::new();
    for drive in &DRIVES {
        mended.push(Walk::mounted(&whole, Kind::Ext4, whole.disk(drive.disk)?)?);
    }
    whole.start_agent("")?;
    let trimtab = Trimtab::of(&whole)?;
    let document = trimtab.doctor(&[whole.name()])?.document()?;
    for (drive, walk) in DRIVES.iter().zip(&mended) {
        finding(document.disk(&walk.disk)?, ("drive", "open")).context(drive.name)?;
        let before = walk.disk.allocated_bytes()?;
        let said = trim(walk, &[], &trimtab, &[])?;
        let fell = before.saturating_sub(walk.disk.allocated_bytes()?);
        ensure!(fell >= DELETED_MIB * MIB / 100 * 95, "{}: {fell} bytes came back: {said:#}", drive.name);
    }
    table::check("drive", &rows)
}
