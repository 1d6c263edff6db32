//! A guest that a backup has frozen: the hook's flag keeps trims away until it has thawed.

use anyhow::{Context, Result, ensure};
use trimtab_tests::GIB;
use trimtab_tests::guest::{DiskSpec, Guest};
use trimtab_tests::programs::rig_file;
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk, ruling};

use crate::common::checked;

#[test]
fn a_frozen_filesystem_is_left_alone_until_it_has_thawed() -> Result<()> {
    let guest = Guest::lease()?;
    let walk = Walk::add(&guest, Kind::Ext4, DiskSpec::new("backed-up", GIB))?;
    walk.keep_files()?;
    walk.write_and_delete(DELETED_MIB)?;
    let hook = std::fs::read_to_string(rig_file("../packaging/guest/fsfreeze-hook.d/trimtab"))
        .context("cannot read the hook")?;
    guest.sh(&format!("cat >/tmp/hook <<'END'\n{hook}END\nchmod 755 /tmp/hook"))?;
    guest.start_agent("")?;
    let sent = guest.discarded_bytes(&walk.disk)?;

    // As qemu-ga does it: the hook, the freeze.
    guest.sh(&format!("/tmp/hook freeze && fsfreeze --freeze {}", walk.mount))?;
    let frozen = Trimtab::of(&guest)?.trim(&[guest.name()]);
    guest.sh(&format!("fsfreeze --unfreeze {} && /tmp/hook thaw", walk.mount))?;

    let frozen = frozen?;
    let document = checked(&frozen)?;
    let said = document.disk(&walk.disk)?;
    ensure!(ruling(said) == "not_run by rule 2" && frozen.exit == 75, "exit {}: {said:#}", frozen.exit);
    ensure!(document.filesystem(&walk.mount)?["skipped"]["reason"] == "frozen", "{document}");
    ensure!(guest.discarded_bytes(&walk.disk)? == sent, "a frozen filesystem was trimmed");

    let document = checked(&Trimtab::of(&guest)?.trim(&[guest.name()])?)?;
    ensure!(ruling(document.disk(&walk.disk)?) == "reclaimed by rule 5", "{document}");
    walk.unmount_and_check()
}
