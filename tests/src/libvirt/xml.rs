//! The XML of a domain and of its disks, as an administrator would write it.

use std::path::Path;

use crate::guest::{DiskSpec, FrontEnd, GuestSpec, Place};

/// The domain's `<disk>`. NVMe is no front end of libvirt's.
pub(super) fn disk(spec: &DiskSpec, image: &Path, target: &str) -> String {
    let discard = spec.discard.as_str().map_or(String::new(), |word| format!(" discard='{word}'"));
    let serial = spec.serial.as_ref().map_or(String::new(), |serial| format!("<serial>{serial}</serial>"));
    format!(
        "<disk type='file' device='disk'>
  <driver name='qemu' type='{}'{discard}/>
  <source file='{}'/>
  <target dev='{target}' bus='{}'/>
  {serial}
</disk>
",
        spec.format.as_str(),
        image.display(),
        bus(spec.front_end),
    )
}

/// libvirt's name of a front end, and the letters that its targets begin with.
pub(super) fn bus(front_end: FrontEnd) -> &'static str {
    match front_end {
        FrontEnd::VirtioScsi => "scsi",
        FrontEnd::VirtioBlk => "virtio",
        FrontEnd::Sata => "sata",
        FrontEnd::Nvme => "nvme",
    }
}

/// The domain: the rig's kernel and initramfs, its console and shell, a port for qemu-ga, and vsock by the user-space
/// device, which only QEMU's own words can name. `disks` is XML.
pub(super) fn domain(name: &str, spec: &GuestSpec, place: &Place, kernel: &Path, disks: &str) -> String {
    let arguments: String = [
        format!("-chardev socket,id=vsock,path={}", place.vsock_control().display()),
        // QEMU makes it before libvirt's devices, which are put into certain slots: not one of theirs.
        "-device vhost-user-vsock-pci,chardev=vsock,addr=0x10".to_owned(),
        // The rig's own, beside libvirt's: what a test asks here does not taint.
        format!("-qmp unix:{},server=on,wait=off", place.rig_qmp().display()),
    ]
    .iter()
    .flat_map(|option| option.split(' '))
    .map(|word| format!("    <qemu:arg value='{word}'/>\n"))
    .collect();
    format!(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <memory unit='MiB'>{memory}</memory>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <vcpu>{processors}</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{append}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='scsi' model='virtio-scsi'/>
{disks}
    <serial type='file'><source path='{console}'/></serial>
    <channel type='unix'>
      <source mode='bind' path='{shell}'/>
      <target type='virtio' name='trimtab.shell'/>
    </channel>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
{arguments}  </qemu:commandline>
</domain>
",
        memory = spec.memory_mib,
        processors = spec.processors,
        kernel = kernel.display(),
        initrd = place.initrd().display(),
        append = crate::guest::KERNEL_ARGUMENTS,
        console = place.console().display(),
        shell = place.shell().display(),
    )
}
