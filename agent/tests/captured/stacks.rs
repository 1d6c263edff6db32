use std::fs;

use trimtab_agent::{kernel::fsmap::CLASSES, select::Policy};
use trimtab_proto::words::{DeviceKind, DeviceUse, SkipReason};

use super::{device, mounted, names, survey_of, usual};

const VIRTIO_SCSI: &str = include_str!("../fixtures/virtio-scsi.tree");
const VIRTIO_BLK: &str = include_str!("../fixtures/virtio-blk.tree");
const NVME: &str = include_str!("../fixtures/nvme.tree");
const SATA: &str = include_str!("../fixtures/sata.tree");
const LUKS: &str = include_str!("../fixtures/luks.tree");
const LVM: &str = include_str!("../fixtures/lvm.tree");
const MD_RAID5: &str = include_str!("../fixtures/md-raid5.tree");
const BTRFS: &str = include_str!("../fixtures/btrfs.tree");

#[test]
fn virtio_scsi() {
    let survey = usual(VIRTIO_SCSI);
    assert_eq!(survey.missing, Vec::<String>::new());
    let sdb = device(&survey, "sdb");
    assert_eq!((sdb.kind, sdb.used_for, sdb.size), (DeviceKind::Disk, DeviceUse::Partitioned, 2 << 30));
    assert_eq!((sdb.discard.granularity, sdb.discard.max_bytes), (Some(4096), Some(1 << 30)));
    assert_eq!(sdb.provisioning_mode, "unmap");
    assert_eq!(sdb.discarded, Some(2_457_608 * 512));
    let identity = &sdb.identity;
    assert_eq!((identity.serial.as_str(), identity.scsi_hctl.as_str()), ("DISK0", "0:0:0:0"));
    assert_eq!(identity.pci_address, "0000:00:03.0");

    let uses = ["sdb1", "sdb2", "sdb3", "sdb4"].map(|name| device(&survey, name).used_for);
    assert_eq!(uses, [DeviceUse::Unused, DeviceUse::Mounted, DeviceUse::Swap, DeviceUse::Unused]);
    let sdb2 = device(&survey, "sdb2");
    assert_eq!((sdb2.kind, names(&survey, &sdb2.lower)), (DeviceKind::Partition, vec!["sdb".to_owned()]));
    assert_eq!(sdb2.discard.granularity, Some(4096), "its disk's queue");

    let root = mounted(&survey, "/mnt/bind");
    assert_eq!((root.skip.as_ref(), root.mounts, root.size), (None, 2, Some(1200 << 20)));
    assert_eq!((names(&survey, &root.leaves), root.used), (vec!["sdb".to_owned()], Some(1 << 20)));
    assert_eq!(root.free_extents[0].at_least, CLASSES[0]);
}

#[test]
fn a_loop_device_lies_on_the_filesystem_of_its_file() {
    let survey = usual(VIRTIO_SCSI);
    let (inner, outer) = (mounted(&survey, "/mnt/inner"), mounted(&survey, "/mnt/bind"));
    assert_eq!(inner.skip, None);
    assert_eq!(inner.inside, [outer.id], "so that it is trimmed first");
    assert_eq!(names(&survey, &inner.leaves), ["sdb"], "what it frees ends up there");
    let loop0 = device(&survey, "loop0");
    assert_eq!((loop0.kind, names(&survey, &loop0.lower)), (DeviceKind::Loop, vec!["sdb2".to_owned()]));
}

#[test]
fn a_loop_device_that_hides_its_own_file() {
    let survey = survey_of(VIRTIO_SCSI, &Policy::default(), |root| {
        let file = root.join("sys/devices/virtual/block/loop0/loop/backing_file");
        fs::write(file, "/mnt/inner/below.img\n").unwrap();
    });
    let inner = mounted(&survey, "/mnt/inner");
    assert_eq!((names(&survey, &inner.leaves), inner.inside.len()), (vec!["loop0".to_owned()], 0));
    assert!(device(&survey, "loop0").lower.is_empty());
}

#[test]
fn virtio_blk_cuts_serials() {
    let survey = usual(VIRTIO_BLK);
    let vda = device(&survey, "vda");
    assert_eq!(vda.identity.serial, "web-12-data-01234567");
    assert!(vda.identity.serial_may_be_cut);
    assert_eq!(vda.used_for, DeviceUse::Mounted);
    assert_eq!(mounted(&survey, "/mnt/root").device, Some(vda.id));
}

#[test]
fn nvme() {
    let survey = usual(NVME);
    let disk = device(&survey, "nvme0n1");
    assert_eq!((disk.kind, disk.identity.serial.as_str()), (DeviceKind::Disk, "nv"));
    assert!(disk.identity.wwid.starts_with("nvme."), "{:?}", disk.identity);
    assert!(!disk.identity.serial_may_be_cut && !disk.identity.pci_address.is_empty());
    assert_eq!(mounted(&survey, "/mnt/root").skip, None);
}

#[test]
fn sata() {
    let survey = usual(SATA);
    let sda = device(&survey, "sda");
    assert_eq!((sda.identity.serial.as_str(), sda.used_for), ("SATA0", DeviceUse::Unused));
    assert_eq!(sda.provisioning_mode, "writesame_16");
    assert!(sda.identity.wwid.starts_with("t10.ATA"));
}

#[test]
fn dm_crypt_cuts() {
    let survey = usual(LUKS);
    let (crypt, disk) = (device(&survey, "dm-0"), device(&survey, "sdb"));
    assert_eq!((crypt.kind, disk.used_for), (DeviceKind::Crypt, DeviceUse::CryptMember));
    assert_eq!((crypt.discard.granularity, disk.discard.granularity), (Some(0), Some(4096)));
    let root = mounted(&survey, "/mnt/root");
    let skip = root.skip.as_ref().unwrap();
    assert_eq!((skip.reason, skip.device), (SkipReason::NoDiscard, Some(crypt.id)));
    assert!(skip.text.contains("luks-root") && skip.text.contains("crypttab"), "{}", skip.text);
    assert_eq!((names(&survey, &root.leaves), root.used), (vec!["sdb".to_owned()], Some(1 << 20)));
}

#[test]
fn a_logical_volume_over_two_disks() {
    let survey = usual(LVM);
    let volume = device(&survey, "dm-0");
    assert_eq!((volume.kind, volume.used_for), (DeviceKind::Lvm, DeviceUse::Mounted));
    assert!(volume.dm_uuid.starts_with("LVM-"));
    let root = mounted(&survey, "/mnt/root");
    assert_eq!(
        (root.skip.as_ref(), names(&survey, &root.leaves)),
        (None, vec!["sdb".to_owned(), "sdc".to_owned()])
    );
    let uses = ["sdb", "sdc"].map(|name| device(&survey, name).used_for);
    assert_eq!(uses, [DeviceUse::LvmMember; 2]);
}

#[test]
fn one_plain_disk_below_a_logical_volume_cuts() {
    let survey = survey_of(LVM, &Policy::default(), |root| {
        let target = "sys/devices/pci0000:00/0000:00:03.0/virtio2/host0/target0:0:1/0:0:1:0";
        for queue in ["sys/devices/virtual/block/dm-0".to_owned(), format!("{target}/block/sdc")] {
            fs::write(root.join(queue).join("queue/discard_granularity"), "0\n").unwrap();
            fs::write(root.join(target).join("scsi_disk/0:0:1:0/provisioning_mode"), "disabled\n").unwrap();
        }
    });
    let skip = mounted(&survey, "/mnt/root").skip.clone().unwrap();
    assert_eq!((skip.reason, skip.device), (SkipReason::NoDiscard, Some(device(&survey, "sdc").id)));
    assert!(
        skip.text.contains("provisioning_mode disabled") && skip.text.contains("below vg0-root"),
        "{}",
        skip.text
    );
}

#[test]
fn md_raid5_cuts_by_its_largest_discard() {
    let survey = usual(MD_RAID5);
    let array = device(&survey, "md0");
    assert_eq!((array.kind, array.lower.len()), (DeviceKind::Md, 3));
    // A granularity above 0 says nothing here: it is the size of a stripe.
    assert_eq!((array.discard.granularity, array.discard.max_bytes), (Some(131_072), Some(0)));
    let skip = mounted(&survey, "/mnt/root").skip.clone().unwrap();
    assert_eq!((skip.reason, skip.device), (SkipReason::NoDiscard, Some(array.id)));
    assert!(skip.text.contains("raid456.devices_handle_discard_safely"), "{}", skip.text);
    assert_eq!(device(&survey, "sdd").used_for, DeviceUse::MdMember);
}

#[test]
fn btrfs_over_two_disks() {
    let survey = usual(BTRFS);
    let root = mounted(&survey, "/mnt/bind");
    assert_eq!((root.skip.as_ref(), root.mounts, root.id.major), (None, 2, 0));
    assert_eq!(names(&survey, &root.leaves), ["sdb", "sdc"]);
    assert_eq!((root.size, root.device), (Some(1 << 30), Some(device(&survey, "sdb").id)));
    let uses = ["sdb", "sdc", "sdd"].map(|name| device(&survey, name).used_for);
    assert_eq!(uses, [DeviceUse::Mounted, DeviceUse::Mounted, DeviceUse::Unused]);
    assert!(root.free_extents.is_empty());
    assert!(survey.missing.iter().any(|text| text.contains("b291ad4458df")), "{:?}", survey.missing);
}

#[test]
fn btrfs_from_a_source_that_nothing_names() {
    let manifest = BTRFS.replace(" - btrfs /dev/sdb ", " - btrfs /dev/root ");
    assert_ne!(manifest, BTRFS);
    assert_eq!(names(&usual(&manifest), &mounted(&usual(&manifest), "/mnt/bind").leaves), ["sdb", "sdc"]);
}
