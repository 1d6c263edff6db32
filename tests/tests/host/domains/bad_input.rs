//! What is away, wrong or ends meanwhile: said in a line with what to do, and other VMs go on.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use trimtab_controller::model::trouble::Kind;
use trimtab_controller::trim::ports::Vmm;
use trimtab_controller::vmm::HostVmm;
use trimtab_tests::libvirt::Libvirt;
use trimtab_tests::programs;

use super::{Shape, folder, raw};

/// `trimtab`, its exit code and all that it prints.
fn trimtab(words: &[&str]) -> Result<(i32, String)> {
    let done = Command::new(programs::trimtab()?).args(words).env("NO_COLOR", "1").output()?;
    let text = [done.stdout, done.stderr].concat();
    Ok((done.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned()))
}

#[tokio::test]
async fn a_domain_that_ends() -> Result<()> {
    let libvirt = Libvirt::start()?;
    raw(&libvirt, "a.img")?;
    let shape = Shape::start(
        &libvirt,
        "ends",
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='IMAGES/a.img'/>
           <target dev='sda' bus='scsi'/></disk>",
    )?;
    let vmm = HostVmm::of(&shape.vm().await?);
    shape.virsh("destroy")?;
    ensure!(vmm.with_monitor().counters().await.is_err_and(|trouble| trouble.kind == Kind::VmOff));
    let vmm = HostVmm::of(&shape.vm().await?);
    shape.virsh("undefine")?;
    for trouble in [vmm.look().await.map(drop), vmm.counters().await.map(drop)] {
        let trouble = trouble.err().context("it is gone")?;
        ensure!(trouble.kind == Kind::VmOff && trouble.text.contains(&shape.name), "{trouble}");
        ensure!(trouble.hint.is_some());
    }
    Ok(())
}

#[test]
fn images_that_are_none() -> Result<()> {
    let libvirt = Libvirt::start()?;
    let images = folder(&libvirt)?;
    raw(&libvirt, "good.img")?;
    std::os::unix::fs::symlink("nowhere", images.join("dangling.img"))?;
    ensure!(Command::new("mkfifo").arg(images.join("fifo.img")).status()?.success());
    for name in ["good", "dangling", "fifo"] {
        let devices = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw' discard='unmap'/>
               <source file='IMAGES/{name}.img'/><target dev='sda' bus='scsi'/></disk>"
        );
        Shape::define(&libvirt, name, &devices)?;
    }
    let (_, text) = trimtab(&["--connect", &libvirt.uri(), "survey"])?;
    for words in ["good.img", "dangling.img", "fifo.img"] {
        ensure!(text.contains(words), "{words}: {text}");
    }
    let (_, json) = trimtab(&["--connect", &libvirt.uri(), "survey", "--json"])?;
    for words in ["No such file or directory", "neither a regular file nor a block device"] {
        ensure!(json.contains(words), "{words}: {json}");
    }
    Ok(())
}

#[test]
fn libvirt_that_is_away_or_elsewhere() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let away = format!("qemu+unix:///system?socket={}", folder.path().join("none").display());
    let file = folder.path().join("fleet.toml");
    fs::write(&file, "[[vm]]\nname = \"plain\"\nagent = \"unix:/run/plain.vsock\"\n")?;
    let file = file.display().to_string();

    let (exit, text) = trimtab(&["--connect", &away, "--inventory", &file, "list"])?;
    ensure!(exit == 64 && text.contains("plain") && text.contains("it does not run"), "{exit} {text}");
    ensure!(text.contains("start libvirtd"), "{text}");
    let (exit, text) = trimtab(&["--connect", &away, "--inventory", &file, "list", "web-1"])?;
    ensure!(
        exit == 1 && text.contains("no VM is called \"web-1\"") && text.contains("does not run"),
        "{exit} {text}"
    );
    let (exit, text) = trimtab(&["--connect", "qemu+ssh://node2/system", "survey"])?;
    ensure!(exit == 2 && text.contains("run trimtab on that host"), "{exit} {text}");
    let (exit, text) = trimtab(&["--connect", "nosuch:///system", "--inventory", &file, "survey", "--json"])?;
    ensure!(exit != 0 && text.contains("\"no_libvirt\""), "{exit} {text}");
    Ok(())
}

#[test]
fn libvirt_that_hangs_costs_its_deadline() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("libvirt-sock");
    // It takes connections, as a daemon that was stopped does, and says nothing.
    let _listener = std::os::unix::net::UnixListener::bind(&socket)?;
    let uri = format!("qemu+unix:///system?socket={}", socket.display());
    let began = Instant::now();
    let (exit, text) = trimtab(&["--connect", &uri, "list"])?;
    ensure!(
        exit == 1 && text.contains("no answer within 10 s") && text.contains("virsh list"),
        "{exit} {text}"
    );
    ensure!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    Ok(())
}

#[test]
fn the_taint_is_told_of_once_and_only_where_it_is_asked_for() -> Result<()> {
    let libvirt = Libvirt::start()?;
    for name in ["one", "two"] {
        raw(&libvirt, &format!("{name}.img"))?;
        let devices = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='IMAGES/{name}.img'/>
               <target dev='sda' bus='scsi'/></disk>"
        );
        Shape::start(&libvirt, name, &devices)?;
    }
    let uri = libvirt.uri();
    let (_, text) = trimtab(&["--connect", &uri, "survey"])?;
    ensure!(!text.contains("taint"), "{text}");
    ensure!(!libvirt.virsh(&["dominfo", "trimtab-test-one"])?.contains("custom monitor"));
    let (_, text) = trimtab(&["--connect", &uri, "survey", "--qmp", "trimtab-test-one"])?;
    ensure!(text.matches("tainted").count() == 1 && text.contains("trimtab-test-one"), "{text}");
    ensure!(libvirt.virsh(&["dominfo", "trimtab-test-one"])?.contains("custom monitor"));
    ensure!(
        !libvirt.virsh(&["dominfo", "trimtab-test-two"])?.contains("custom monitor"),
        "it was not asked about"
    );
    Ok(())
}
