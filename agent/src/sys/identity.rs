//! By what a host can know one of its disks again: serials, names and addresses.

use std::path::Path;

use super::{SysError, list, read_bytes, read_text};
use crate::model::Identity;

/// virtio-blk's serials have at most so many bytes (VIRTIO_BLK_ID_BYTES); what is longer is cut without a word.
pub const VIRTIO_SERIAL_BYTES: usize = 20;

/// Reads what the kernel holds ready. virtio-blk's serial is not among it: see [`slow_serial`].
///
/// # Errors
/// [`SysError::Read`].
pub fn read(dir: &Path) -> Result<Identity, SysError> {
    let device = dir.join("device");
    let serial = match read_bytes(&device.join("vpd_pg80"))? {
        Some(page) => vpd_serial(&page),
        None => read_text(&device.join("serial"))?.unwrap_or_default(),
    };
    let mut wwid = read_text(&dir.join("wwid"))?;
    if wwid.is_none() {
        wwid = read_text(&device.join("wwid"))?;
    }
    // The directory's real place in sysfs names every bus on the way to the disk.
    let place = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let steps = || place.iter().rev().filter_map(|step| step.to_str());
    Ok(Identity {
        serial,
        serial_may_be_cut: false,
        wwid: wwid.unwrap_or_default(),
        scsi_hctl: steps().find(|step| is_hctl(step)).unwrap_or_default().to_owned(),
        pci_address: steps().find(|step| is_pci_address(step)).unwrap_or_default().to_owned(),
    })
}

/// The attribute that makes virtio-blk ask its host for the serial (drivers/block/virtio_blk.c, `serial_show`), where
/// this device has one. A host that does not answer makes the reader wait.
pub fn slow_serial(dir: &Path) -> Option<std::path::PathBuf> {
    let path = dir.join("serial");
    path.exists().then_some(path)
}

/// Takes in what [`slow_serial`] held.
pub fn take_serial(identity: &mut Identity, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    identity.serial = text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned();
    identity.serial_may_be_cut = identity.serial.len() >= VIRTIO_SERIAL_BYTES;
}

/// How a SCSI disk is asked to discard (drivers/scsi/sd.c); "disabled" after it has refused once. Empty elsewhere.
///
/// # Errors
/// [`SysError::Read`].
pub fn provisioning_mode(dir: &Path) -> Result<String, SysError> {
    let disks = dir.join("device/scsi_disk");
    match list(&disks)?.first() {
        Some(name) => Ok(read_text(&disks.join(name).join("provisioning_mode"))?.unwrap_or_default()),
        None => Ok(String::new()),
    }
}

/// The serial in a Unit Serial Number page (SPC-4, 7.8.15): four bytes of header, the length in the last two.
fn vpd_serial(page: &[u8]) -> String {
    let (Some(high), Some(low)) = (page.get(2), page.get(3)) else { return String::new() };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let body = page.get(4..).unwrap_or_default();
    let text = String::from_utf8_lossy(body.get(..length).unwrap_or(body)).into_owned();
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned()
}

/// "2:0:0:1": host, channel, target, LUN.
fn is_hctl(step: &str) -> bool {
    let parts: Vec<&str> = step.split(':').collect();
    parts.len() == 4 && parts.iter().all(|part| part.parse::<u64>().is_ok())
}

/// "0000:00:04.0": domain, bus, slot, function, in hexadecimal.
fn is_pci_address(step: &str) -> bool {
    let hex = |part: &str, min: usize| part.len() >= min && part.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = step.split([':', '.']);
    let widths = [4, 2, 2, 1];
    widths.iter().all(|min| parts.next().is_some_and(|part| hex(part, *min)))
        && parts.next().is_none()
        && step.matches(':').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_of_vpd_pages() {
        for (name, page, serial) in [
            ("QEMU", &b"\0\x80\0\x05DISK0"[..], "DISK0"),
            ("padded with blanks", b"\0\x80\0\x08  AB-1  ", "AB-1"),
            ("longer than it says", b"\0\x80\0\x02ABCD", "AB"),
            ("shorter than it says", b"\0\x80\xff\xffAB", "AB"),
            ("no more than a header", b"\0\x80\0", ""),
            ("empty", b"", ""),
        ] {
            assert_eq!(vpd_serial(page), serial, "{name}");
        }
    }

    #[test]
    fn steps_of_a_sysfs_path() {
        for (step, hctl, pci) in [
            ("2:0:0:1", true, false),
            ("0000:00:04.0", false, true),
            ("10000:e1:00.0", false, true),
            ("target2:0:0", false, false),
            ("pci0000:00", false, false),
            ("virtio1", false, false),
            ("0000:00:04", false, false),
        ] {
            assert_eq!((is_hctl(step), is_pci_address(step)), (hctl, pci), "{step}");
        }
    }

    #[test]
    fn twenty_bytes_may_be_more() {
        let mut identity = Identity::default();
        take_serial(&mut identity, b"web-12-data\n");
        assert_eq!((identity.serial.as_str(), identity.serial_may_be_cut), ("web-12-data", false));
        take_serial(&mut identity, b"0123456789abcdefghij");
        assert!(identity.serial_may_be_cut);
        take_serial(&mut identity, b"");
        assert_eq!((identity.serial.as_str(), identity.serial_may_be_cut), ("", false));
    }
}
