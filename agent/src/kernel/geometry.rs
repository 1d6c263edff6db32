//! How a filesystem is divided: ext4's block groups, XFS's allocation groups.
//!
//! A FITRIM that stops in the middle of a group makes older ext4 remember the whole group as done, so ranges are cut
//! on these boundaries alone. What cannot be read is `None`, and the filesystem is then trimmed in one call.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Equal parts of a filesystem; the last may be shorter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Groups {
    /// Bytes before the first group: 1 KiB on ext4 with 1 KiB blocks, else 0.
    pub first: u64,
    /// Bytes of a group; never 0.
    pub bytes: u64,
    /// Bytes of the filesystem.
    pub total: u64,
}

/// Where ext4's superblock lies on its device.
pub const EXT4_SUPERBLOCK_OFFSET: u64 = 1024;

/// How much of it is there to read.
pub const EXT4_SUPERBLOCK_BYTES: usize = 1024;

/// Reads block groups from ext4's superblock (`struct ext4_super_block`, fs/ext4/ext4.h; also ext2 and ext3).
/// `None` for anything that is not one.
pub fn ext4_groups(superblock: &[u8]) -> Option<Groups> {
    /// s_magic.
    const MAGIC: u32 = 0xEF53;
    /// s_feature_incompat: block counts have 64 bits.
    const INCOMPAT_64BIT: u32 = 0x80;
    /// EXT4_MAX_BLOCK_LOG_SIZE 16 less EXT4_MIN_BLOCK_LOG_SIZE 10.
    const MAX_LOG_BLOCK_SIZE: u32 = 6;

    if u32::from(u16::from_le_bytes(superblock.get(0x38..0x3A)?.try_into().ok()?)) != MAGIC {
        return None;
    }
    let log_block_size = le32(superblock, 0x18).filter(|log| *log <= MAX_LOG_BLOCK_SIZE)?;
    let block = 1024_u64.checked_shl(log_block_size)?;
    let high = match le32(superblock, 0x60)? & INCOMPAT_64BIT {
        0 => 0,
        _ => le32(superblock, 0x150)?,
    };
    let blocks = u64::from(high).checked_shl(32)? | u64::from(le32(superblock, 0x4)?);
    let first = u64::from(le32(superblock, 0x14)?).checked_mul(block)?;
    let bytes = u64::from(le32(superblock, 0x20)?).checked_mul(block)?;
    let total = blocks.checked_mul(block)?;
    (bytes > 0 && first < total).then_some(Groups { first, bytes, total })
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// `struct xfs_fsop_geom_v1` of fs/xfs/libxfs/xfs_fs.h: the form that every kernel with XFS answers.
#[repr(C)]
#[derive(Default)]
struct XfsGeometryV1 {
    blocksize: u32,
    rtextsize: u32,
    agblocks: u32,
    agcount: u32,
    logblocks: u32,
    sectsize: u32,
    inodesize: u32,
    imaxpct: u32,
    datablocks: u64,
    rtblocks: u64,
    rtextents: u64,
    logstart: u64,
    uuid: [u8; 16],
    sunit: u32,
    swidth: u32,
    version: i32,
    flags: u32,
    logsectsize: u32,
    rtsectsize: u32,
    dirblocksize: u32,
}

nix::ioctl_read!(
    /// `#define XFS_IOC_FSGEOMETRY_V1 _IOR('X', 100, struct xfs_fsop_geom_v1)`, fs/xfs/libxfs/xfs_fs.h.
    ioctl_xfs_geometry,
    b'X',
    100,
    XfsGeometryV1
);

/// The allocation groups of the mounted XFS that `fs` belongs to. FITRIM addresses them one after the other, without
/// gaps. `Ok(None)`: it has a realtime device too, whose addresses follow behind the groups (kernel 6.14): one call
/// for all of it.
///
/// # Errors
/// The kernel's errno: ENOTTY where `fs` is not on XFS.
pub fn xfs_groups(fs: impl AsFd) -> Result<Option<Groups>, Errno> {
    let mut answer = XfsGeometryV1::default();
    // SAFETY: XFS_IOC_FSGEOMETRY_V1 is `_IOR('X', 100, struct xfs_fsop_geom_v1)`: the kernel writes exactly one such
    // struct behind the pointer; `answer` has its layout (repr(C), the same fields in the same order) and outlives
    // the call, and the borrowed descriptor is open for its whole length.
    unsafe { ioctl_xfs_geometry(fs.as_fd().as_raw_fd(), &raw mut answer) }?;
    Ok(groups_of(&answer))
}

fn groups_of(answer: &XfsGeometryV1) -> Option<Groups> {
    let block = u64::from(answer.blocksize);
    let bytes = u64::from(answer.agblocks).checked_mul(block)?;
    let total = answer.datablocks.checked_mul(block)?;
    (answer.rtblocks == 0 && bytes > 0 && total > 0).then_some(Groups { first: 0, bytes, total })
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;

    /// What mke2fs writes, as far as it is read here.
    fn superblock(log_block: u32, blocks: u64, first: u32, per_group: u32) -> Vec<u8> {
        let mut sb = vec![0_u8; EXT4_SUPERBLOCK_BYTES];
        let low = u32::try_from(blocks & 0xFFFF_FFFF).unwrap();
        let high = u32::try_from(blocks >> 32).unwrap();
        let mut put = |at: usize, value: u32| sb[at..at + 4].copy_from_slice(&value.to_le_bytes());
        put(0x4, low);
        put(0x14, first);
        put(0x18, log_block);
        put(0x20, per_group);
        put(0x38, 0xEF53);
        put(0x60, 0x80);
        put(0x150, high);
        sb
    }

    #[test]
    fn ext4_superblocks() {
        const MIB: u64 = 1 << 20;
        for (name, sb, expected) in [
            (
                "4 KiB blocks",
                superblock(2, 262_144, 0, 32_768),
                Some(Groups { first: 0, bytes: 128 * MIB, total: 1024 * MIB }),
            ),
            (
                "1 KiB blocks begin at 1",
                superblock(0, 65_536, 1, 8192),
                Some(Groups { first: 1024, bytes: 8 * MIB, total: 64 * MIB }),
            ),
            (
                "more than 2^32 blocks",
                superblock(2, 1 << 33, 0, 32_768),
                Some(Groups { first: 0, bytes: 128 * MIB, total: 1 << 45 }),
            ),
            ("no blocks in a group", superblock(2, 262_144, 0, 0), None),
            ("a block size of the moon", superblock(60, 262_144, 0, 32_768), None),
            ("a total that overflows", superblock(6, 1 << 60, 0, 32_768), None),
            ("zeros", vec![0; 1024], None),
            ("cut short", superblock(2, 262_144, 0, 32_768)[..0x60].to_vec(), None),
        ] {
            assert_eq!(ext4_groups(&sb), expected, "{name}");
        }
    }

    #[test]
    fn xfs_geometry() {
        let plain =
            XfsGeometryV1 { blocksize: 4096, agblocks: 65_536, datablocks: 262_000, ..Default::default() };
        let expected = Groups { first: 0, bytes: 1 << 28, total: 262_000 * 4096 };
        assert_eq!(groups_of(&plain), Some(expected));
        assert_eq!(groups_of(&XfsGeometryV1 { rtblocks: 1, ..plain }), None, "realtime device");
        assert_eq!(groups_of(&XfsGeometryV1::default()), None, "nonsense");
        // _IOR('X', 100, 112 bytes).
        assert_eq!(nix::request_code_read!(b'X', 100, std::mem::size_of::<XfsGeometryV1>()), 0x8070_5864);
    }

    #[test]
    fn not_xfs() {
        let proc = std::fs::File::open("/proc/self").unwrap();
        assert_eq!(xfs_groups(&proc), Err(Errno::ENOTTY));
    }
}
