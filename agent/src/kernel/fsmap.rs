//! FS_IOC_GETFSMAP (ioctl_getfsmap(2), Linux 4.12, ext4 and xfs): where a filesystem's free extents lie.
//!
//! Only sums come out of here: how much free space lies in extents of at least a size. It is bounded in memory by
//! one buffer of records, and in time by a deadline that is looked at between two calls.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    time::Instant,
};

use nix::errno::Errno;

use crate::model::{DevNum, FreeExtents};

/// The sizes that free space is sorted by, in bytes: a page, qcow2's default cluster, LVM-thin and RAID chunks, a
/// huge page, a large cluster.
pub const CLASSES: [u64; 5] = [4 << 10, 64 << 10, 1 << 20, 2 << 20, 16 << 20];

/// Records of one call: 16 KiB of them, since what a thread has touched stays resident.
const RECORDS: usize = 256;

/// `FMR_OF_SPECIAL_OWNER`: the owner is one of the `FMR_OWN_*`.
const SPECIAL_OWNER: u32 = 0x10;
/// `FMR_OF_LAST`: nothing comes after this record.
const LAST: u32 = 0x20;
/// `FMR_OWN_FREE`, which is `FMR_OWNER(0, 1)`.
const OWN_FREE: u64 = 1;
/// `FMH_OF_DEV_T`: `fmr_device` is a device number, in the kernel's `new_encode_dev` form.
const DEVICE_NUMBERS: u32 = 0x1;

/// `struct fsmap` of linux/fsmap.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Record {
    device: u32,
    flags: u32,
    physical: u64,
    owner: u64,
    offset: u64,
    length: u64,
    reserved: [u64; 3],
}

/// `struct fsmap_head` of linux/fsmap.h without its flexible array.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Head {
    iflags: u32,
    oflags: u32,
    count: u32,
    entries: u32,
    reserved: [u64; 6],
    keys: [Record; 2],
}

/// The head and the array that the kernel fills.
#[repr(C)]
struct Request {
    head: Head,
    records: [Record; RECORDS],
}

mod ioctl {
    // linux/fsmap.h: #define FS_IOC_GETFSMAP _IOWR('X', 59, struct fsmap_head)
    nix::ioctl_readwrite!(getfsmap, b'X', 59, super::Head);
}

/// Sums up the free extents of the filesystem that `fd` is on, by [`CLASSES`]. `device` is the device that it keeps
/// its data on; what it has elsewhere (an XFS realtime device, an external journal) is left out.
///
/// Free extents that touch count as one. Empty where the filesystem has no such map (ENOTTY, EOPNOTSUPP, ENOSYS), or
/// does not show it to this process (EPERM, EACCES).
///
/// # Errors
/// `TimedOut` after `deadline`: half a map is no map. Any other errno as it came.
pub fn free_extents(fd: BorrowedFd<'_>, device: DevNum, deadline: Instant) -> io::Result<Vec<FreeExtents>> {
    let device = encode(device);
    let mut request = Box::new(Request { head: Head::default(), records: [Record::default(); RECORDS] });
    request.head.count = u32::try_from(RECORDS).unwrap_or(u32::MAX);
    request.head.keys[1] = Record {
        device: u32::MAX,
        flags: u32::MAX,
        physical: u64::MAX,
        owner: u64::MAX,
        offset: u64::MAX,
        ..Record::default()
    };
    let mut sums = Sums::default();
    loop {
        match call(fd, &mut request) {
            Ok(()) => {}
            Err(Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EPERM | Errno::EACCES) => {
                return Ok(Vec::new());
            }
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        if request.head.oflags & DEVICE_NUMBERS == 0 {
            // Which device a record is on cannot be told.
            return Ok(Vec::new());
        }
        let entries = usize::try_from(request.head.entries).unwrap_or(RECORDS).min(RECORDS);
        let filled = request.records.get(..entries).unwrap_or_default();
        for record in filled {
            if record.flags & SPECIAL_OWNER != 0 && record.owner == OWN_FREE && record.device == device {
                sums.add(record.physical, record.length);
            }
        }
        let Some(last) = filled.last().copied() else { break };
        if last.flags & LAST != 0 {
            break;
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        request.head.keys[0] = last;
    }
    Ok(sums.finish())
}

fn call(fd: BorrowedFd<'_>, request: &mut Request) -> Result<(), Errno> {
    let head: *mut Head = std::ptr::from_mut(request).cast();
    // SAFETY: FS_IOC_GETFSMAP is _IOWR('X', 59, struct fsmap_head). The kernel reads the head and writes at most
    // `fmh_count` records behind it. `head` points to the start of a whole `Request` (repr(C), so the head is first
    // and the records follow it without padding: 192 bytes of head, aligned to 8), whose array has `count` records,
    // and which this call alone holds.
    unsafe { ioctl::getfsmap(fd.as_raw_fd(), head) }.map(drop)
}

/// The kernel's `new_encode_dev` (include/linux/kdev_t.h): minor's low 8 bits, 12 bits of major, the rest of minor.
fn encode(device: DevNum) -> u32 {
    let DevNum { major, minor } = device;
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// How much of some space lies in extents of at least each of [`CLASSES`]: start and length of each, in the order of
/// their place. Extents that touch count as one.
pub fn by_size(extents: impl Iterator<Item = (u64, u64)>) -> Vec<FreeExtents> {
    let mut sums = Sums::default();
    extents.for_each(|(start, length)| sums.add(start, length));
    sums.finish()
}

/// Adds up extents that come in the order of their place.
#[derive(Default)]
struct Sums {
    bytes: [u64; CLASSES.len()],
    /// The extent that may still grow: start and length.
    open: Option<(u64, u64)>,
}

impl Sums {
    fn add(&mut self, start: u64, length: u64) {
        match &mut self.open {
            Some((at, len)) if at.checked_add(*len) == Some(start) => *len = len.saturating_add(length),
            _ => {
                self.close();
                self.open = Some((start, length));
            }
        }
    }

    fn close(&mut self) {
        if let Some((_, length)) = self.open.take() {
            for (sum, class) in self.bytes.iter_mut().zip(CLASSES) {
                if length >= class {
                    *sum = sum.saturating_add(length);
                }
            }
        }
    }

    fn finish(mut self) -> Vec<FreeExtents> {
        self.close();
        CLASSES.into_iter().zip(self.bytes).map(|(at_least, bytes)| FreeExtents { at_least, bytes }).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, mem, os::fd::AsFd, time::Duration};

    use super::*;

    #[test]
    fn the_structs_are_the_kernels() {
        assert_eq!(mem::size_of::<Record>(), 64);
        assert_eq!(mem::size_of::<Head>(), 192);
        assert_eq!(mem::offset_of!(Request, records), 192);
        assert_eq!(nix::request_code_readwrite!(b'X', 59, mem::size_of::<Head>()), 0xC0C0_583B);
    }

    #[test]
    fn device_numbers_as_the_kernel_encodes_them() {
        assert_eq!(encode(DevNum { major: 8, minor: 1 }), 0x801);
        assert_eq!(encode(DevNum { major: 259, minor: 0x12345 }), 0x1231_0345);
    }

    #[test]
    fn extents_that_touch_are_one() {
        let extents = [(0, 2048), (4096, 40 << 10), (45_056, 30 << 10), (1 << 30, 3 << 20)];
        let bytes: Vec<u64> = by_size(extents.into_iter()).iter().map(|class| class.bytes).collect();
        assert_eq!(bytes, [(70 << 10) + (3 << 20), (70 << 10) + (3 << 20), 3 << 20, 3 << 20, 0]);
    }

    #[test]
    fn procfs_has_no_map() {
        let proc = File::open("/proc/self/stat").unwrap();
        let deadline = Instant::now().checked_add(Duration::from_secs(1)).unwrap();
        assert_eq!(free_extents(proc.as_fd(), DevNum { major: 0, minor: 1 }, deadline).unwrap(), []);
    }
}
