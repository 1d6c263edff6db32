//! A guest in libvirt: a [`Guest`] in all but who runs QEMU.

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Libvirt, xml};
use crate::guest::{Disk, DiskSpec, FrontEnd, Guest, GuestSpec, Prepared};

/// A domain that runs, and is undefined when dropped.
#[derive(Debug)]
pub struct Domain {
    libvirt: Libvirt,
    name: String,
    guest: Guest,
}

impl Domain {
    pub(super) fn boot(libvirt: &Libvirt, spec: GuestSpec) -> Result<Self> {
        let name = format!("trimtab-test-{}", spec.name);
        let prepared = Prepared::new(&spec)?;
        let mut disks = String::new();
        for (disk, image) in spec.disks.iter().zip(&prepared.images) {
            let target = free_target(disk.front_end, &disks)?;
            disks.push_str(&xml::disk(disk, image, &target));
        }
        let text = xml::domain(&name, &spec, &prepared.place, &prepared.kernel, &disks);
        let file = prepared.place.0.join("domain.xml");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        libvirt.virsh(&["define", &file.display().to_string()])?;
        libvirt.virsh(&["start", &name])?;
        let guest = Guest::around(&spec, prepared, None)?;
        Ok(Self { libvirt: libvirt.clone(), name, guest })
    }

    /// Its name in libvirt.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The libvirtd that it is in.
    pub fn libvirt(&self) -> &Libvirt {
        &self.libvirt
    }

    /// The XML that it runs with.
    pub fn live_xml(&self) -> Result<String> {
        self.libvirt.virsh(&["dumpxml", &self.name])
    }

    /// The XML that it will start with.
    pub fn inactive_xml(&self) -> Result<String> {
        self.libvirt.virsh(&["dumpxml", "--inactive", &self.name])
    }

    /// Switches it off without asking the guest.
    pub fn switch_off(&self) -> Result<()> {
        self.libvirt.virsh(&["destroy", &self.name]).map(drop)
    }

    /// Starts it again and returns when it takes commands. Its disks may have other names then.
    pub fn switch_on(&self) -> Result<()> {
        self.guest.expect_a_new_qemu()?;
        self.libvirt.virsh(&["start", &self.name])?;
        self.guest.find_the_new_qemu()
    }

    /// Off and on, so that changes of its configuration hold.
    pub fn power_cycle(&self) -> Result<()> {
        self.switch_off()?;
        self.switch_on()
    }

    /// Attaches a disk while it runs, and to its configuration too, and returns when the guest has it.
    pub fn add_disk(&self, spec: &DiskSpec) -> Result<Disk> {
        let target = free_target(spec.front_end, &self.live_xml()?)?;
        self.guest.add_disk_by(spec, |image| {
            let file = self.guest.directory().join("disk.xml");
            fs::write(&file, xml::disk(spec, image, &target))?;
            let file = file.display().to_string();
            self.libvirt.virsh(&["attach-device", &self.name, &file, "--live", "--config"]).map(drop)
        })
    }

    /// Writes an inventory that names the hybrid socket of this domain, which libvirt does not know, and nothing else.
    pub fn write_inventory(&self) -> Result<PathBuf> {
        let path = self.guest.directory().join("inventory.toml");
        let text = format!("[[vm]]\nname = {:?}\nagent = {:?}\n", self.name, self.guest.agent_endpoint());
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Deref for Domain {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        &self.guest
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // Off already, or the daemon gone: then there is nothing left to end.
        let _ = self.libvirt.virsh(&["destroy", &self.name]);
        let _ = self.libvirt.virsh(&["undefine", &self.name]);
    }
}

/// The first target, such as `sda`, that `xml` does not have.
fn free_target(front_end: FrontEnd, xml: &str) -> Result<String> {
    let letters = if front_end == FrontEnd::VirtioBlk { "vd" } else { "sd" };
    let free = ('a'..='z').map(|letter| format!("{letters}{letter}"));
    free.into_iter().find(|target| !xml.contains(&format!("dev='{target}'"))).context("no target is free")
}
