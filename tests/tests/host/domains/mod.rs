//! The controller and a real libvirtd: what it reads of domains, what stays untouched, what it says when something is
//! away. No guest boots here: QEMU with disks and no kernel is up in a second.

mod bad_input;
mod fix;
mod look;
mod rights;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use trimtab_controller::inventory::{Connect, Inventory, Sources};
use trimtab_controller::model::disk::{HostDisk, VmmView};
use trimtab_controller::model::vm::Vm;
use trimtab_controller::trim::ports::Vmm;
use trimtab_controller::vmm::HostVmm;
use trimtab_tests::MIB;
use trimtab_tests::libvirt::Libvirt;

/// A domain without a guest; goes with its libvirtd.
struct Shape {
    libvirt: Libvirt,
    name: String,
}

/// A folder for images beside the daemon's own.
fn folder(libvirt: &Libvirt) -> Result<PathBuf> {
    let folder = libvirt.directory().join("images");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A sparse image of 64 MiB.
fn raw(libvirt: &Libvirt, name: &str) -> Result<PathBuf> {
    let path = folder(libvirt)?.join(name);
    File::create(&path)?.set_len(64 * MIB)?;
    Ok(path)
}

/// `qemu-img create` in the folder of images.
fn qemu_img(libvirt: &Libvirt, words: &str) -> Result<()> {
    let mut command = Command::new("qemu-img");
    let done =
        command.current_dir(folder(libvirt)?).args(["create", "-q"]).args(words.split(' ')).status()?;
    ensure!(done.success(), "qemu-img create {words}");
    Ok(())
}

impl Shape {
    /// Defines `trimtab-test-NAME` with these devices; IMAGES in them stands for the folder of images.
    fn define(libvirt: &Libvirt, name: &str, devices: &str) -> Result<Self> {
        let name = format!("trimtab-test-{name}");
        let devices = devices.replace("IMAGES", &folder(libvirt)?.display().to_string());
        let xml = format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os><devices>\
             <emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/>{devices}</devices>\
             <seclabel type='none'/></domain>"
        );
        let file = libvirt.directory().join(format!("{name}.xml"));
        fs::write(&file, xml)?;
        libvirt.virsh(&["define", &file.display().to_string()])?;
        Ok(Self { libvirt: libvirt.clone(), name })
    }

    fn start(libvirt: &Libvirt, name: &str, devices: &str) -> Result<Self> {
        let shape = Self::define(libvirt, name, devices)?;
        shape.virsh("start")?;
        Ok(shape)
    }

    /// `virsh COMMAND NAME WORDS…`.
    fn virsh_with(&self, command: &str, words: &[&str]) -> Result<String> {
        self.libvirt.virsh(&[&[command, &self.name], words].concat())
    }

    fn virsh(&self, command: &str) -> Result<String> {
        self.virsh_with(command, &[])
    }

    /// A command of QEMU's human monitor, as a person with virsh would give it; taints the domain.
    fn monitor(&self, line: &str) -> Result<String> {
        self.virsh_with("qemu-monitor-command", &["--hmp", line])
    }

    /// Whether libvirt holds against the domain that its monitor was used.
    fn is_tainted(&self) -> Result<bool> {
        Ok(self.virsh("dominfo")?.contains("custom monitor"))
    }

    /// As the inventory has it.
    async fn vm(&self) -> Result<Vm> {
        let vm = inventory(&self.libvirt).await?.vms.into_iter().find(|vm| vm.name == self.name);
        vm.with_context(|| format!("{} is not listed", self.name))
    }

    async fn look(&self) -> Result<VmmView> {
        Ok(HostVmm::of(&self.vm().await?).look().await?)
    }
}

/// The disk with this target.
fn disk<'a>(view: &'a VmmView, target: &str) -> Result<&'a HostDisk> {
    let found = view.disks.iter().find(|disk| disk.target.as_deref() == Some(target));
    match found {
        Some(disk) => Ok(disk),
        None => bail!("no disk {target}: {view:#?}"),
    }
}

async fn inventory(libvirt: &Libvirt) -> Result<Inventory> {
    let none = libvirt.directory().join("none.toml");
    fs::write(&none, "")?;
    let sources = Sources { file: Some(none), connect: Connect::To(libvirt.uri().parse()?), token: None };
    Ok(Inventory::load(&sources).await?)
}
