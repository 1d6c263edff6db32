//! The port to the hypervisor against a real QEMU, and against what is no QEMU.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unforeseen has failed"
)]

mod impostors;
mod qemu;

use std::time::{Duration, Instant};

use qemu::{Images, Monitor, Qemu};
use serde_json::json;
use trimtab_controller::{
    model::{
        disk::{Address, DiskCounters, DriveDiscard, HostDisk, VmState, VmmView},
        image::{Format, Image},
        trouble::Kind,
        vm::{DeclaredDisk, Vm},
    },
    trim::ports::Vmm,
    vmm::HostVmm,
};

const MIB: u64 = 1 << 20;

fn vmm(qemu: &Qemu, disks: Vec<DeclaredDisk>) -> HostVmm {
    let qmp = Some(qemu.path("qmp.sock"));
    HostVmm::of(&Vm { qmp, disks, ..Vm::named("vm") })
}

async fn look(qemu: &Qemu) -> VmmView {
    vmm(qemu, Vec::new()).look().await.unwrap()
}

/// The disk on this image.
fn on<'a>(view: &'a VmmView, qemu: &Qemu, image: &str) -> &'a HostDisk {
    let path = qemu.path(image);
    let has = |disk: &&HostDisk| disk.image.as_ref().is_some_and(|image| image.path == path);
    view.disks.iter().find(has).unwrap_or_else(|| panic!("no disk on {image}: {view:#?}"))
}

async fn counted(qemu: &Qemu, disk: &HostDisk) -> DiskCounters {
    let all = vmm(qemu, Vec::new()).counters().await.unwrap();
    all.iter().find(|(device, _)| *device == disk.device).unwrap().1
}

/// One VM with a disk of every front end that Linux guests have.
fn every_front_end() -> Qemu {
    Images::new()
        .raw("scsi.img")
        .raw("base.img")
        .raw("sata.img")
        .sized("firmware.img", 1 << 16)
        .raw("iso.img")
        .raw("ns.img")
        .create("-f qcow2 -b base.img -F raw overlay.qcow2")
        .create("-f qcow2 nvme.qcow2 64M")
        .create("-f qcow2 port.qcow2 64M")
        .start(&[
            "-S",
            "-device virtio-scsi-pci,id=scsi0",
            "-drive file=DIR/scsi.img,if=none,id=d0,format=raw,discard=unmap",
            "-device scsi-hd,drive=d0,bus=scsi0.0,scsi-id=3,lun=1,serial=DISK0,wwn=0x5000c50015ea71aa",
            "-drive file=DIR/overlay.qcow2,if=none,id=d1,format=qcow2,discard=unmap,copy-on-read=on",
            "-device virtio-blk-pci,drive=d1,addr=5,serial=VIRTIO",
            "-blockdev driver=file,filename=DIR/nvme.qcow2,node-name=f2,discard=unmap",
            "-blockdev {\"driver\":\"qcow2\",\"file\":\"f2\",\"node-name\":\"n2\",\"discard\":\"unmap\"}",
            "-device nvme,drive=n2,id=nvme0,serial=NVME,addr=6,share-rw=on",
            "-blockdev driver=raw,node-name=n3,file.driver=file,file.filename=DIR/sata.img",
            "-device ide-hd,drive=n3,bus=ide.1,serial=SATA,share-rw=on",
            "-device pcie-root-port,id=rp1,chassis=1,slot=1,addr=7",
            "-blockdev driver=file,filename=DIR/port.qcow2,node-name=f4,read-only=off",
            "-blockdev driver=qcow2,file=f4,node-name=n4,discard=unmap",
            "-device virtio-blk-pci,bus=rp1,drive=n4,id=behind,share-rw=on",
            "-device nvme,id=nvme1,serial=SPACES,addr=8",
            "-blockdev driver=raw,node-name=n5,file.driver=file,file.filename=DIR/ns.img,discard=unmap",
            "-device nvme-ns,bus=nvme1,drive=n5,share-rw=on",
            "-drive file=DIR/iso.img,if=none,id=cd,media=cdrom,format=raw -device ide-cd,drive=cd,bus=ide.2",
            "-drive file=DIR/base.img,if=none,id=ro,format=raw,readonly=on -device virtio-blk-pci,drive=ro",
            "-drive file=DIR/firmware.img,if=pflash,unit=0,format=raw",
        ])
}

#[tokio::test]
async fn a_disk_of_every_front_end() {
    let qemu = every_front_end();
    let view = look(&qemu).await;
    assert_eq!(view.vm.state, Some(VmState::Stopped("prelaunch".into())));
    let said: Vec<_> = view
        .disks
        .iter()
        .map(|disk| {
            let image = disk.image.as_ref().unwrap();
            let name = image.path.file_name().unwrap().to_str().unwrap();
            let serial = disk.serial.as_deref().unwrap_or("-");
            format!("{name} {} {} {serial} {:?}", image.format.as_str(), disk.front_end, disk.discard)
        })
        .collect();
    // No CD-ROM, no read-only disk, no firmware.
    assert_eq!(
        said,
        [
            "scsi.img raw scsi-hd DISK0 Unmap",
            "overlay.qcow2 qcow2 virtio-blk-pci VIRTIO Unmap",
            "nvme.qcow2 qcow2 nvme NVME Unmap",
            "sata.img raw ide-hd SATA Ignore",
            "port.qcow2 qcow2 virtio-blk-pci - Ignore",
            "ns.img raw nvme-ns SPACES Unmap",
        ]
    );
    assert!(view.disks.iter().all(|disk| disk.virtual_bytes == Some(64 * MIB) && disk.protocol == "file"));

    let scsi = on(&view, &qemu, "scsi.img");
    assert_eq!(scsi.address, Some(Address::Scsi { channel: 0, target: 3, lun: 1 }));
    assert_eq!(scsi.wwn, Some(0x5000_c500_15ea_71aa));
    let overlay = on(&view, &qemu, "overlay.qcow2");
    assert_eq!(overlay.backing, [Image { path: qemu.path("base.img"), format: Format::Raw }]);
    let pci = |address: &str| Some(Address::Pci(address.into()));
    assert_eq!(overlay.address, pci("0000:00:05.0"));
    assert_eq!(on(&view, &qemu, "nvme.qcow2").address, pci("0000:00:06.0"));
    assert_eq!(on(&view, &qemu, "ns.img").address, pci("0000:00:08.0"));
    assert_eq!(on(&view, &qemu, "sata.img").address, None);
    assert_eq!(on(&view, &qemu, "port.qcow2").address, None, "no firmware has numbered its bus yet");
}

#[tokio::test]
async fn what_arrives_is_what_the_command_line_says() {
    let qemu = every_front_end();
    let view = look(&qemu).await;
    for disk in &view.disks {
        assert_eq!(counted(&qemu, disk).await.arrived_bytes, Some(0), "{}", disk.device);
    }
    let mut monitor = qemu.monitor();
    for device in ["d0", "d1", "n2", "n3", "n4", "n5"] {
        monitor.write_and_discard(device);
    }
    for disk in &view.disks {
        let expected = match disk.discard {
            DriveDiscard::Unmap => MIB,
            DriveDiscard::Ignore => 0,
            DriveDiscard::Unknown => panic!("{disk:?}"),
        };
        let counters = counted(&qemu, disk).await;
        assert_eq!(counters.arrived_bytes, Some(expected), "{disk:?}");
        assert_eq!(counters.failed_requests, Some(0), "{disk:?}");
        assert_eq!(counters.written_bytes, Some(0), "the monitor is not the guest: {disk:?}");
    }
}

#[tokio::test]
async fn what_this_host_cannot_read_is_counted() {
    let qemu = Images::new().raw("sound.img").raw("broken.img").start(&[
        "-drive driver=raw,file.driver=blkdebug,file.inject-error.0.event=read_aio,file.image.driver=file,\
         file.image.filename=DIR/broken.img,rerror=report,if=none,id=d0 -device virtio-blk-pci,drive=d0,bootindex=1",
        "-drive file=DIR/sound.img,if=none,id=d1,format=raw -device virtio-blk-pci,drive=d1,bootindex=2",
    ]);
    let view = look(&qemu).await;
    let began = Instant::now();
    // The firmware reads the first sector of each to boot from it.
    while counted(&qemu, &view.disks[0]).await.failed_io == Some(0) {
        assert!(began.elapsed().as_secs() < 30, "the firmware read nothing: {view:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(counted(&qemu, on(&view, &qemu, "sound.img")).await.failed_io, Some(0));
}

#[tokio::test]
async fn running_paused_and_numbered_by_the_firmware() {
    let qemu = Images::new().raw("a.img").start(&[
        "-device pcie-root-port,id=rp1,chassis=1,slot=1,addr=7",
        "-drive file=DIR/a.img,if=none,id=d0,format=raw -device virtio-blk-pci,bus=rp1,drive=d0,id=behind",
    ]);
    let began = Instant::now();
    loop {
        let view = look(&qemu).await;
        assert_eq!(view.vm.state, Some(VmState::Running));
        if view.disks[0].address == Some(Address::Pci("0000:01:00.0".into())) {
            break;
        }
        assert_eq!(view.disks[0].address, None);
        assert!(began.elapsed().as_secs() < 30, "the firmware numbered no bus: {view:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    qemu.monitor().run("stop", json!({}));
    assert_eq!(look(&qemu).await.vm.state, Some(VmState::Stopped("paused".into())));
}

#[tokio::test]
async fn plugged_in_and_snapshotted_later() {
    let images = Images::new().raw("first.img").raw("later.img").create("-f qcow2 snap.qcow2 64M");
    let qemu = images.start(&[
        "-S -device virtio-scsi-pci,id=scsi0",
        "-drive file=DIR/first.img,if=none,id=d0,format=raw,discard=unmap -device scsi-hd,drive=d0",
    ]);
    let mut monitor = qemu.monitor();
    let node = json!({"driver": "raw", "node-name": "late", "discard": "unmap",
        "file": {"driver": "file", "filename": qemu.path("later.img")}});
    monitor.run("blockdev-add", node);
    monitor.run("device_add", json!({"driver": "scsi-hd", "drive": "late", "id": "late0", "serial": "LATE"}));
    monitor.run("block-dirty-bitmap-add", json!({"node": "late", "name": "backup"}));
    let view = look(&qemu).await;
    let late = on(&view, &qemu, "later.img");
    assert_eq!((late.device.as_str(), late.serial.as_deref()), ("late0", Some("LATE")));
    assert_eq!(late.discard, DriveDiscard::Unknown, "the command line does not know it");
    assert_eq!(late.dirty_bitmaps, 1);
    assert_eq!(on(&view, &qemu, "first.img").discard, DriveDiscard::Unmap);

    let snapshot = json!({"device": "d0", "snapshot-file": qemu.path("snap.qcow2"), "format": "qcow2",
        "mode": "existing"});
    monitor.run("blockdev-snapshot-sync", snapshot);
    let view = look(&qemu).await;
    let snapped = on(&view, &qemu, "snap.qcow2");
    assert_eq!(snapped.discard, DriveDiscard::Unknown, "its image is not the command line's any more");
}

#[tokio::test]
async fn a_block_job() {
    let images = Images::new().raw("source.img").raw("target.img").raw("other.img");
    let qemu = images.start(&[
        "-S",
        "-drive file=DIR/source.img,if=none,id=d0,format=raw -device virtio-blk-pci,drive=d0",
        "-drive file=DIR/other.img,if=none,id=d1,format=raw -device virtio-blk-pci,drive=d1",
        "-blockdev driver=file,filename=DIR/target.img,node-name=target",
    ]);
    let mut monitor = qemu.monitor();
    monitor.write_and_discard("d0");
    let mirror = json!({"device": "d0", "job-id": "d0", "target": "target", "sync": "full", "speed": 1});
    monitor.run("blockdev-mirror", mirror);
    let view = look(&qemu).await;
    // The job has put a filter on top, which hides nothing.
    let source = on(&view, &qemu, "source.img");
    assert_eq!(source.image.as_ref().map(|image| &image.format), Some(&Format::Raw));
    assert!(source.block_job.is_some(), "{source:?}");
    assert_eq!(on(&view, &qemu, "other.img").block_job, None);
}

#[tokio::test]
async fn relative_names_are_made_whole() {
    let qemu = Images::new()
        .raw("a.img")
        .start(&["-S -drive file=a.img,if=none,id=d0,format=raw -device virtio-blk-pci,drive=d0"]);
    let view = look(&qemu).await;
    assert_eq!(on(&view, &qemu, "a.img").discard, DriveDiscard::Ignore);
}

#[tokio::test]
async fn what_the_inventory_knows_beyond_qemu() {
    let qemu = Images::new()
        .raw("a.img")
        .start(&["-S -drive file=DIR/a.img,if=none,id=d0,format=raw -device virtio-blk-pci,drive=d0"]);
    std::os::unix::fs::symlink("a.img", qemu.path("link.img")).unwrap();
    let declared = DeclaredDisk {
        image: Image { path: qemu.path("link.img"), format: Format::Raw },
        serial: None,
        guest: Some("vda".into()),
    };
    let view = vmm(&qemu, vec![declared]).look().await.unwrap();
    assert_eq!(on(&view, &qemu, "a.img").guest_name.as_deref(), Some("vda"));
}

#[tokio::test]
async fn another_client_holds_the_monitor() {
    let qemu = Images::new().raw("a.img").start(&["-S"]);
    let holder = Monitor::connect(&qemu.path("qmp.sock"));
    let began = Instant::now();
    let trouble = vmm(&qemu, Vec::new()).look().await.unwrap_err();
    assert_eq!(trouble.kind, Kind::NoQmp);
    assert!(trouble.text.ends_with("connects but does not greet within 5 s"), "{trouble}");
    assert!(trouble.hint.unwrap().starts_with("another client holds it"));
    assert!(began.elapsed() < Duration::from_secs(7));
    drop(holder);
    assert_eq!(look(&qemu).await.disks, []);
}

#[tokio::test]
async fn a_vm_that_is_off() {
    let qemu = Images::new().raw("a.img").start(&["-S"]);
    let vmm = vmm(&qemu, Vec::new());
    // SIGKILL leaves the socket behind, and nobody listens on it.
    qemu.kill();
    let trouble = vmm.look().await.unwrap_err();
    assert_eq!(trouble.kind, Kind::VmOff, "{trouble}");
    std::fs::remove_file(qemu.path("qmp.sock")).unwrap();
    let trouble = vmm.counters().await.unwrap_err();
    assert_eq!(trouble.kind, Kind::VmOff, "{trouble}");
    assert!(trouble.text.contains("does not exist"));
}
