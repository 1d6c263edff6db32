//! What stands between a filesystem and its disk in the guest.

use anyhow::{Context, Result};
use trimtab_tests::GIB;
use trimtab_tests::guest::{Disk, DiskSpec, FrontEnd, Guest};
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk};

use super::{Case, deleted};

pub(super) const CASES: [Case; 4] = [
    Case {
        name: "LUKS in the guest, opened without discards",
        finding: ("crypt", "cut"),
        build: |guest| {
            let disk = guest.add_disk(DiskSpec::new("luks", GIB))?;
            guest.sh(&format!(
                "printf secret >/run/key
                 cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 {0} /run/key
                 cryptsetup open --key-file /run/key {0} luks",
                disk.device
            ))?;
            deleted(Walk::upon(guest, Kind::Ext4, disk, "/dev/mapper/luks")?)
        },
        others: &[],
        before_mib: Some(0),
        mended_by: "`cryptsetup refresh --allow-discards`, while it is mounted",
        mend: |walk| {
            walk.guest.sh("cryptsetup refresh --allow-discards --key-file /run/key luks")?;
            Ok(walk)
        },
        trim: &[],
        after_mib: DELETED_MIB,
    },
    Case {
        name: "md raid5 in the guest",
        finding: ("md", "cut"),
        build: |guest| {
            let disks: Vec<Disk> = ["raid-a", "raid-b", "raid-c"]
                .into_iter()
                .map(|name| guest.add_disk(DiskSpec::new(name, GIB / 2)))
                .collect::<Result<_>>()?;
            let [first, second, third] = disks.as_slice() else { unreachable!("three names") };
            guest.sh(&format!(
                "mdadm -q --create /dev/md5 --run --level=5 --raid-devices=3 --assume-clean {} {} {} >&2",
                first.device, second.device, third.device
            ))?;
            let walk = Walk::upon(guest, Kind::Ext4, first.clone(), "/dev/md5")?;
            guest.write_noise(&format!("{}/goes", walk.mount), DELETED_MIB)?;
            guest.sh(&format!("sync; rm {}/goes; sync", walk.mount))?;
            Ok(walk)
        },
        others: &["raid-b", "raid-c"],
        before_mib: Some(0),
        mended_by: "raid456's `devices_handle_discard_safely`, since QEMU's disks read zeros after a discard",
        mend: |walk| {
            walk.guest.sh(&format!(
                "umount {0}; members=$(ls /sys/block/md5/slaves | sed s,^,/dev/,)
                 echo Y >/sys/module/raid456/parameters/devices_handle_discard_safely
                 mdadm -q --stop /dev/md5; mdadm -q --assemble /dev/md5 $members; mount /dev/md5 {0}",
                walk.mount
            ))?;
            Ok(walk)
        },
        trim: &[],
        // Half of the data on each disk of three, and the parity.
        after_mib: DELETED_MIB / 2,
    },
    Case {
        name: "a SCSI disk of which the guest's kernel believes that it refuses UNMAP",
        finding: ("scsi", "cut"),
        build: |guest| {
            let walk = deleted(Walk::add(guest, Kind::Ext4, DiskSpec::new("disabled", GIB))?)?;
            provisioning(guest, &walk.disk, "disabled")?;
            Ok(walk)
        },
        others: &[],
        before_mib: Some(0),
        mended_by: "a rescan of the disk",
        mend: |walk| {
            let name = walk.disk.device.trim_start_matches("/dev/");
            walk.guest.sh(&format!("echo 1 >/sys/block/{name}/device/rescan"))?;
            Ok(walk)
        },
        trim: &[],
        after_mib: DELETED_MIB,
    },
    Case {
        name: "virtio-blk with `discard=off`, as machine types before 4.0 have it",
        finding: ("device", "cut"),
        build: |guest| {
            let spec = DiskSpec::new("old", GIB).on(FrontEnd::VirtioBlk).device_property("discard", false);
            deleted(Walk::add(guest, Kind::Ext4, spec)?)
        },
        others: &[],
        before_mib: Some(0),
        mended_by: "the same image on virtio-scsi",
        mend: |walk| {
            let guest = walk.guest;
            guest.sh(&format!("umount {}", walk.mount))?;
            guest.remove_disk(&walk.disk)?;
            let spec = DiskSpec::new("old", GIB).image(&walk.disk.image);
            Walk::mounted(guest, Kind::Ext4, guest.add_disk(spec)?)
        },
        trim: &[],
        after_mib: DELETED_MIB,
    },
];

/// Sets what the kernel believes of a SCSI disk (provisioning_mode of drivers/scsi/sd.c).
fn provisioning(guest: &Guest, disk: &Disk, mode: &str) -> Result<()> {
    let name = disk.device.strip_prefix("/dev/").context("a device below /dev")?;
    guest.sh(&format!("echo {mode} >$(ls /sys/block/{name}/device/scsi_disk/*/provisioning_mode)"))?;
    Ok(())
}
