//! Which of a guest's disks is which of the host's: by the inventory's word, serial, wwn, address, and size where it
//! is unique. Never by order; what cannot be paired stays unpaired and is shown so.

use serde::Serialize;
use trimtab_proto::words::DeviceKind;

use crate::model::{
    disk::{Address, HostDisk},
    guest::{Device, GuestSurvey},
};

/// What tied a pair together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PairedBy {
    /// The inventory names the guest's disk.
    Inventory,
    /// libvirt says which of its disks the guest's is.
    Libvirt,
    /// The same serial.
    Serial,
    /// The same world-wide name.
    Wwn,
    /// The same SCSI or PCI address.
    Address,
    /// The only ones of this size.
    Size,
}

impl PairedBy {
    /// As a person reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inventory => "the inventory",
            Self::Libvirt => "libvirt",
            Self::Serial => "serial",
            Self::Wwn => "wwn",
            Self::Address => "address",
            Self::Size => "size",
        }
    }
}

/// One disk on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair {
    /// Index into the host's disks.
    pub host: usize,
    /// Index into the survey's devices.
    pub guest: usize,
    /// How they were tied.
    pub by: PairedBy,
}

/// virtio-blk hands on the first 20 bytes of a serial, silently (VIRTIO_BLK_ID_BYTES).
const VIRTIO_BLK_ID_BYTES: usize = 20;

/// Whether two disks tie by one rule.
type Rule = fn(&HostDisk, &Device) -> bool;

/// Ties as many disks as can be tied without a guess. Each rule is tried on what the ones before it left, and a tie
/// counts only where it is unique on both sides.
pub fn pair(host: &[HostDisk], survey: &GuestSurvey) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    let rules: [(PairedBy, Rule); 6] = [
        (PairedBy::Inventory, named),
        (PairedBy::Libvirt, same_target),
        (PairedBy::Serial, same_serial),
        (PairedBy::Wwn, same_wwn),
        (PairedBy::Address, same_address),
        (PairedBy::Size, same_size),
    ];
    for (by, matches) in rules {
        let free_host: Vec<_> =
            host.iter().enumerate().filter(|(h, _)| !pairs.iter().any(|pair| pair.host == *h)).collect();
        let free_guest: Vec<_> = survey
            .devices
            .iter()
            .enumerate()
            .filter(|(_, device)| device.kind.is(DeviceKind::Disk))
            .filter(|(g, _)| !pairs.iter().any(|pair| pair.guest == *g))
            .collect();
        let ties: Vec<(usize, usize)> = free_host
            .iter()
            .flat_map(|(h, disk)| {
                free_guest.iter().filter(|(_, device)| matches(disk, device)).map(|(g, _)| (*h, *g))
            })
            .collect();
        pairs.extend(
            ties.iter()
                .filter(|(h, g)| ties.iter().filter(|(h2, g2)| h == h2 || g == g2).count() == 1)
                .map(|(h, g)| Pair { host: *h, guest: *g, by }),
        );
    }
    pairs.sort_by_key(|pair| pair.host);
    pairs
}

fn named(host: &HostDisk, guest: &Device) -> bool {
    host.guest_name.as_deref() == Some(guest.name.as_str())
}

fn same_target(host: &HostDisk, guest: &Device) -> bool {
    guest.identity.target.is_some() && host.target == guest.identity.target
}

fn same_serial(host: &HostDisk, guest: &Device) -> bool {
    let Some(serial) = host.serial.as_deref().filter(|serial| !serial.is_empty()) else { return false };
    let seen = guest.identity.serial.as_str();
    seen == serial
        || (guest.identity.serial_may_be_cut
            && seen.len() == VIRTIO_BLK_ID_BYTES
            && serial.len() > VIRTIO_BLK_ID_BYTES
            && serial.as_bytes().starts_with(seen.as_bytes()))
}

/// The kernel writes a disk's NAA name as "naa.5000c500…", an NVMe's as "eui.…" (drivers/scsi/scsi_lib.c,
/// scsi_vpd_lun_id).
fn same_wwn(host: &HostDisk, guest: &Device) -> bool {
    let Some(wwn) = host.wwn.filter(|wwn| *wwn != 0) else { return false };
    let digits = guest.identity.wwid.rsplit('.').next().unwrap_or_default();
    u64::from_str_radix(digits, 16) == Ok(wwn)
}

fn same_address(host: &HostDisk, guest: &Device) -> bool {
    match &host.address {
        Some(Address::Pci(address)) => *address == guest.identity.pci_address,
        Some(Address::Scsi { channel, target, lun }) => {
            // The guest's host number is its own; what follows is QEMU's.
            let mut parts = guest.identity.scsi_hctl.split(':').skip(1).map(str::parse::<u32>);
            [channel, target, lun].into_iter().all(|n| parts.next() == Some(Ok(*n))) && parts.next().is_none()
        }
        None => false,
    }
}

fn same_size(host: &HostDisk, guest: &Device) -> bool {
    // A tie by anything stronger that failed speaks against this pair: both have a serial, and they differ.
    let serials_differ = host.serial.as_deref().is_some_and(|serial| !serial.is_empty())
        && !guest.identity.serial.is_empty()
        && !same_serial(host, guest);
    host.virtual_bytes == Some(guest.size_bytes) && guest.size_bytes > 0 && !serials_differ
}

/// What the counters of a run say of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confirmation {
    /// Both sides saw the same bytes written.
    Confirmed,
    /// Nothing speaks for or against it.
    NotSeen,
    /// The guest's disk wrote more than this device saw, or sent more discards to a raw image than arrived.
    Contradicted,
}

/// Compares what a guest disk wrote during a run with what the host's device saw, whose readings lie outside the
/// guest's: it must have seen at least as much.
pub fn confirm(guest_written: Option<u64>, host_written: Option<u64>) -> Confirmation {
    match (guest_written, host_written) {
        (Some(guest), Some(host)) if guest > host => Confirmation::Contradicted,
        (Some(guest), Some(host)) if guest > 0 && guest == host => Confirmation::Confirmed,
        _ => Confirmation::NotSeen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::samples::{Sample, device, host_disk};

    /// Two disks on each side, alike in everything, paired by nothing.
    fn two() -> (Vec<HostDisk>, GuestSurvey) {
        let mut survey = Sample::raw().survey;
        survey.devices = vec![
            device("8:0", "sda", DeviceKind::Disk, &[]),
            device("8:16", "sdb", DeviceKind::Disk, &[]),
            device("8:1", "sda1", DeviceKind::Partition, &["8:0"]),
        ];
        (vec![host_disk("d0", "/a"), host_disk("d1", "/b")], survey)
    }

    fn tied(host: &[HostDisk], survey: &GuestSurvey) -> Vec<(usize, usize, PairedBy)> {
        pair(host, survey).into_iter().map(|p| (p.host, p.guest, p.by)).collect()
    }

    #[test]
    fn twins_are_not_guessed() {
        let (host, survey) = two();
        assert_eq!(tied(&host, &survey), []);
    }

    #[test]
    fn serial_then_what_is_left_by_size() {
        let (mut host, mut survey) = two();
        host[0].serial = Some("DISK1".into());
        survey.devices[1].identity.serial = "DISK1".into();
        assert_eq!(tied(&host, &survey), [(0, 1, PairedBy::Serial), (1, 0, PairedBy::Size)]);
    }

    #[test]
    fn a_cut_serial_ties_only_at_virtios_limit() {
        let (mut host, mut survey) = two();
        host[0].serial = Some("0123456789abcdefghij-and-more".into());
        survey.devices[0].identity.serial = "0123456789abcdefghij".into();
        assert_eq!(tied(&host, &survey), [], "not said to be cut");
        survey.devices[0].identity.serial_may_be_cut = true;
        assert_eq!(tied(&host, &survey)[0], (0, 0, PairedBy::Serial));
    }

    #[test]
    fn the_same_serial_twice_ties_nothing() {
        let (mut host, mut survey) = two();
        for disk in &mut host {
            disk.serial = Some("SAME".into());
        }
        for device in &mut survey.devices {
            device.identity.serial = "SAME".into();
        }
        assert_eq!(tied(&host, &survey), []);
    }

    #[test]
    fn wwn_and_addresses() {
        let (mut host, mut survey) = two();
        host[0].wwn = Some(0x5000_c500_1572_9c3a);
        survey.devices[0].identity.wwid = "naa.5000c50015729c3a".into();
        host[1].address = Some(Address::Scsi { channel: 0, target: 3, lun: 1 });
        survey.devices[1].identity.scsi_hctl = "7:0:3:1".into();
        assert_eq!(tied(&host, &survey), [(0, 0, PairedBy::Wwn), (1, 1, PairedBy::Address)]);
        host[1].address = Some(Address::Pci("0000:00:04.0".into()));
        survey.devices[1].identity.pci_address = "0000:00:04.0".into();
        assert_eq!(tied(&host, &survey)[1].2, PairedBy::Address);
    }

    #[test]
    fn the_inventorys_word_comes_first() {
        let (mut host, mut survey) = two();
        host[0].guest_name = Some("sdb".into());
        host[0].serial = Some("X".into());
        survey.devices[0].identity.serial = "X".into();
        assert_eq!(tied(&host, &survey)[0], (0, 1, PairedBy::Inventory));
    }

    #[test]
    fn a_disk_with_another_serial_is_not_taken_for_its_size() {
        let (mut host, mut survey) = two();
        host.truncate(1);
        survey.devices.remove(1);
        host[0].serial = Some("A".into());
        survey.devices[0].identity.serial = "B".into();
        assert_eq!(tied(&host, &survey), []);
    }

    #[test]
    fn counters_confirm_or_contradict() {
        let cases = [
            (Some(5), Some(5), Confirmation::Confirmed),
            (Some(5), Some(9), Confirmation::NotSeen),
            (Some(0), Some(0), Confirmation::NotSeen),
            (Some(6), Some(5), Confirmation::Contradicted),
            (None, Some(5), Confirmation::NotSeen),
            (Some(5), None, Confirmation::NotSeen),
        ];
        for (guest, host, expected) in cases {
            assert_eq!(confirm(guest, host), expected, "{guest:?} {host:?}");
        }
    }
}
