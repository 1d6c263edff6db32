//! Free extents of the guest against the smallest piece that an image can give back.

use super::DiskFacts;
use crate::model::guest::Filesystem;

/// The smallest piece of this image that can be freed, in bytes: a qcow2 cluster, or a subcluster with extended L2
/// entries. `None` where the format has none (raw).
pub fn smallest_piece(facts: &DiskFacts<'_>) -> Option<u64> {
    let header = facts.image?.header?;
    // 32 subclusters in a cluster (docs/interop/qcow2.txt of QEMU).
    let pieces = if header.extended_l2 { 32 } else { 1 };
    header.cluster_bytes.checked_div(pieces)
}

/// Free bytes of a filesystem that lie in extents smaller than `piece`; `None` where its extents are not known.
pub fn free_below(fs: &Filesystem, piece: u64) -> Option<u64> {
    let all = fs.free_extents.iter().map(|class| class.bytes).max()?;
    let reachable = fs.free_extents.iter().find(|class| class.at_least_bytes >= piece)?.bytes;
    all.checked_sub(reachable)
}
