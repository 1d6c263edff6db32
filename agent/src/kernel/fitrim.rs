//! FITRIM: one call, typed, and what each of its errors means.
//!
//! The call cannot be cancelled but by SIGKILL of the process that is in it, so only `worker.rs` makes it. Success
//! proves nothing about the disk: block/blk-lib.c turns the device's EOPNOTSUPP into 0.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use trimtab_proto::words::FailureKind;

/// One call's range, in bytes of the filesystem's own address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// How many; `u64::MAX` from 0 is the whole filesystem.
    pub len: u64,
}

impl Range {
    /// All of a filesystem, as fstrim(8) asks for it.
    pub const WHOLE: Self = Self { start: 0, len: u64::MAX };
}

/// `struct fstrim_range` of include/uapi/linux/fs.h.
#[repr(C)]
struct FstrimRange {
    start: u64,
    len: u64,
    minlen: u64,
}

nix::ioctl_readwrite!(
    /// `#define FITRIM _IOWR('X', 121, struct fstrim_range)`, include/uapi/linux/fs.h.
    ioctl_fitrim,
    b'X',
    121,
    FstrimRange
);

/// Discards the free extents of at least `min_extent` bytes in `range`, on the filesystem that `fs` belongs to.
/// Returns the number of bytes that the kernel gives back, whatever that means for this filesystem
/// ([`trimtab_proto::words::ClaimKind`]).
///
/// # Errors
/// The kernel's errno; [`explain`] says what it means.
pub fn fitrim(fs: impl AsFd, range: Range, min_extent: u64) -> Result<u64, Errno> {
    let mut argument = FstrimRange { start: range.start, len: range.len, minlen: min_extent };
    // SAFETY: FITRIM is `_IOWR('X', 121, struct fstrim_range)`: the kernel reads and writes exactly one `struct
    // fstrim_range`, three u64, behind the pointer; `argument` has that layout (repr(C)) and outlives the call, and
    // the borrowed descriptor is open for its whole length.
    unsafe { ioctl_fitrim(fs.as_fd().as_raw_fd(), &raw mut argument) }?;
    Ok(argument.len)
}

/// What an errno of FITRIM, or of the syncfs and statfs before it, means: the kind, and a sentence for a person.
pub fn explain(errno: Errno) -> (FailureKind, &'static str) {
    match errno {
        Errno::EOPNOTSUPP => (FailureKind::Unsupported, "a device below this filesystem does not discard"),
        Errno::ENOTTY | Errno::ENOSYS | Errno::EBADF => {
            (FailureKind::Unsupported, "this filesystem has no FITRIM")
        }
        Errno::EROFS => {
            (FailureKind::Unsupported, "its journal was not replayed (mounted norecovery or noload)")
        }
        Errno::EINVAL => (
            FailureKind::Unsupported,
            "the filesystem refuses these figures; ask for a smallest extent below its block group",
        ),
        Errno::EPERM | Errno::EACCES => (
            FailureKind::Permission,
            "FITRIM needs CAP_SYS_ADMIN in the initial user namespace; in a container it cannot be had",
        ),
        // fs/xfs/xfs_linux.h, fs/ext4/ext4.h: EFSCORRUPTED is EUCLEAN, EFSBADCRC is EBADMSG.
        Errno::EUCLEAN | Errno::EBADMSG => {
            (FailureKind::Damaged, "the filesystem is damaged; unmount it and run fsck before any trim")
        }
        Errno::ENOMEM => (FailureKind::Io, "the guest has no memory left; try again later"),
        _ => {
            (FailureKind::Io, "the disk or the filesystem reported an error; look in the guest's kernel log")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_kernels() {
        // facts: FITRIM = 0xC0185879.
        assert_eq!(nix::request_code_readwrite!(b'X', 121, std::mem::size_of::<FstrimRange>()), 0xC018_5879);
    }

    #[test]
    fn a_filesystem_without_fitrim_says_so() {
        let proc = std::fs::File::open("/proc/self").unwrap();
        let errno = fitrim(&proc, Range::WHOLE, 0).unwrap_err();
        assert_eq!(explain(errno).0, FailureKind::Unsupported, "{errno}");
    }

    #[test]
    fn each_errno_has_its_kind() {
        for (errno, kind) in [
            (Errno::EOPNOTSUPP, FailureKind::Unsupported),
            (Errno::ENOTTY, FailureKind::Unsupported),
            (Errno::EROFS, FailureKind::Unsupported),
            (Errno::EINVAL, FailureKind::Unsupported),
            (Errno::EPERM, FailureKind::Permission),
            (Errno::EUCLEAN, FailureKind::Damaged),
            (Errno::EBADMSG, FailureKind::Damaged),
            (Errno::EIO, FailureKind::Io),
            (Errno::ESHUTDOWN, FailureKind::Io),
        ] {
            assert_eq!(explain(errno).0, kind, "{errno}");
        }
    }
}
