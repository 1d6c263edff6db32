//! BTRFS_IOC_TREE_SEARCH (include/uapi/linux/btrfs.h) for one question: where the block group begins that a logical
//! address lies in.
//!
//! FITRIM needs it: on btrfs it passes over the block group that its range begins in the middle of
//! (`btrfs_lookup_first_block_group` finds those that begin at the address or after it).

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

/// BTRFS_CHUNK_TREE_OBJECTID.
const CHUNK_TREE: u64 = 3;
/// BTRFS_FIRST_CHUNK_TREE_OBJECTID.
const FIRST_CHUNK: u64 = 256;
/// BTRFS_CHUNK_ITEM_KEY: its key's offset is the logical address that the block group begins at.
const CHUNK_ITEM: u32 = 228;
/// No block group is larger: ten stripes of 1 GiB (BTRFS_MAX_DATA_CHUNK_SIZE), with room to spare.
const WINDOW: u64 = 64 << 30;

const BUFFER_BYTES: usize = 4096 - 104;
/// `struct btrfs_ioctl_search_header`: transid, objectid, offset, type, len.
const HEADER_BYTES: usize = 32;

/// `struct btrfs_ioctl_search_key`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Key {
    tree_id: u64,
    min_objectid: u64,
    max_objectid: u64,
    min_offset: u64,
    max_offset: u64,
    min_transid: u64,
    max_transid: u64,
    min_type: u32,
    max_type: u32,
    nr_items: u32,
    unused: [u32; 9],
}

/// `struct btrfs_ioctl_search_args`.
#[repr(C)]
struct Search {
    key: Key,
    buffer: [u8; BUFFER_BYTES],
}

mod ioctl {
    // #define BTRFS_IOC_TREE_SEARCH _IOWR(BTRFS_IOCTL_MAGIC, 17, struct btrfs_ioctl_search_args)
    nix::ioctl_readwrite!(tree_search, 0x94, 17, super::Search);
}

/// Where the block group begins that holds `logical`, on the btrfs that `fs` belongs to. Needs CAP_SYS_ADMIN.
///
/// # Errors
/// The kernel's; `NotFound` where there is none.
pub fn begin_of(fs: impl AsFd, logical: u64) -> io::Result<u64> {
    let mut from = logical.saturating_sub(WINDOW);
    let mut last = None;
    loop {
        let mut search = Box::new(Search {
            key: Key {
                tree_id: CHUNK_TREE,
                min_objectid: FIRST_CHUNK,
                max_objectid: FIRST_CHUNK,
                min_offset: from,
                max_offset: logical,
                max_transid: u64::MAX,
                min_type: CHUNK_ITEM,
                max_type: CHUNK_ITEM,
                nr_items: u32::MAX,
                ..Key::default()
            },
            buffer: [0; BUFFER_BYTES],
        });
        call(fs.as_fd(), &mut search)?;
        let Some(found) = last_offset(&search.buffer, search.key.nr_items) else {
            return last.ok_or_else(|| io::ErrorKind::NotFound.into());
        };
        last = Some(found);
        from = found.saturating_add(1);
        if from > logical {
            return Ok(found);
        }
    }
}

fn call(fs: BorrowedFd<'_>, search: &mut Search) -> io::Result<()> {
    // SAFETY: BTRFS_IOC_TREE_SEARCH is _IOWR(0x94, 17, struct btrfs_ioctl_search_args): the kernel reads and writes
    // exactly one such struct of 4096 bytes behind the pointer; `search` has its layout (repr(C), 104 bytes of key and
    // the buffer) and outlives the call, and the borrowed descriptor is open for its whole length.
    unsafe { ioctl::tree_search(fs.as_raw_fd(), std::ptr::from_mut(search)) }?;
    Ok(())
}

/// The offset of the last of `items` keys in the buffer: each a header, and its item behind it.
fn last_offset(mut buffer: &[u8], items: u32) -> Option<u64> {
    let mut last = None;
    for _ in 0..items {
        let Some((header, rest)) = buffer.split_at_checked(HEADER_BYTES) else { break };
        let offset = header.get(16..24)?.try_into().ok().map(u64::from_ne_bytes)?;
        let len = header.get(28..32)?.try_into().ok().map(u32::from_ne_bytes)?;
        last = Some(offset);
        buffer = rest.get(usize::try_from(len).ok()?..).unwrap_or_default();
    }
    last
}

#[cfg(test)]
mod tests {
    use std::mem;

    use super::*;

    #[test]
    fn the_structs_are_the_kernels() {
        assert_eq!(mem::size_of::<Key>(), 104);
        assert_eq!(mem::size_of::<Search>(), 4096);
        assert_eq!(nix::request_code_readwrite!(0x94, 17, mem::size_of::<Search>()), 0xD000_9411);
    }

    #[test]
    fn items() {
        let item = |offset: u64, len: usize| {
            let mut bytes = vec![0; 16];
            bytes.extend(offset.to_ne_bytes());
            bytes.extend(CHUNK_ITEM.to_ne_bytes());
            bytes.extend(u32::try_from(len).unwrap().to_ne_bytes());
            bytes.resize(bytes.len() + len, 7);
            bytes
        };
        let two = [item(5, 80), item(9, 112), vec![0; 100]].concat();
        for (name, bytes, items, expected) in [
            ("none", &two[..], 0, None),
            ("one of them", &two[..], 1, Some(5)),
            ("both", &two[..], 2, Some(9)),
            ("cut short", &two[..140], 2, Some(5)),
            ("a length of the moon", &item(5, 80)[..40], 9, Some(5)),
        ] {
            assert_eq!(last_offset(bytes, items), expected, "{name}");
        }
    }

    #[test]
    fn not_btrfs() {
        assert!(begin_of(std::fs::File::open("/proc").unwrap(), 0).is_err());
    }
}
