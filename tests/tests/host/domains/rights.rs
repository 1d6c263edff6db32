//! Who may do what: a user in no group lists and surveys what stat allows, and is told what more rights would show.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Result, ensure};
use trimtab_tests::libvirt::Libvirt;
use trimtab_tests::programs;

use super::{Shape, folder, qemu_img, raw};

/// `trimtab` as the user nobody, with what it prints.
fn as_nobody(libvirt: &Libvirt, words: &[&str]) -> Result<(i32, String)> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--"]);
    command.arg(programs::trimtab()?).args(["--connect", &libvirt.read_only_uri()]).args(words);
    let done = command.env("NO_COLOR", "1").output()?;
    let text = [done.stdout, done.stderr].concat();
    Ok((done.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn a_user_in_no_group() -> Result<()> {
    let libvirt = Libvirt::start()?;
    raw(&libvirt, "open.img")?;
    qemu_img(&libvirt, "-f qcow2 closed.qcow2 64M")?;
    let images = folder(&libvirt)?;
    // As /var/lib/libvirt/images: nobody may list it, anybody may look at what they know the name of.
    for path in [libvirt.directory(), images.as_path()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o711))?;
    }
    fs::set_permissions(images.join("closed.qcow2"), fs::Permissions::from_mode(0o600))?;
    let shape = Shape::start(
        &libvirt,
        "rights",
        "<disk type='file' device='disk'><driver name='qemu' type='raw' discard='unmap'/>
           <source file='IMAGES/open.img'/><target dev='sda' bus='scsi'/></disk>
         <disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/>
           <source file='IMAGES/closed.qcow2'/><target dev='sdb' bus='scsi'/></disk>",
    )?;
    let (exit, text) = as_nobody(&libvirt, &["list"])?;
    ensure!(exit == 0 && text.contains(&shape.name) && text.contains("running"), "{exit} {text}");
    let (_, text) = as_nobody(&libvirt, &["survey", "--json", "-q"])?;
    let document: serde_json::Value = serde_json::from_str(&text)?;
    let disks = &document["vms"][0]["disks"];
    for (disk, expected) in [(&disks[0], None), (&disks[1], Some("run as root"))] {
        ensure!(disk["allocated_bytes"].is_u64(), "stat is open to everybody: {disk:#}");
        ensure!(disk["error"]["hint"].as_str() == expected, "{disk:#}");
    }
    let (exit, text) = as_nobody(&libvirt, &["survey", "--qmp"])?;
    ensure!(
        exit != 0 && text.contains("run as root, or as a user that libvirt lets change things"),
        "{exit} {text}"
    );
    Ok(())
}
