//! What concerns a VM as a whole.

use std::fs;

use anyhow::{Result, ensure};
use trimtab_tests::GIB;
use trimtab_tests::guest::{DiskSpec, Guest, GuestSpec};
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk};

use super::table::{self, Row};
use super::{deleted, finding};

#[test]
fn a_vm_that_cannot_be_spoken_to() -> Result<()> {
    let guest = Guest::boot(GuestSpec::new("vm"))?;
    let walk = deleted(Walk::add(&guest, Kind::Ext4, DiskSpec::new("disk", GIB))?)?;
    let trimtab = Trimtab::of(&guest)?;
    let mut rows = Vec::new();
    let mut told = |trimtab: &Trimtab, name, layer, mended_by, after| -> Result<()> {
        let ended = trimtab.doctor(&[guest.name()])?;
        ensure!(ended.exit == 64, "exit {}", ended.exit);
        let document = ended.document()?;
        let found = finding(document.only_vm()?, layer)?;
        rows.push(Row::new(name, (found, &walk.disk), None, mended_by, after));
        // The host's side is read all the same.
        document.disk(&walk.disk).map(drop)
    };

    let qmp_alone = guest.directory().join("qmp-alone.toml");
    let socket = guest.qmp_socket().display().to_string();
    fs::write(&qmp_alone, format!("[[vm]]\nname = \"vm\"\nqmp = \"{socket}\"\n"))?;
    let qmp_alone = Trimtab::with(&qmp_alone)?;
    told(
        &qmp_alone,
        "a VM without a vsock device, or with one that the inventory does not name",
        ("link", "unknown"),
        "`agent = …` in its inventory, the agent not yet started",
        None,
    )?;
    told(&trimtab, "a guest without an agent", ("agent", "cut"), "the agent started", Some(DELETED_MIB))?;
    guest.start_agent("")?;
    guest.pause()?;
    told(&trimtab, "a paused VM", ("agent", "unknown"), "the VM resumed", Some(DELETED_MIB))?;
    let paused = trimtab.trim(&[guest.name()])?;
    ensure!(paused.exit == 32, "exit {}: {}", paused.exit, paused.stdout);
    guest.cont()?;

    let document = trimtab.trim(&[guest.name()])?.document()?;
    ensure!(document.disk(&walk.disk)?["verdict"] == "reclaimed", "{document}");
    table::check("vm", &rows)
}
