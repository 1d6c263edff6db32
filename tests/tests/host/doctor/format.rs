//! What qcow2 images hold.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use trimtab_tests::GIB;
use trimtab_tests::guest::{Disk, DiskSpec, Format, Guest};
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk};

use super::{Case, deleted};

pub(super) const CASES: [Case; 4] = [
    Case {
        name: "an internal snapshot of a qcow2 image",
        finding: ("format", "holds"),
        build: |guest| {
            let walk = deleted(Walk::add(guest, Kind::Ext4, DiskSpec::new("snapshot", GIB).qcow2())?)?;
            aside(walk, |image| qemu_img(&["snapshot", "-c", "before-upgrade"], image))
        },
        others: &[],
        before_mib: Some(0),
        mended_by: "the snapshot deleted, the VM off",
        mend: |walk| aside(walk, |image| qemu_img(&["snapshot", "-d", "before-upgrade"], image)),
        trim: &[],
        after_mib: DELETED_MIB,
    },
    Case {
        name: "a version 2 qcow2 over a backing file",
        finding: ("format", "holds"),
        build: |guest| {
            let base = base(guest, "base-of-v2")?;
            let spec = DiskSpec::new("v2", GIB).over(&base.image, Format::Qcow2).created_with("compat=0.10");
            deleted(Walk::mounted(guest, Kind::Ext4, guest.add_disk(spec)?)?)
        },
        others: &[],
        before_mib: Some(0),
        mended_by: "`qemu-img amend`, the VM off",
        mend: |walk| aside(walk, |image| qemu_img(&["amend", "-f", "qcow2", "-o", "compat=1.1"], image)),
        trim: &[],
        after_mib: DELETED_MIB,
    },
    Case {
        name: "an overlay: what was deleted lies in the backing file",
        finding: ("format", "note"),
        build: |guest| {
            let walk = Walk::add(guest, Kind::Ext4, DiskSpec::new("below", GIB).qcow2())?;
            guest.write_noise(&format!("{}/goes", walk.mount), DELETED_MIB)?;
            guest.sh(&format!("sync; umount {}", walk.mount))?;
            guest.remove_disk(&walk.disk)?;
            let spec = DiskSpec::new("overlay", GIB).over(&walk.disk.image, Format::Qcow2);
            let walk = Walk::mounted(guest, Kind::Ext4, guest.add_disk(spec)?)?;
            guest.sh(&format!("rm {}/goes; sync", walk.mount))?;
            Ok(walk)
        },
        others: &[],
        before_mib: Some(0),
        mended_by: "`qemu-img commit`, the VM off; the base is the image then",
        mend: |walk| {
            let guest = walk.guest;
            guest.sh(&format!("umount {}", walk.mount))?;
            guest.remove_disk(&walk.disk)?;
            qemu_img(&["commit", "-q", "-f", "qcow2"], &walk.disk.image)?;
            let base = guest.image_directory().join("below.qcow2");
            let disk = guest.add_disk(DiskSpec::new("below", GIB).qcow2().image(&base))?;
            Walk::mounted(guest, Kind::Ext4, disk)
        },
        trim: &[],
        after_mib: DELETED_MIB,
    },
    Case {
        name: "free extents smaller than the image's clusters",
        finding: ("granularity", "note"),
        build: |guest| {
            let spec = DiskSpec::new("fragments", GIB).qcow2().created_with("cluster_size=2M");
            let walk = Walk::add(guest, Kind::Ext4, spec)?;
            let file = format!("{}/file", walk.mount);
            guest.write_noise(&file, DELETED_MIB * 2)?;
            // Every second 512 KiB.
            let holes: String = (0..DELETED_MIB * 2).map(|mib| format!(" -c 'fpunch {mib}m 512k'")).collect();
            guest.sh(&format!("xfs_io{holes} {file}; sync"))?;
            Ok(walk)
        },
        others: &[],
        before_mib: Some(0),
        mended_by: "`qemu-img convert` to raw, the VM off",
        mend: |walk| {
            let guest = walk.guest;
            guest.sh(&format!("umount {}", walk.mount))?;
            guest.remove_disk(&walk.disk)?;
            let raw = walk.disk.image.with_extension("raw");
            let words = ["convert", "-f", "qcow2", "-O", "raw", &walk.disk.image.display().to_string()];
            qemu_img(&words, &raw)?;
            let disk = guest.add_disk(DiskSpec::new("fragments", GIB).image(&raw))?;
            Walk::mounted(guest, Kind::Ext4, disk)
        },
        trim: &[],
        after_mib: DELETED_MIB,
    },
];

/// An ext4 in an image that is no disk of the guest's any more.
fn base(guest: &Guest, name: &str) -> Result<Disk> {
    let walk = Walk::add(guest, Kind::Ext4, DiskSpec::new(name, GIB).qcow2())?;
    guest.sh(&format!("umount {}", walk.mount))?;
    guest.remove_disk(&walk.disk)?;
    Ok(walk.disk)
}

/// Takes the disk out of the guest, changes its image, and puts it back.
fn aside<'a>(walk: Walk<'a>, change: impl FnOnce(&Path) -> Result<()>) -> Result<Walk<'a>> {
    let guest = walk.guest;
    guest.sh(&format!("umount {}", walk.mount))?;
    guest.remove_disk(&walk.disk)?;
    change(&walk.disk.image)?;
    let spec = DiskSpec::new(&walk.disk.name, GIB).format(walk.disk.format).image(&walk.disk.image);
    Walk::mounted(guest, Kind::Ext4, guest.add_disk(spec)?)
}

/// `qemu-img` with the image as its last word.
pub(super) fn qemu_img(words: &[&str], image: &Path) -> Result<()> {
    let done = Command::new("qemu-img").args(words).arg(image).output().context("cannot run qemu-img")?;
    ensure!(done.status.success(), "qemu-img {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
