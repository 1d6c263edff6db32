//! The header of a qcow2 image (docs/interop/qcow2.rst of QEMU). Pure: bytes in, facts out; every number is checked.
//!
//! Names in the header (backing file, data file) are where a guest could send a careless reader: they are not even
//! looked at. That there is one is all that is said.

use crate::model::image::Qcow2Header;

/// How much of an image is read: the header and its extensions lie in the first cluster, and end well before this.
pub(super) const HEAD_BYTES: u64 = 64 << 10;

const MAGIC: u32 = u32::from_be_bytes(*b"QFI\xfb");
const V2_LENGTH: usize = 72;
const V3_MIN_LENGTH: u32 = 104;

/// Incompatible features. Bits 0 (dirty) and 3 (compression type) change nothing of what is read here.
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const EXTENDED_L2: u64 = 1 << 4;
const KNOWN_INCOMPATIBLE: u64 = 0b1_1111;

/// Autoclear features: a program that does not know a bit sets it to 0 when it writes, so that what belongs to it is
/// known to be out of date.
const BITMAPS_VALID: u64 = 1;

/// QCOW_MAX_SNAPSHOTS of QEMU's block/qcow2.h, and one more than QCOW2_MAX_BITMAPS: it opens no image with more.
const MAX_COUNT: u32 = 65536;

const EXTENSION_END: u32 = 0;
const EXTENSION_BITMAPS: u32 = 0x2385_2875;

/// Why bytes are not a qcow2 header.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum NotQcow2 {
    #[error("it does not begin as a qcow2 image does")]
    Magic,
    #[error("its qcow2 header is cut short")]
    Short,
    #[error("its qcow2 version {0} is neither 2 nor 3")]
    Version(u32),
    #[error("its qcow2 header gives clusters of 2^{0} bytes; 2^9 to 2^21 are possible")]
    ClusterBits(u32),
    #[error("its qcow2 header says to be {0} bytes long")]
    Length(u32),
    #[error("its qcow2 header tells of {0} snapshots or bitmaps; {MAX_COUNT} are possible")]
    Count(u32),
    #[error("its qcow2 header needs features that this version of trimtab does not know ({0:#x})")]
    Features(u64),
}

/// Reads the beginning of an image.
pub(super) fn parse(head: &[u8]) -> Result<Qcow2Header, NotQcow2> {
    if be32(head, 0).ok() != Some(MAGIC) {
        return Err(NotQcow2::Magic);
    }
    let version = be32(head, 4)?;
    let backing_offset = be64(head, 8)?;
    let cluster_bits = be32(head, 20)?;
    if !matches!(version, 2 | 3) {
        return Err(NotQcow2::Version(version));
    }
    if !(9..=21).contains(&cluster_bits) {
        return Err(NotQcow2::ClusterBits(cluster_bits));
    }
    let cluster_bytes = 1_u64.checked_shl(cluster_bits).unwrap_or_default();
    let V3 { incompatible, autoclear, length } = match version {
        2 => V3 { incompatible: 0, autoclear: 0, length: V2_LENGTH },
        _ => v3(head, cluster_bytes)?,
    };
    if incompatible & !KNOWN_INCOMPATIBLE != 0 {
        return Err(NotQcow2::Features(incompatible & !KNOWN_INCOMPATIBLE));
    }
    // The extensions end where the backing file's name begins, or with the first cluster.
    let end = if backing_offset == 0 { cluster_bytes } else { backing_offset.min(cluster_bytes) };
    Ok(Qcow2Header {
        version,
        cluster_bytes,
        virtual_bytes: be64(head, 24)?,
        has_backing_file: backing_offset != 0,
        snapshots: counted(be32(head, 60)?)?,
        extended_l2: incompatible & EXTENDED_L2 != 0,
        external_data_file: incompatible & DATA_FILE != 0,
        bitmaps: match autoclear & BITMAPS_VALID {
            0 => 0,
            _ => counted(bitmaps(head, length, end))?,
        },
        is_corrupt: incompatible & CORRUPT != 0,
    })
}

/// What version 3 added.
struct V3 {
    incompatible: u64,
    autoclear: u64,
    /// Where the extensions begin.
    length: usize,
}

fn counted(count: u32) -> Result<u32, NotQcow2> {
    if count > MAX_COUNT { Err(NotQcow2::Count(count)) } else { Ok(count) }
}

fn v3(head: &[u8], cluster_bytes: u64) -> Result<V3, NotQcow2> {
    let length = be32(head, 100)?;
    if length < V3_MIN_LENGTH || u64::from(length) > cluster_bytes {
        return Err(NotQcow2::Length(length));
    }
    Ok(V3 {
        incompatible: be64(head, 72)?,
        autoclear: be64(head, 88)?,
        length: usize::try_from(length).map_err(|_| NotQcow2::Length(length))?,
    })
}

/// How many persistent bitmaps the extensions between the header's end and `end` tell of. Each extension has a type, a
/// length and its data, padded to 8 bytes.
fn bitmaps(head: &[u8], from: usize, end: u64) -> u32 {
    let head = usize::try_from(end).ok().and_then(|end| head.get(..end)).unwrap_or(head);
    let mut at = from;
    loop {
        let kind = be32(head, at);
        let length = at.checked_add(4).map(|next| be32(head, next));
        let (Ok(kind), Some(Ok(length)), Some(data)) = (kind, length, at.checked_add(8)) else {
            return 0;
        };
        match kind {
            EXTENSION_END => return 0,
            EXTENSION_BITMAPS => return be32(head, data).unwrap_or(0),
            _ => {}
        }
        let padded = usize::try_from(length).ok().and_then(|length| length.checked_next_multiple_of(8));
        match padded.and_then(|padded| data.checked_add(padded)) {
            Some(next) => at = next,
            None => return 0,
        }
    }
}

fn be32(bytes: &[u8], at: usize) -> Result<u32, NotQcow2> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(NotQcow2::Short)?;
    Ok(u32::from_be_bytes(*found))
}

fn be64(bytes: &[u8], at: usize) -> Result<u64, NotQcow2> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).ok_or(NotQcow2::Short)?;
    Ok(u64::from_be_bytes(*found))
}

#[cfg(test)]
mod tests;
