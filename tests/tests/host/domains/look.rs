//! What is read of a domain, against what QEMU and virsh say of it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_controller::model::disk::{Address, DiskCounters, DriveDiscard, Link, Manager, SaidBy, VmState};
use trimtab_controller::model::image::{Format, Image};
use trimtab_controller::trim::ports::Vmm;
use trimtab_controller::vmm::HostVmm;
use trimtab_tests::MIB;
use trimtab_tests::libvirt::Libvirt;

use super::{Shape, disk, folder, inventory, qemu_img, raw};

/// The bridges make libvirt count buses in another order than firmware does.
const DEVICES: &str = "
    <controller type='scsi' index='0' model='virtio-scsi'/>
    <controller type='scsi' index='1' model='lsilogic'/>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'/>
    <controller type='pci' index='2' model='pcie-root-port'/>
    <controller type='pci' index='3' model='pcie-root-port'/>
    <controller type='pci' index='4' model='pcie-to-pci-bridge'><address type='pci' bus='1' slot='0'/></controller>
    <disk type='file' device='disk'><driver name='qemu' type='raw' discard='unmap'/><source file='IMAGES/a.img'/>
      <target dev='vda' bus='virtio'/><serial>DISK0</serial><address type='pci' bus='2' slot='0'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw' discard='unmap'/><source file='IMAGES/c.img'/>
      <target dev='vdb' bus='virtio'/><address type='pci' bus='3' slot='0'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='IMAGES/top.qcow2'/>
      <target dev='sda' bus='scsi'/><wwn>5000c50015ea71aa</wwn>
      <address type='drive' controller='0' bus='0' target='3' unit='1'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='IMAGES/b.img'/>
      <target dev='sdb' bus='sata'/><shareable/></disk>
    <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='IMAGES/cd.iso'/>
      <target dev='sdc' bus='sata'/><readonly/></disk>";

fn shape(libvirt: &Libvirt, name: &str) -> Result<Shape> {
    for image in ["a.img", "b.img", "c.img", "base.img", "cd.iso"] {
        raw(libvirt, image)?;
    }
    qemu_img(libvirt, "-f qcow2 -F raw -b base.img mid.qcow2")?;
    qemu_img(libvirt, "-f qcow2 -F qcow2 -b mid.qcow2 top.qcow2")?;
    Shape::start(libvirt, name, DEVICES)
}

/// The PCI addresses that firmware gave QEMU's devices, by their ids.
fn numbered(shape: &Shape) -> Result<BTreeMap<String, String>> {
    let said = shape.virsh_with("qemu-monitor-command", &[r#"{"execute":"query-pci"}"#])?;
    let said: Value = serde_json::from_str(&said)?;
    let mut found = BTreeMap::new();
    let mut ahead: Vec<Value> = said["return"].as_array().context("no buses")?.clone();
    while let Some(node) = ahead.pop() {
        for device in node["devices"].as_array().into_iter().flatten() {
            let number = |key: &str| device[key].as_u64().unwrap_or(999);
            let address =
                format!("0000:{:02x}:{:02x}.{:x}", number("bus"), number("slot"), number("function"));
            found.insert(device["qdev_id"].as_str().unwrap_or_default().to_owned(), address);
            ahead.push(device["pci_bridge"].clone());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_running_domain_and_its_monitor() -> Result<()> {
    let libvirt = Libvirt::start()?;
    let shape = shape(&libvirt, "shapes")?;
    let vm = shape.vm().await?;
    let domain = vm.domain.as_ref().context("no domain")?;
    ensure!(domain.state == Some(VmState::Running) && domain.disks.len() == 4, "{domain:?}");
    let view = HostVmm::of(&vm).look().await?;
    ensure!(view.vm.state == Some(VmState::Running) && view.vm.link == Link::Missing, "{:?}", view.vm);
    let manager = Manager::Libvirt { uri: libvirt.uri(), domain: shape.name.clone() };
    ensure!(
        view.vm.manager == manager && view.vm.job.is_none() && view.vm.snapshots.is_empty(),
        "{:?}",
        view.vm
    );
    ensure!(view.disks.iter().all(|disk| disk.virtual_bytes == Some(64 * MIB) && disk.block_job.is_none()));
    ensure!(view.disks.iter().all(|disk| disk.discard_said_by == SaidBy::LiveXml));
    let vda = disk(&view, "vda")?;
    ensure!((vda.serial.as_deref(), vda.discard) == (Some("DISK0"), DriveDiscard::Unmap), "{vda:?}");
    let sda = disk(&view, "sda")?;
    let images = folder(&libvirt)?;
    let image = |name: &str, format| Image { path: images.join(name), format };
    ensure!(sda.backing == [image("mid.qcow2", Format::Qcow2), image("base.img", Format::Raw)], "{sda:?}");
    ensure!((sda.wwn, sda.discard) == (Some(0x5000_c500_15ea_71aa), DriveDiscard::Ignore), "{sda:?}");
    ensure!(sda.address == Some(Address::Scsi { channel: 0, target: 3, lun: 1 }), "{sda:?}");
    ensure!(disk(&view, "sdb")?.shareable);

    // Without being asked to, nothing touches the monitor.
    let counters = HostVmm::of(&vm).counters().await?;
    let vdb = &disk(&view, "vdb")?.device;
    let of = |counters: &[(String, DiskCounters)], device: &str| {
        counters.iter().find(|(name, _)| name == device).map(|(_, counted)| *counted)
    };
    let unread = DiskCounters { written_bytes: Some(0), ..DiskCounters::default() };
    ensure!(of(&counters, vdb) == Some(unread), "{counters:?}");
    ensure!(!shape.is_tainted()?, "a look has tainted the domain");

    let vmm = HostVmm::of(&vm).with_monitor();
    let again = vmm.look().await?;
    ensure!(again == view, "the monitor and libvirt differ: {again:#?}\n{view:#?}");
    ensure!(shape.is_tainted()?, "the monitor was asked");
    for line in ["write 0 1M", "discard 0 1M"] {
        shape.monitor(&format!("qemu-io -d {vdb}/virtio-backend \"{line}\""))?;
    }
    let counters = vmm.counters().await?;
    let counted = of(&counters, vdb).context("no counters")?;
    ensure!((counted.arrived_bytes, counted.failed_requests) == (Some(MIB), Some(0)), "{counted:?}");

    // Firmware has numbered the buses by now.
    let numbered = numbered(&shape)?;
    for disk in view.disks.iter().filter(|disk| disk.front_end == "virtio-blk-pci") {
        let seen = numbered.get(&disk.device).map(|address| Address::Pci(address.clone()));
        ensure!(disk.address == seen, "{disk:?}: {numbered:?}");
    }
    Ok(())
}

#[tokio::test]
async fn jobs_snapshots_and_states() -> Result<()> {
    let libvirt = Libvirt::start()?;
    raw(&libvirt, "raw.img")?;
    qemu_img(&libvirt, "-f qcow2 disk.qcow2 64M")?;
    let shape = Shape::start(
        &libvirt,
        "jobs",
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/>
           <source file='IMAGES/disk.qcow2'/><target dev='vda' bus='virtio'/></disk>
         <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='IMAGES/raw.img'/>
           <target dev='vdb' bus='virtio'/></disk>",
    )?;
    let copy = folder(&libvirt)?.join("copy.qcow2").display().to_string();
    shape.virsh_with("blockcopy", &["vda", &copy, "--transient-job", "--wait"])?;
    let view = shape.look().await?;
    ensure!(disk(&view, "vda")?.block_job.as_deref() == Some("copying"), "{view:?}");
    ensure!(disk(&view, "vdb")?.block_job.is_none());
    shape.virsh_with("blockjob", &["vda", "--abort"])?;

    shape.virsh("suspend")?;
    ensure!(shape.look().await?.vm.state == Some(VmState::Stopped("paused".into())));
    shape.virsh("resume")?;

    let backup = libvirt.directory().join("backup.xml");
    let scratch = folder(&libvirt)?.join("scratch.qcow2");
    let text = format!(
        "<domainbackup mode='pull'><server transport='unix' socket='/run/libvirt/backup.sock'/><disks>\
         <disk name='vda' backup='yes' type='file'><scratch file='{}'/></disk><disk name='vdb' backup='no'/>\
         </disks></domainbackup>",
        scratch.display()
    );
    fs::write(&backup, text)?;
    shape.virsh_with("backup-begin", &[&backup.display().to_string()])?;
    let view = shape.look().await?;
    ensure!(view.vm.job.as_deref() == Some("a backup"), "{:?}", view.vm);
    shape.virsh("domjobabort")?;
    ensure!(shape.look().await?.vm.job.is_none());

    let external = ["before", "--disk-only", "--diskspec", "vdb,snapshot=no"];
    shape.virsh_with("snapshot-create-as", &external)?;
    let view = shape.look().await?;
    let vda = disk(&view, "vda")?;
    ensure!(vda.backing.len() == 1 && view.vm.snapshots.is_empty(), "it lies in a file of its own: {view:?}");
    shape.virsh_with("blockcommit", &["vda", "--active", "--pivot", "--wait"])?;
    shape.virsh_with("snapshot-delete", &["before", "--metadata"])?;
    shape.virsh_with("detach-disk", &["vdb", "--config"])?;

    shape.virsh("destroy")?;
    shape.virsh_with("snapshot-create-as", &["upgrade"])?;
    let view = shape.look().await?;
    ensure!(view.vm.state == Some(VmState::Off) && view.vm.snapshots == ["upgrade"], "{:?}", view.vm);
    ensure!(view.disks.len() == 1 && disk(&view, "vda")?.device == "vda", "{view:?}");
    Ok(())
}

#[tokio::test]
async fn a_monitor_of_its_own_taints_nothing() -> Result<()> {
    let libvirt = Libvirt::start()?;
    raw(&libvirt, "a.img")?;
    let socket = libvirt.directory().join("own.qmp");
    let shape = Shape::define(
        &libvirt,
        "own",
        "<disk type='file' device='disk'><driver name='qemu' type='raw' discard='unmap'/>
           <source file='IMAGES/a.img'/><target dev='sda' bus='scsi'/></disk>",
    )?;
    let xml = shape.virsh("dumpxml")?;
    let own = format!(
        "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-qmp'/>\
         <qemu:arg value='unix:{},server=on,wait=off'/></qemu:commandline></domain>",
        socket.display()
    );
    let file = libvirt.directory().join("own.xml");
    fs::write(&file, xml.replace("</domain>", &own))?;
    libvirt.virsh(&["define", &file.display().to_string()])?;
    shape.virsh("start")?;
    let mut vm = shape.vm().await?;
    vm.qmp = Some(socket);
    let vmm = HostVmm::of(&vm);
    let view = vmm.look().await?;
    let counters = vmm.counters().await?;
    let [(device, counted)] = counters.as_slice() else { anyhow::bail!("{counters:?}") };
    ensure!(
        *device == disk(&view, "sda")?.device && counted.arrived_bytes == Some(0),
        "{counters:?} {view:?}"
    );
    // `qemu:commandline` is held against it anyway; the monitor's use is not.
    ensure!(!shape.is_tainted()?);
    ensure!(inventory(&libvirt).await?.vms.len() == 1);
    Ok(())
}
