//! What `dmsetup table` and `dmsetup status` print of one device. Pure.
//!
//! The lines are the kernel's (Documentation/admin-guide/device-mapper/thin-provisioning.rst), in sectors of 512 bytes:
//!
//! ```text
//! table   0 2097152 thin 253:4 1                             pool, id in it
//! table   0 4194304 thin-pool 253:2 253:3 128 0 1 …          metadata, data, chunk in sectors
//! status  0 2097152 thin 524288 2097151                      mapped sectors, highest one
//! status  0 4194304 thin-pool 1 15/1024 16/32768 - rw discard_passdown queue_if_no_space - 1024
//!         transaction, metadata blocks of 4 KiB, chunks, root that is held, mode, discards, …, needs_check
//! ```

use crate::model::volume::{Fill, PoolDiscards};

const SECTOR_BYTES: u64 = 512;
const METADATA_BLOCK_BYTES: u64 = 4096;

/// What a device is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Table {
    /// A volume of the pool with this number ("253:4").
    Thin { pool: String },
    /// A pool.
    Pool { chunk_bytes: u64 },
    /// Anything else, by its first target: "linear", "striped", "crypt", …
    Other(String),
}

/// A pool's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PoolStatus {
    pub(super) data: Fill,
    pub(super) metadata: Fill,
    pub(super) discards: PoolDiscards,
    pub(super) trouble: Option<String>,
}

/// Reads `dmsetup table`: the first target decides, thin devices have but one.
pub(super) fn table(said: &str) -> Option<Table> {
    let mut words = said.lines().next()?.split_whitespace().skip(2);
    Some(match words.next()? {
        "thin" => Table::Thin { pool: words.next().filter(|pool| is_number(pool))?.to_owned() },
        "thin-pool" => {
            let chunk_sectors: u64 = words.nth(2)?.parse().ok()?;
            Table::Pool { chunk_bytes: chunk_sectors.checked_mul(SECTOR_BYTES).filter(|bytes| *bytes > 0)? }
        }
        other => Table::Other(other.to_owned()),
    })
}

/// The bytes that a thin volume maps: `dmsetup status` of it. A failed one says "Fail" or "Error" instead.
pub(super) fn mapped_bytes(said: &str) -> Option<u64> {
    let mut words = said.lines().next()?.split_whitespace().skip(2);
    words.next().filter(|target| *target == "thin")?;
    words.next()?.parse::<u64>().ok()?.checked_mul(SECTOR_BYTES)
}

/// `dmsetup status` of a pool.
pub(super) fn pool(said: &str, chunk_bytes: u64) -> Option<PoolStatus> {
    let mut words = said.lines().next()?.split_whitespace().skip(2);
    words.next().filter(|target| *target == "thin-pool")?;
    // The transaction's id, or "Fail".
    words.next()?.parse::<u64>().ok()?;
    let metadata = fill(words.next()?, METADATA_BLOCK_BYTES)?;
    let data = fill(words.next()?, chunk_bytes)?;
    let rest: Vec<&str> = words.skip(1).collect();
    let mode = *rest.first()?;
    let trouble = match mode {
        "ro" => Some("is read-only".to_owned()),
        "out_of_data_space" => Some("is out of data space".to_owned()),
        _ if rest.contains(&"needs_check") => Some("needs a check (lvconvert --repair)".to_owned()),
        _ => None,
    };
    let discards = match *rest.get(1)? {
        "discard_passdown" => PoolDiscards::PassedDown,
        "no_discard_passdown" => PoolDiscards::Freed,
        "ignore_discard" => PoolDiscards::Ignored,
        _ => return None,
    };
    Some(PoolStatus { data, metadata, discards, trouble })
}

/// "15/1024": used and all blocks.
fn fill(said: &str, block_bytes: u64) -> Option<Fill> {
    let (used, all) = said.split_once('/')?;
    let bytes = |blocks: &str| blocks.parse::<u64>().ok()?.checked_mul(block_bytes);
    Some(Fill { size_bytes: bytes(all)?, used_bytes: bytes(used)? })
}

/// "253:4".
fn is_number(word: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once(':').is_some_and(|(major, minor)| is_digits(major) && is_digits(minor))
}

/// The volume group and the logical volume in a name of device-mapper's ("vg0-web--1" is vg0/web-1): LVM doubles the
/// dashes of both (dm_build_dm_name() in libdevmapper).
pub(super) fn lvm_names(name: &str) -> Option<(String, String)> {
    let single = name.char_indices().find(|(at, char)| {
        let before = name.get(..*at).unwrap_or_default();
        let after = name.get(at.saturating_add(1)..).unwrap_or_default();
        let dashes_before = before.chars().rev().take_while(|char| *char == '-').count();
        *char == '-' && !after.starts_with('-') && dashes_before.checked_rem(2) == Some(0)
    });
    let (group, volume) = name.split_at_checked(single?.0)?;
    let plain = |part: &str| part.replace("--", "-");
    let volume = volume.strip_prefix('-')?;
    (!group.is_empty() && !volume.is_empty()).then(|| (plain(group), plain(volume)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn tables() {
        let thin = |pool: &str| Some(Table::Thin { pool: pool.into() });
        for (said, expected) in [
            ("0 2097152 thin 253:4 1\n", thin("253:4")),
            ("0 2097152 thin 253:4 2 253:9\n", thin("253:4")),
            (
                "0 4194304 thin-pool 253:2 253:3 128 0 1 skip_block_zeroing\n",
                Some(Table::Pool { chunk_bytes: 65536 }),
            ),
            ("0 8 linear 8:16 2048\n8 8 linear 8:32 2048\n", Some(Table::Other("linear".into()))),
            ("0 2097152 thin pool 1\n", None),
            ("0 4194304 thin-pool 253:2 253:3 0 0\n", None),
            ("", None),
        ] {
            assert_eq!(table(said), expected, "{said}");
        }
    }

    #[test]
    fn a_volumes_status() {
        for (said, expected) in [
            ("0 2097152 thin 524288 2097151\n", Some(256 * MIB)),
            ("0 2097152 thin 0 -\n", Some(0)),
            ("0 2097152 thin Fail\n", None),
            ("0 2097152 linear \n", None),
            ("0 1 thin 99999999999999999999 1\n", None),
        ] {
            assert_eq!(mapped_bytes(said), expected, "{said}");
        }
    }

    #[test]
    fn a_pools_status() {
        let line = |end: &str| format!("0 4194304 thin-pool 1 512/1024 16/32768 - {end}\n");
        let read = |end: &str| pool(&line(end), 65536);
        let healthy = read("rw discard_passdown queue_if_no_space - 1024").unwrap();
        assert_eq!(healthy.metadata, Fill { size_bytes: 4 * MIB, used_bytes: 2 * MIB });
        assert_eq!(healthy.data, Fill { size_bytes: 2048 * MIB, used_bytes: MIB });
        assert_eq!((healthy.metadata.percent(), healthy.discards), (50, PoolDiscards::PassedDown));
        assert_eq!(healthy.trouble, None);
        for (end, discards, trouble) in [
            ("rw no_discard_passdown queue_if_no_space - 1024", PoolDiscards::Freed, None),
            ("rw ignore_discard error_if_no_space - 1024", PoolDiscards::Ignored, None),
            ("ro discard_passdown queue_if_no_space - 1024", PoolDiscards::PassedDown, Some("is read-only")),
            (
                "out_of_data_space discard_passdown queue_if_no_space - 1024",
                PoolDiscards::PassedDown,
                Some("is out of data space"),
            ),
            (
                "rw discard_passdown queue_if_no_space needs_check 1024",
                PoolDiscards::PassedDown,
                Some("needs a check (lvconvert --repair)"),
            ),
        ] {
            let said = read(end).unwrap();
            assert_eq!((said.discards, said.trouble.as_deref()), (discards, trouble), "{end}");
        }
        assert_eq!(pool("0 4194304 thin-pool Fail\n", 65536), None);
        assert_eq!(pool("0 4194304 thin-pool 1 5 6 - rw discard_passdown\n", 65536), None);
    }

    #[test]
    fn names_of_logical_volumes() {
        for (name, expected) in [
            ("vg0-web", Some(("vg0", "web"))),
            ("vg0-web--1", Some(("vg0", "web-1"))),
            ("my--vg-web", Some(("my-vg", "web"))),
            ("my--vg-web--1--old", Some(("my-vg", "web-1-old"))),
            ("plain", None),
            ("a--b", None),
            ("", None),
        ] {
            let expected = expected.map(|(group, volume)| (group.to_owned(), volume.to_owned()));
            assert_eq!(lvm_names(name), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_them(said in "\\PC{0,80}", words in "[0-9]{0,22} [0-9]{0,22} thin(-pool)? [0-9:/ -]{0,40}") {
            for text in [&said, &words] {
                let _ = (table(text), mapped_bytes(text), pool(text, 65536), lvm_names(text));
            }
        }
    }
}
