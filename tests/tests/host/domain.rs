//! A domain of libvirt from list to trim: what XML, the guest and the image tell is enough for an account, and nothing
//! taints the domain that was not asked for.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use trimtab_tests::guest::{Discard, Disk, DiskSpec, FrontEnd, GuestSpec};
use trimtab_tests::libvirt::{Domain, Libvirt};
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk, freed, number};
use trimtab_tests::{GIB, MIB};

const DELETED: u64 = DELETED_MIB * MIB;

/// What libvirt holds against a domain that was meddled with; our vsock device is one such thing from the start.
fn is_tainted_by_a_monitor(domain: &Domain) -> Result<bool> {
    Ok(domain.libvirt().virsh(&["dominfo", domain.name()])?.contains("custom monitor control"))
}

fn fell(disk: &Disk, before: u64) -> Result<u64> {
    Ok(before.saturating_sub(disk.allocated_bytes()?))
}

#[test]
fn a_domain_from_list_to_trim() -> Result<()> {
    let libvirt = Libvirt::start()?;
    let spec = GuestSpec::new("walk")
        .disk(DiskSpec::new("open", GIB).on(FrontEnd::VirtioBlk))
        .disk(DiskSpec::new("clusters", GIB).qcow2())
        .disk(DiskSpec::new("ahci", GIB).on(FrontEnd::Sata))
        .disk(DiskSpec::new("imported", GIB).qcow2().on(FrontEnd::VirtioBlk).discard(Discard::Unset));
    let domain = libvirt.boot(spec)?;
    let kinds =
        [("open", Kind::Ext4), ("clusters", Kind::Xfs), ("ahci", Kind::Btrfs), ("imported", Kind::Ext4)];
    let mut walks = Vec::new();
    for (name, kind) in kinds {
        let walk = Walk::on(&domain, kind, domain.disk(name)?)?;
        walk.write_and_delete(DELETED_MIB)?;
        walks.push(walk);
    }
    domain.start_agent("")?;
    let trimtab = Trimtab::of_domain(&domain)?;
    let name = domain.name();

    let listed = trimtab.run(&["list"])?;
    ensure!(listed.exit == 0 && listed.stdout.contains(name), "{}{}", listed.stdout, listed.stderr);
    let survey = trimtab.run(&["survey", "--json"])?.document()?;
    for walk in &walks {
        let said = survey.disk(&walk.disk)?;
        ensure!(said["paired_by"] == "serial", "{said:#}");
        ensure!(number(said, "allocated_bytes")?.abs_diff(walk.disk.allocated_bytes()?) < MIB, "{said:#}");
    }
    let doctor = trimtab.doctor(&[name])?;
    let examined = doctor.document()?;
    for walk in &walks {
        let expected = if walk.disk.name == "imported" { "drive".into() } else { serde_json::Value::Null };
        ensure!(examined.disk(&walk.disk)?["first_cut"] == expected, "{examined}");
    }
    ensure!(doctor.exit == 64, "exit {}", doctor.exit);

    let before: Vec<u64> = walks.iter().map(|walk| walk.disk.allocated_bytes()).collect::<Result<_>>()?;
    let trimmed = trimtab.trim(&[name])?;
    let document = trimmed.document()?;
    for (walk, before) in walks.iter().zip(before) {
        let said = document.disk(&walk.disk)?;
        // QEMU was not asked.
        ensure!(said["arrived_bytes"].is_null(), "{said:#}");
        if walk.disk.name == "imported" {
            ensure!(said["verdict"] == "cut_in_vmm" && said["rule"] == "2a", "{said:#}");
            ensure!(walk.disk.allocated_bytes()? == before, "{said:#}");
        } else {
            ensure!(said["verdict"] == "reclaimed", "{said:#}");
            ensure!(freed(said)?.abs_diff(fell(&walk.disk, before)?) < MIB, "{said:#}");
            ensure!(freed(said)? >= DELETED / 100 * 95, "{said:#}");
        }
    }
    ensure!(trimmed.exit == 64, "exit {}", trimmed.exit);
    ensure!(!is_tainted_by_a_monitor(&domain)?, "nobody asked for QMP");

    walks[0].write_and_delete(DELETED_MIB)?;
    let asked = trimtab.trim(&[name, "--qmp", "--disk", walks[0].disk.device.trim_start_matches("/dev/")])?;
    let document = asked.document()?;
    let said = document.disk(&walks[0].disk)?;
    ensure!(number(said, "arrived_bytes")? >= DELETED, "{said:#}");
    ensure!(is_tainted_by_a_monitor(&domain)?, "QMP by libvirt taints, or this test cannot see it");
    ensure!(asked.stderr.contains("taint"), "it is said once: {}", asked.stderr);
    Ok(())
}

#[test]
fn a_guest_without_an_agent_is_trimmed_by_qemu_ga() -> Result<()> {
    let libvirt = Libvirt::start()?;
    let spec = GuestSpec::new("qga").without_agent().with_qemu_ga()?.disk(DiskSpec::new("disk", GIB));
    let domain = libvirt.boot(spec)?;
    let walk = Walk::on(&domain, Kind::Ext4, domain.disk("disk")?)?;
    walk.write_and_delete(DELETED_MIB)?;
    domain.start_qemu_ga()?;
    let connected = Instant::now() + Duration::from_secs(30);
    // Without a taint, unlike qemu-agent-command.
    while let Err(error) = libvirt.virsh(&["domfsinfo", domain.name()]) {
        ensure!(Instant::now() < connected, "qemu-ga does not answer: {error:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let trimtab = Trimtab::connected(&libvirt.uri())?;
    let before = walk.disk.allocated_bytes()?;

    let ended = trimtab.trim(&[domain.name(), "--via", "qga"])?;

    let document = ended.document().with_context(|| ended.stderr.clone())?;
    let said = document.disk(&walk.disk)?;
    ensure!(document.only_vm()?["via"] == "qga", "{document}");
    ensure!(said["claimed_bytes"].is_null() && said["arrived_bytes"].is_null(), "{said:#}");
    ensure!(said["verdict"] == "reclaimed", "{said:#}");
    ensure!(freed(said)?.abs_diff(fell(&walk.disk, before)?) < MIB, "{said:#}");
    ensure!(freed(said)? >= DELETED / 100 * 95, "{said:#}");
    ensure!(!is_tainted_by_a_monitor(&domain)?, "virDomainFSTrim does not taint");
    let tainted = libvirt.virsh(&["dominfo", domain.name()])?;
    ensure!(!tainted.contains("guest agent"), "{tainted}");
    Ok(())
}
