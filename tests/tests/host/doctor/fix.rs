//! `doctor --fix`: what it changes in a domain holds after a power cycle, and then the trim frees.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use trimtab_tests::guest::{Discard, Disk, DiskSpec, FrontEnd, GuestSpec};
use trimtab_tests::libvirt::Libvirt;
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk};
use trimtab_tests::{GIB, MIB};

use super::table::{self, Row};
use super::{deleted, finding, trim};

const DISKS: [(&str, &str); 2] = [
    ("imported", "a domain's disk of which the XML says no `discard=`"),
    ("ignored", "a domain's disk with `discard='ignore'`"),
];

#[test]
fn what_the_doctor_mends_frees_after_a_power_cycle() -> Result<()> {
    let libvirt = Libvirt::start()?;
    let spec = GuestSpec::new("mended")
        .disk(DiskSpec::new("imported", GIB).qcow2().on(FrontEnd::VirtioBlk).discard(Discard::Unset))
        .disk(DiskSpec::new("ignored", GIB).discard(Discard::Ignore));
    let domain = libvirt.boot(spec)?;
    let mut walks = Vec::new();
    for (name, _) in DISKS {
        walks.push(deleted(Walk::on(&domain, Kind::Ext4, domain.disk(name)?)?)?);
    }
    domain.start_agent("")?;
    let trimtab = Trimtab::of_domain(&domain)?;
    let name = domain.name();

    let mut rows = vec![a_domain_without_vsock(&libvirt, &walks[0].disk)?];
    let document = trimtab.doctor(&[name])?.document()?;
    for ((_, title), walk) in DISKS.iter().zip(&walks) {
        let found = finding(document.disk(&walk.disk)?, ("drive", "cut")).context(*title)?;
        let mended_by = "`trimtab doctor --fix --yes`, a power cycle";
        rows.push(Row::new(title, (found, &walk.disk), Some(0), mended_by, Some(DELETED_MIB)));
        let before = walk.disk.allocated_bytes()?;
        let said = trim(walk, &[], &trimtab, &["--anyway", "drive"])?;
        ensure!(before.abs_diff(walk.disk.allocated_bytes()?) < MIB, "{title}: {said:#}");
    }

    let unasked = trimtab.doctor(&[name, "--fix"])?;
    ensure!(!domain.inactive_xml()?.contains("discard='unmap'"), "nobody agreed: {}", unasked.stdout);
    let fixed = trimtab.doctor(&[name, "--fix", "--yes"])?.document()?;
    let mended = fixed.only_vm()?["mended"].as_array().context("no mended")?;
    ensure!(mended.len() == 2 && mended.iter().all(|one| one["outcome"] == "done"), "{fixed}");
    ensure!(domain.inactive_xml()?.matches("discard='unmap'").count() == 2, "{}", domain.inactive_xml()?);
    ensure!(!domain.live_xml()?.contains("discard='unmap'"), "libvirt changes no running disk");
    // Until then the way is as closed as it was.
    let document = trimtab.doctor(&[name])?.document()?;
    finding(document.disk(&walks[0].disk)?, ("drive", "cut"))?;

    for walk in &walks {
        walk.unmount_and_check()?;
    }
    domain.power_cycle()?;
    let mut walks = Vec::new();
    for (name, _) in DISKS {
        walks.push(Walk::mounted(&domain, Kind::Ext4, domain.disk(name)?)?);
    }
    domain.start_agent("")?;
    let healthy = trimtab.doctor(&[name])?;
    ensure!(healthy.exit == 0, "exit {}: {}", healthy.exit, healthy.document()?);
    for walk in &walks {
        let before = walk.disk.allocated_bytes()?;
        let said = trim(walk, &[], &trimtab, &[])?;
        let fell = before.saturating_sub(walk.disk.allocated_bytes()?);
        ensure!(fell >= DELETED_MIB * MIB / 100 * 95, "{fell} bytes came back: {said:#}");
        ensure!(said["verdict"] == json!("reclaimed"), "{said:#}");
    }
    table::check("fix", &rows)
}

/// One that never heard of vsock, as most. No guest boots in it.
fn a_domain_without_vsock(libvirt: &Libvirt, any: &Disk) -> Result<Row> {
    let name = "trimtab-test-plain";
    let file = libvirt.directory().join("plain.xml");
    fs::write(
        &file,
        format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type machine='q35'>hvm</type>\
             </os><devices><memballoon model='none'/></devices></domain>"
        ),
    )?;
    libvirt.virsh(&["define", &file.display().to_string()])?;
    libvirt.virsh(&["start", name])?;
    let trimtab = Trimtab::connected(&libvirt.uri())?;
    let document = trimtab.doctor(&[name, "--fix", "--yes"])?.document()?;
    let vm = document.only_vm()?;
    // No device is added that the host could not open at the next start.
    let possible = Path::new("/dev/vhost-vsock").exists();
    let outcome = if possible { "done" } else { "failed" };
    ensure!(vm["mended"][0]["layer"] == "link" && vm["mended"][0]["outcome"] == outcome, "{document}");
    let inactive = libvirt.virsh(&["dumpxml", "--inactive", name])?;
    ensure!(inactive.contains("<vsock") == possible, "{inactive}");
    let done = "`doctor --fix --yes` where the host has vhost-vsock; not started anew in the test";
    let row =
        Row::new("a domain without a vsock device", (finding(vm, ("link", "cut"))?, any), None, done, None);
    libvirt.virsh(&["destroy", name])?;
    libvirt.virsh(&["undefine", name])?;
    Ok(row)
}
