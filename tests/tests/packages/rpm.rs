//! The RPM, installed into a root as an image builder does it. No RPM distribution is at hand: the root is the same
//! Debian's, so what is proven is the payload, the scripts in a root that does not run, and the units; not a
//! distribution's own macros, policy or systemd.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use trimtab_tests::MIB;
use trimtab_tests::guest::{Guest, GuestSpec, root_image};
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::ruling;

use crate::common::checked;
use crate::debian::{allocated, fill_and_delete, processes, show};
use crate::packages::{built, run};

/// A copy of the bare root with the RPM in it.
fn root_with_rpm(directory: &Path) -> Result<PathBuf> {
    let (root, mounted) = (directory.join("root.raw"), directory.join("mounted"));
    std::fs::create_dir(&mounted)?;
    run(Command::new("cp").arg("--sparse=always").arg(root_image()?).arg(&root))?;
    // In mounts of its own: they go with the shell, however it ends. Without its dependencies, which are Debian's here,
    // and with the word that Debian's rpm wants to hear.
    let install = "mount -o loop \"$0\" \"$1\"
                   rpm --root \"$1\" --dbpath /var/lib/rpm --force-debian --nodeps -i \"$2\"
                   umount \"$1\"";
    let rpm = built("trimtab-agent-", ".rpm")?;
    let mut command = Command::new("unshare");
    run(command.args(["--mount", "sh", "-eu", "-c", install]).arg(&root).arg(&mounted).arg(rpm))?;
    Ok(root)
}

#[test]
fn its_payload_boots_and_is_trimmed() -> Result<()> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let root = root_with_rpm(directory.path())?;
    let guest = Guest::boot(GuestSpec::systemd("rpm", &root))?;
    guest.mount_unlisted()?;

    ensure!(guest.sh("systemctl is-system-running")?.trim() == "running");
    ensure!(show(&guest, "trimtab-agent.socket", "SubState")? == "listening", "its preset did not enable it");
    ensure!(guest.sh("systemctl is-enabled trimtab-trim.timer || true")?.trim() == "disabled");
    ensure!(processes(&guest)? == 0);
    let disks = ["home", "tmp", "unlisted"];
    fill_and_delete(&guest, &["/home", "/tmp", "/mnt/unlisted"], 32)?;
    let full = allocated(&guest, &disks)?;

    let ended = Trimtab::of(&guest)?.trim(&[guest.name()])?;

    let document = checked(&ended)?;
    ensure!(ended.exit == 0, "exit {}: {document}", ended.exit);
    for ((disk, full), now) in disks.iter().zip(full).zip(allocated(&guest, &disks)?) {
        ensure!(ruling(document.disk(&guest.disk(disk)?)?) == "reclaimed by rule 5", "{disk}: {document}");
        ensure!(full.saturating_sub(now) >= 30 * MIB, "{disk}: {full} and now {now}");
    }
    Ok(())
}
