//! FS_IOC_FIEMAP (Documentation/filesystems/fiemap.rst): where the bytes of a file lie in its filesystem.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

/// Extents of one call: 14 KiB of them.
const EXTENTS: usize = 256;

/// No file is asked for more: 64 MiB in blocks of 1 KiB.
const MOST_EXTENTS: usize = 65_536;

/// `FIEMAP_FLAG_SYNC`: write the file first.
const SYNC: u32 = 0x1;
/// `FIEMAP_EXTENT_LAST`.
const LAST: u32 = 0x1;
/// An extent whose place is not a place of its own bytes alone: `FIEMAP_EXTENT_UNKNOWN`, `DELALLOC`, `ENCODED`,
/// `NOT_ALIGNED`, `DATA_INLINE`, `DATA_TAIL`.
const NO_PLACE: u32 = 0x2 | 0x4 | 0x8 | 0x100 | 0x200 | 0x400;

/// A piece of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Where in the file, bytes.
    pub logical: u64,
    /// Where in the filesystem's address space, bytes: what FITRIM takes too (on btrfs a logical address).
    pub physical: u64,
    /// How long, bytes.
    pub len: u64,
    /// Where a FITRIM of it has to begin: at `physical`, and on btrfs where its block group does.
    pub trim_from: u64,
}

/// `struct fiemap_extent` of include/uapi/linux/fiemap.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Raw {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// `struct fiemap` without its flexible array.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Head {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
}

/// The head and the array that the kernel fills.
#[repr(C)]
struct Request {
    head: Head,
    extents: [Raw; EXTENTS],
}

mod ioctl {
    // include/uapi/linux/fs.h: #define FS_IOC_FIEMAP _IOWR('f', 11, struct fiemap)
    nix::ioctl_readwrite!(fiemap, b'f', 11, super::Head);
}

/// The extents of a file, in the order of its bytes. The file is synced first.
///
/// # Errors
/// The kernel's; `InvalidData` where the file has no place of its own (inline, compressed, encrypted), or more pieces
/// than can be told.
pub fn extents(file: impl AsFd) -> io::Result<Vec<Extent>> {
    let mut request = Box::new(Request { head: Head::default(), extents: [Raw::default(); EXTENTS] });
    let mut found: Vec<Extent> = Vec::new();
    let mut start = 0;
    loop {
        request.head = Head {
            start,
            length: u64::MAX.saturating_sub(start),
            flags: SYNC,
            extent_count: u32::try_from(EXTENTS).unwrap_or(u32::MAX),
            ..Head::default()
        };
        call(file.as_fd(), &mut request)?;
        let mapped = usize::try_from(request.head.mapped_extents).unwrap_or(EXTENTS).min(EXTENTS);
        let filled = request.extents.get(..mapped).unwrap_or_default();
        for raw in filled {
            if raw.flags & NO_PLACE != 0 || found.len() >= MOST_EXTENTS {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Raw { logical, physical, length, .. } = *raw;
            found.push(Extent { logical, physical, len: length, trim_from: physical });
        }
        match filled.last() {
            Some(last) if last.flags & LAST == 0 => start = last.logical.saturating_add(last.length),
            _ => return Ok(found),
        }
    }
}

fn call(file: BorrowedFd<'_>, request: &mut Request) -> io::Result<()> {
    let head: *mut Head = std::ptr::from_mut(request).cast();
    // SAFETY: FS_IOC_FIEMAP is _IOWR('f', 11, struct fiemap). The kernel reads the head and writes at most
    // `fm_extent_count` extents behind it. `head` points to the start of a whole `Request` (repr(C), so the head is
    // first and the extents follow it without padding: 32 bytes of head, aligned to 8), whose array has that many
    // extents, and which this call alone holds.
    unsafe { ioctl::fiemap(file.as_raw_fd(), head) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::mem;

    use super::*;

    #[test]
    fn the_structs_are_the_kernels() {
        assert_eq!(mem::size_of::<Raw>(), 56);
        assert_eq!(mem::size_of::<Head>(), 32);
        assert_eq!(mem::offset_of!(Request, extents), 32);
        // _IOWR('f', 11, 32 bytes).
        assert_eq!(nix::request_code_readwrite!(b'f', 11, mem::size_of::<Head>()), 0xC020_660B);
    }

    #[test]
    fn procfs_has_no_map() {
        assert!(extents(std::fs::File::open("/proc/self/stat").unwrap()).is_err());
    }
}
