//! Probes of a real guest's disks: an open way is proven, a closed one is told from it, and nothing is left behind.

use anyhow::{Context, Result, ensure};
use trimtab_controller::guest::{AgentClient, Limits};
use trimtab_controller::image::HostStorage;
use trimtab_controller::layers::Layer;
use trimtab_controller::model::image::{Format as ImageFormat, Image};
use trimtab_controller::model::vm::DeclaredDisk;
use trimtab_controller::trim::look::{self, Parts};
use trimtab_controller::trim::neighbours::Neighbours;
use trimtab_controller::trim::probe::{self, Probe};
use trimtab_controller::vmm::HostVmm;
use trimtab_tests::guest::{Discard, Disk, DiskSpec, FrontEnd, Guest};
use trimtab_tests::walk::{Kind, Walk};
use trimtab_tests::{GIB, MIB};

/// The probe of one disk. Where QMP is not asked, nothing but the image's allocation tells.
fn probe(guest: &Guest, disk: &Disk, with_qmp: bool) -> Result<Probe> {
    let vmm = if with_qmp {
        HostVmm::Qmp { socket: guest.qmp_socket(), declared: Vec::new() }
    } else {
        let image = Image { path: disk.image.clone(), format: ImageFormat::Raw };
        HostVmm::Declared(vec![DeclaredDisk { image, serial: Some(disk.name.clone()), guest: None }])
    };
    let agent = AgentClient::new(guest.agent_endpoint().parse()?, Limits::default());
    let neighbours = Neighbours::default();
    let parts = Parts {
        name: guest.name(),
        guest: &agent,
        vmm: &vmm,
        storage: &HostStorage,
        neighbours: &neighbours,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let look = look::look(&parts).await?;
        let found =
            look.disks.iter().find(|one| one.host.image.as_ref().is_some_and(|i| i.path == disk.image));
        Ok(probe::probe(&parts, &look, found.context("the disk is not there")?, &[]).await)
    })
}

/// What ext4 finds to trim, and then has found for good.
fn claimed(guest: &Guest, mount: &str) -> Result<u64> {
    let said = guest.sh(&format!("sync; fstrim -v {mount} | tr -dc '0-9 (' | cut -d'(' -f2"))?;
    said.trim().parse().with_context(|| format!("fstrim said {said:?}"))
}

#[test]
fn open_ways_are_proven() -> Result<()> {
    let guest = Guest::lease()?;
    guest.start_agent("")?;
    for (kind, spec) in [
        (Kind::Ext4, DiskSpec::new("raw", GIB)),
        (Kind::Xfs, DiskSpec::new("clusters", GIB).qcow2().on(FrontEnd::VirtioBlk)),
        (Kind::Btrfs, DiskSpec::new("other", GIB).on(FrontEnd::Nvme)),
    ] {
        let walk = Walk::add(&guest, kind, spec)?;
        walk.keep_files()?;
        let sums = walk.checksums()?;
        let before = walk.disk.allocated_bytes()?;

        let seen = probe(&guest, &walk.disk, true)?;

        ensure!(seen.proven == Some(true), "{kind:?}: {seen:?}");
        ensure!(seen.sent_bytes >= Some(probe::BYTES) && seen.arrived_bytes > Some(0), "{kind:?}: {seen:?}");
        ensure!(seen.mount.as_deref() == Some(walk.mount.as_str()), "{kind:?}: {seen:?}");
        // Linux 6.1 trims whole free extents of XFS, and all that is not allocated of btrfs.
        ensure!(seen.trimmed_more == (kind != Kind::Ext4), "{kind:?}: {seen:?}");
        let after = walk.disk.allocated_bytes()?;
        ensure!(after <= before + 4 * MIB, "{kind:?}: the image grew from {before} to {after}");
        ensure!(walk.checksums()? == sums, "{kind:?}: the files are not what they were");
        if kind == Kind::Ext4 {
            let blind = probe(&guest, &walk.disk, false)?;
            ensure!(blind.proven == Some(true) && blind.arrived_bytes.is_none(), "{blind:?}");
        }
        walk.unmount_and_check()?;
        guest.remove_disk(&walk.disk)?;
    }
    Ok(())
}

#[test]
fn closed_ways_end_where_they_do() -> Result<()> {
    let guest = Guest::lease()?;
    guest.start_agent("")?;
    let ignores = Walk::add(&guest, Kind::Ext4, DiskSpec::new("ignores", GIB).discard(Discard::Ignore))?;
    ignores.keep_files()?;

    let seen = probe(&guest, &ignores.disk, true)?;
    ensure!((seen.proven, seen.ended_at) == (Some(false), Some(Layer::Drive)), "{seen:?}");
    ensure!(seen.sent_bytes >= Some(probe::BYTES) && seen.arrived_bytes == Some(0), "{seen:?}");
    let blind = probe(&guest, &ignores.disk, false)?;
    ensure!((blind.proven, blind.ended_at) == (Some(false), None), "{blind:?}");
    // A trim that goes nowhere makes ext4 forget what it could free; a probe does not.
    let free = claimed(&guest, &ignores.mount)?;
    ensure!(free >= 850 * MIB, "ext4 looked at {free} bytes only after the probe");
    ensure!(claimed(&guest, &ignores.mount)? < 100 * MIB, "that was for good");
    ignores.unmount_and_check()?;
    guest.remove_disk(&ignores.disk)?;

    // It keeps the clusters that a discard frees. QEMU's monitor tells neither that nor, of a disk that was added later,
    // whether the drive passes discards on.
    let kept = DiskSpec::new("kept", GIB).qcow2().format_property("pass-discard-request", false);
    let kept = Walk::add(&guest, Kind::Ext4, kept)?;
    let seen = probe(&guest, &kept.disk, true)?;
    ensure!((seen.proven, seen.ended_at) == (Some(false), None), "{seen:?}");
    ensure!(seen.text.contains("or the format keeps"), "{seen:?}");
    kept.unmount_and_check()
}
