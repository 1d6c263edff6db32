//! Free extents of the guest against the smallest piece that an image can give back.

use super::{DiskFacts, stack::filesystems_on};
use crate::model::{guest::Filesystem, volume::Volume};

/// The smallest piece of this image that can be freed, in bytes: a qcow2 cluster, whole also with extended L2 entries
/// (qcow2_co_pdiscard() of QEMU takes no subclusters: seen with 7.2), and a chunk of the thin pool below. `None` where
/// there is neither.
pub fn smallest_piece(facts: &DiskFacts<'_>) -> Option<u64> {
    let image = facts.image?;
    let chunk = match &image.place.volume {
        Some(Volume::Thin(thin)) => Some(thin.pool.chunk_bytes),
        _ => None,
    };
    image.header.map(|header| header.cluster_bytes).max(chunk)
}

/// Free bytes of a filesystem that lie in extents smaller than `piece`; `None` where its extents are not known.
pub fn free_below(fs: &Filesystem, piece: u64) -> Option<u64> {
    let all = fs.free_extents.iter().map(|class| class.bytes).max()?;
    let reachable = fs.free_extents.iter().find(|class| class.at_least_bytes >= piece)?.bytes;
    all.checked_sub(reachable)
}

/// Free bytes of the disk's filesystems that lie in extents large enough for its image to free, and all of them; `None`
/// where the extents of one are not known, or where it spans several disks.
pub fn reachable(facts: &DiskFacts<'_>) -> Option<(u64, u64)> {
    let (survey, disk) = facts.paired()?;
    let piece = smallest_piece(facts).unwrap_or(0);
    filesystems_on(survey, &disk.id).filter(|on| on.filesystem.skip.is_none()).try_fold(
        (0_u64, 0_u64),
        |(reachable, all), on| {
            let fs = on.alone.then_some(on.filesystem)?;
            let free = fs.free_extents.iter().map(|class| class.bytes).max()?;
            let large = free.saturating_sub(free_below(fs, piece)?);
            Some((reachable.saturating_add(large), all.saturating_add(free)))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::samples::{HEADER, Sample},
        model::guest::FreeExtents,
    };

    #[test]
    fn what_the_image_can_free() {
        let class = |at_least_bytes, bytes| FreeExtents { at_least_bytes, bytes };
        let extents = vec![class(4096, 100), class(65536, 60), class(1 << 20, 10)];
        for (name, mut sample, expected) in
            [("raw", Sample::raw(), (100, 100)), ("qcow2", Sample::qcow2(HEADER), (60, 100))]
        {
            assert_eq!(reachable(&sample.facts()), None, "{name}: not told");
            sample.survey.filesystems[0].free_extents.clone_from(&extents);
            assert_eq!(reachable(&sample.facts()), Some(expected), "{name}");
            sample.survey.filesystems[0].leaf_ids.push("8:16".into());
            assert_eq!(reachable(&sample.facts()), None, "{name}: spans disks");
        }
    }
}
