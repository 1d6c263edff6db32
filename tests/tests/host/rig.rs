//! The libvirtd of the tests proves itself, with the guest's own `fstrim`.

use std::time::Duration;

use anyhow::{Result, ensure};
use trimtab_tests::guest::{AGENT_PORT, Discard, Disk, DiskSpec, FrontEnd, Guest, GuestSpec, connect_vsock};
use trimtab_tests::libvirt::Libvirt;
use trimtab_tests::{GIB, MIB};

/// What `fstrim` frees of 64 MiB that were written and deleted.
fn freed(guest: &Guest, disk: &Disk) -> Result<u64> {
    guest.sh(&format!(
        "mke2fs -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 {0}; mkdir -p /mnt/a; mount {0} /mnt/a",
        disk.device
    ))?;
    guest.write_noise("/mnt/a/big", 64)?;
    let full = disk.allocated_bytes()?;
    guest.sh("rm /mnt/a/big; sync; fstrim /mnt/a; umount /mnt/a")?;
    Ok(full.saturating_sub(disk.allocated_bytes()?))
}

#[test]
fn a_domain_has_its_disks_and_vsock_also_after_a_power_cycle_and_leaves_nothing() -> Result<()> {
    let libvirt = Libvirt::start()?;
    let other = Libvirt::start()?;
    let spec = GuestSpec::new("rig")
        .disk(DiskSpec::new("sata", GIB).on(FrontEnd::Sata))
        .disk(DiskSpec::new("blk", GIB).qcow2().on(FrontEnd::VirtioBlk).discard(Discard::Unset));
    let domain = libvirt.boot(spec)?;
    let added = domain.add_disk(&DiskSpec::new("added", GIB))?;
    ensure!(domain.live_xml()?.contains(" index='"), "{}", domain.live_xml()?);
    ensure!(
        other.virsh(&["list", "--all", "--name"])?.trim().is_empty(),
        "two daemons see each other's domains"
    );
    ensure!(freed(&domain, &domain.disk("sata")?)? >= 63 * MIB);
    ensure!(freed(&domain, &domain.disk("blk")?)? <= MIB);
    ensure!(freed(&domain, &added)? >= 63 * MIB);

    domain.power_cycle()?;

    ensure!(freed(&domain, &domain.disk("added")?)? >= 63 * MIB);
    ensure!(domain.arrived(&domain.disk("added")?)?.0 >= 63 * MIB);
    domain.start_agent("")?;
    connect_vsock(&domain.vsock_socket(), AGENT_PORT, Duration::ZERO)?;

    let images = domain.image_directory();
    let name = domain.name().to_owned();
    ensure!(libvirt.virsh(&["list", "--name"])?.trim() == name);
    drop(domain);
    ensure!(libvirt.virsh(&["list", "--all", "--name"])?.trim().is_empty(), "{name} is still defined");
    ensure!(!images.exists());
    let directory = libvirt.directory().to_path_buf();
    drop(libvirt);
    ensure!(!directory.exists());
    Ok(())
}
