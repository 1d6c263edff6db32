//! What a guest is to be, and QEMU's command line for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Prepared;
use super::disk::{DiskSpec, FrontEnd, option_value};
use super::initrd::Base;
use crate::programs;

/// Where the agent lies in a guest.
const AGENT_IN_GUEST: &str = "/usr/bin/trimtab-agent";

/// The kernel's command line.
pub(crate) const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on";

/// PCI slots into which disks can be put while the guest runs.
pub(super) const HOT_PLUG_SLOTS: u8 = 12;

/// Where the guest's console goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Console {
    /// To a file; the rig gives the commands.
    Log,
    /// To this terminal; a person gives the commands.
    Terminal,
}

/// A guest to be. Starts as one with 512 MiB, one processor, the agent and no disk.
#[derive(Clone, Debug)]
pub struct GuestSpec {
    pub(crate) name: String,
    pub(crate) memory_mib: u32,
    pub(crate) processors: u8,
    pub(crate) disks: Vec<DiskSpec>,
    pub(super) base: Base,
    pub(super) vsock: bool,
    files: Vec<(PathBuf, PathBuf)>,
    agent: bool,
    smbios: Vec<String>,
}

impl GuestSpec {
    /// A guest called `name`, also in its inventory.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            memory_mib: 512,
            processors: 1,
            disks: Vec::new(),
            base: Base::Small,
            vsock: true,
            files: Vec::new(),
            agent: true,
            smbios: Vec::new(),
        }
    }

    /// A disk that is there at boot, by `-drive`, so that `discard=` stands on QEMU's command line.
    #[must_use]
    pub fn disk(mut self, disk: DiskSpec) -> Self {
        self.disks.push(disk);
        self
    }

    /// Another file in the guest.
    #[must_use]
    pub fn file(mut self, host: &Path, guest: &str) -> Self {
        self.files.push((host.to_path_buf(), PathBuf::from(guest)));
        self
    }

    /// A program of this host's that links libraries, with those.
    ///
    /// # Errors
    /// `ldd` cannot read it.
    pub fn program(self, host: &Path, guest: &str) -> Result<Self> {
        let linked = Command::new("ldd").arg(host).output().context("cannot run ldd")?;
        let linked = String::from_utf8(linked.stdout)?;
        let libraries = linked.split_whitespace().filter(|word| word.starts_with('/'));
        let spec = self.file(host, guest);
        Ok(libraries.fold(spec, |spec, library| spec.file(Path::new(library), library)))
    }

    /// No agent, so that none need be built.
    #[must_use]
    pub fn without_agent(mut self) -> Self {
        self.agent = false;
        self
    }

    /// A credential for the guest's systemd, in SMBIOS, where a virtualization host has a place for it.
    #[must_use]
    pub fn credential(mut self, name: &str, value: &str) -> Self {
        self.smbios.push(format!("type=11,value=io.systemd.credential:{name}={}", value.replace(',', ",,")));
        self
    }

    /// No vsock device, as most machines have none.
    #[must_use]
    pub fn without_vsock(mut self) -> Self {
        self.vsock = false;
        self
    }

    /// Memory in MiB.
    #[must_use]
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// Processors; each is a thread of the host.
    #[must_use]
    pub fn processors(mut self, processors: u8) -> Self {
        self.processors = processors;
        self
    }

    /// All files that go into the guest, on the host and in the guest.
    pub(super) fn all_files(&self) -> Result<Vec<(PathBuf, PathBuf)>> {
        let mut files = self.files.clone();
        if self.agent {
            files.push((programs::agent()?, PathBuf::from(AGENT_IN_GUEST)));
        }
        Ok(files)
    }

    /// QEMU's command line. Software emulation always: the rig is to work where there is no KVM.
    pub(super) fn command_line(&self, prepared: &Prepared, console: Console) -> Vec<String> {
        let Prepared { place, kernel, images, .. } = prepared;
        let memory = self.memory_mib;
        let mut line: Vec<String> = vec!["qemu-system-x86_64".into()];
        let mut add = |option: &str, value: String| line.extend([option.to_owned(), value]);
        add("-name", self.name.clone());
        add("-machine", "q35,memory-backend=memory".into());
        add("-accel", "tcg".into());
        add("-cpu", "max".into());
        add("-smp", self.processors.to_string());
        add("-m", format!("{memory}M"));
        // Shared with the vsock device's process.
        add("-object", format!("memory-backend-memfd,id=memory,size={memory}M,share=on"));
        add("-kernel", kernel.display().to_string());
        add("-initrd", place.initrd().display().to_string());
        match console {
            Console::Log => {
                // What systemd is at is then in the console's log, should it not come up.
                let status = if self.base == Base::Systemd { " systemd.show_status=yes" } else { "" };
                add("-append", format!("{KERNEL_ARGUMENTS}{status}"));
                add("-serial", format!("file:{}", place.console().display()));
            }
            Console::Terminal => {
                add("-append", format!("{KERNEL_ARGUMENTS} rig.shell=console"));
                add("-serial", "mon:stdio".into());
            }
        }
        add("-pidfile", place.pid_file().display().to_string());

        let listen = "server=on,wait=off";
        if self.vsock {
            add("-chardev", format!("socket,id=vsock,path={}", place.vsock_control().display()));
            add("-device", "vhost-user-vsock-pci,chardev=vsock".into());
        }
        for entry in &self.smbios {
            add("-smbios", entry.clone());
        }
        add("-device", "virtio-serial-pci".into());
        add("-chardev", format!("socket,id=shell,path={},{listen}", place.shell().display()));
        add("-device", "virtserialport,chardev=shell,name=trimtab.shell".into());
        // QMP serves one client at a time per socket: one for the rig, one for what is under test.
        add("-qmp", format!("unix:{},{listen}", place.rig_qmp().display()));
        add("-qmp", format!("unix:{},{listen}", place.qmp().display()));

        add("-device", "virtio-scsi-pci,id=scsi".into());
        // Each costs udev a while, which the small guest does without.
        let slots = if self.base == Base::Small { HOT_PLUG_SLOTS } else { 0 };
        for slot in 0..slots {
            add("-device", format!("pcie-root-port,id=slot{slot},chassis={slot}"));
        }
        let mut sata_port = 0_u8;
        for (disk, image) in self.disks.iter().zip(images) {
            add("-drive", disk.drive_option(image));
            let mut device = format!("{},id={},drive={}", disk.front_end.driver(), disk.name, disk.name);
            match disk.front_end {
                FrontEnd::VirtioScsi => device.push_str(",bus=scsi.0"),
                FrontEnd::Sata => {
                    device.push_str(&format!(",bus=ide.{sata_port}"));
                    sata_port = sata_port.saturating_add(1);
                }
                FrontEnd::VirtioBlk | FrontEnd::Nvme => {}
            }
            if let Some(serial) = &disk.serial {
                device.push_str(&format!(",serial={serial}"));
            }
            for (name, value) in &disk.device_properties {
                device.push_str(&format!(",{name}={}", option_value(value)));
            }
            add("-device", device);
        }
        line.extend(["-nodefaults", "-no-user-config"].map(str::to_owned));
        line.extend(["-display", "none"].map(str::to_owned));
        line
    }
}

/// The directory of one guest, and the names in it.
#[derive(Clone, Debug)]
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn initrd(&self) -> PathBuf {
        self.0.join("initrd")
    }
    pub(crate) fn console(&self) -> PathBuf {
        self.0.join("console.log")
    }
    pub(crate) fn qemu_log(&self) -> PathBuf {
        self.0.join("qemu.log")
    }
    pub(crate) fn vsock_log(&self) -> PathBuf {
        self.0.join("vsock.log")
    }
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.0.join("qemu.pid")
    }
    pub(crate) fn vsock_control(&self) -> PathBuf {
        self.0.join("vsock-control")
    }
    /// The hybrid vsock socket, to which the host's programs connect.
    pub(crate) fn vsock(&self) -> PathBuf {
        self.0.join("vsock")
    }
    pub(crate) fn shell(&self) -> PathBuf {
        self.0.join("shell")
    }
    pub(crate) fn rig_qmp(&self) -> PathBuf {
        self.0.join("rig-qmp")
    }
    pub(crate) fn qmp(&self) -> PathBuf {
        self.0.join("qmp")
    }
    pub(crate) fn images(&self) -> PathBuf {
        self.0.join("images")
    }
}
