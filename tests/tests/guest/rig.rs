//! The rig proves itself, with the guest's own `fstrim`: whoever doubts a result of the other suites looks here first.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use trimtab_tests::guest::{
    AGENT_PORT, Discard, DiskSpec, Format, FrontEnd, Guest, GuestSpec, connect_vsock,
};
use trimtab_tests::{GIB, MIB};

const EXT4: &str = "mke2fs -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=0";

/// Writes and deletes 64 MiB on a new ext4; returns bytes allocated before the write, with the file, after fstrim.
fn write_delete_trim(guest: &Guest, spec: DiskSpec) -> Result<(u64, u64, u64)> {
    let disk = guest.add_disk(spec)?;
    guest.sh(&format!("{EXT4} {0} && mkdir -p /mnt/a && mount {0} /mnt/a && sync", disk.device))?;
    let before = disk.allocated_bytes()?;
    guest.write_noise("/mnt/a/big", 64)?;
    let full = disk.allocated_bytes()?;
    guest.sh("rm /mnt/a/big && sync && fstrim -v /mnt/a")?;
    let after = disk.allocated_bytes()?;
    guest.sh("umount /mnt/a")?;
    guest.remove_disk(&disk)?;
    Ok((before, full, after))
}

#[test]
fn fstrim_shrinks_an_image_with_unmap_and_not_with_ignore() -> Result<()> {
    let guest = Guest::lease()?;
    for front_end in [FrontEnd::VirtioScsi, FrontEnd::VirtioBlk, FrontEnd::Nvme] {
        for format in [Format::Raw, Format::Qcow2] {
            for discard in [Discard::Unmap, Discard::Ignore, Discard::Unset] {
                let case = format!("{front_end:?} {format:?} {discard:?}");
                let spec = DiskSpec::new("disk", GIB).on(front_end).format(format).discard(discard);
                let (before, full, after) = write_delete_trim(&guest, spec)?;
                assert!(full >= before + 64 * MIB, "{case}: {before} {full}");
                if discard == Discard::Unmap {
                    assert!(full - after >= 63 * MIB, "{case}: {before} {full} {after}");
                } else {
                    assert!(full.abs_diff(after) <= MIB, "{case}: {before} {full} {after}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn what_qemu_counts_as_arrived_is_what_a_qcow2_image_loses() -> Result<()> {
    let guest = Guest::lease()?;
    let disk = guest.add_disk(DiskSpec::new("disk", GIB).qcow2())?;
    guest.sh(&format!("{EXT4} {0} && mkdir -p /mnt/a && mount {0} /mnt/a && sync", disk.device))?;
    guest.write_noise("/mnt/a/big", 64)?;
    guest.sh("rm /mnt/a/big; sync")?;
    let (arrived_before, _) = guest.arrived(&disk)?;
    let full = disk.allocated_bytes()?;
    guest.sh("fstrim /mnt/a")?;
    let (arrived, failed) = guest.arrived(&disk)?;
    assert_eq!(arrived - arrived_before, full - disk.allocated_bytes()?);
    assert_eq!(failed, 0);
    Ok(())
}

#[test]
fn disks_that_are_there_at_boot_are_found_and_outlive_a_reboot() -> Result<()> {
    let spec = GuestSpec::new("reboots")
        .without_agent()
        .disk(DiskSpec::new("sata", GIB).on(FrontEnd::Sata))
        .disk(DiskSpec::new("blk", GIB).qcow2().on(FrontEnd::VirtioBlk).discard(Discard::Unset));
    let guest = Guest::boot(spec)?;
    let command_line = guest.qemu_command_line()?;
    assert!(command_line.iter().any(|word| word.ends_with("id=sata,format=raw,discard=unmap")));
    guest.add_disk(DiskSpec::new("added", GIB))?;
    for name in ["sata", "blk", "added"] {
        guest.sh(&format!("echo {name} | dd of={} conv=fsync 2>/dev/null", guest.disk(name)?.device))?;
    }
    let boot = guest.boot_id();

    guest.reboot()?;

    assert_ne!(guest.boot_id(), boot);
    for name in ["sata", "blk", "added"] {
        let device = guest.disk(name)?.device;
        assert_eq!(guest.sh(&format!("head -n 1 {device}"))?.trim(), name);
    }
    Ok(())
}

#[test]
fn a_connection_through_the_hybrid_socket_reaches_the_agent_also_after_a_reboot() -> Result<()> {
    let guest = Guest::boot(GuestSpec::new("vsock"))?;
    // Nobody listens: the device closes, which a caller must tell from an answer.
    assert!(connect_vsock(&guest.vsock_socket(), AGENT_PORT, Duration::ZERO).is_err());
    guest.start_agent("")?;
    let first = connect_vsock(&guest.vsock_socket(), AGENT_PORT, Duration::ZERO)?;
    guest.reboot()?;
    assert!(connect_vsock(&guest.vsock_socket(), AGENT_PORT, Duration::ZERO).is_err());
    guest.start_agent("")?;
    drop(first);
    guest.stop_agent()?;
    assert!(connect_vsock(&guest.vsock_socket(), AGENT_PORT, Duration::ZERO).is_err());
    Ok(())
}

#[test]
fn a_failed_command_says_what_it_printed() -> Result<()> {
    let guest = Guest::lease()?;
    let error = guest.sh("echo to stdout; echo to stderr >&2; exit 3").unwrap_err().to_string();
    assert!(
        error.contains("exit 3") && error.contains("to stdout") && error.contains("to stderr"),
        "{error}"
    );
    // Output of any kind and size comes back whole, and the next command starts afresh.
    assert_eq!(guest.sh("head -c 3000000 /dev/zero | tr '\\0' x")?.len(), 3_000_000);
    assert_eq!(guest.sh("printf 'done 1 0 0 0\\n'")?, "done 1 0 0 0\n");
    Ok(())
}

#[test]
fn nothing_of_a_guest_is_left_when_it_is_dropped() -> Result<()> {
    let guest = Guest::boot(GuestSpec::new("leaves").without_agent())?;
    let directory = guest.directory().to_path_buf();
    let process = format!("/proc/{}", guest.qemu_pid()?);
    assert!(directory.exists() && Path::new(&process).exists());
    drop(guest);
    assert!(!directory.exists() && !Path::new(&process).exists());
    Ok(())
}

#[test]
fn the_guest_can_build_what_lies_between_a_filesystem_and_its_disk() -> Result<()> {
    let guest = Guest::lease()?;
    let disks: Vec<_> = (0..4)
        .map(|n| guest.add_disk(DiskSpec::new(&format!("member{n}"), GIB)).map(|disk| disk.device))
        .collect::<Result<_>>()?;
    guest.sh(&format!(
        "mdadm -q --create /dev/md5 --run --level=5 --raid-devices=3 --assume-clean {} {} {} >&2
         pvcreate -q {} && vgcreate -q vg /dev/{} && lvcreate -q -L 256M -T vg/pool && lvcreate -q -V 512M -T vg/pool -n thin
         printf secret >/run/key
         cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/vg/thin /run/key
         cryptsetup open --key-file /run/key --allow-discards /dev/vg/thin plain
         {EXT4} /dev/mapper/plain && mkdir -p /mnt/deep && mount /dev/mapper/plain /mnt/deep
         fstrim /mnt/deep",
        disks[0], disks[1], disks[2], disks[3], disks[3].trim_start_matches("/dev/"),
    ))?;
    let mapped = guest.sh("dmsetup status vg-thin | cut -d' ' -f4")?;
    assert!(mapped.trim().parse::<u64>()? * 512 < 64 * MIB, "a thin volume with little on it: {mapped}");
    Ok(())
}
