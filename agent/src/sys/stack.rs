//! Pure: the way from a filesystem down to its disks.
//!
//! ```text
//! filesystem → partition → disk
//!            → dm-crypt → LVM → md → partitions → disks
//!            → loop device → (the file's filesystem) → … → disk
//! ```

use std::collections::{BTreeMap, BTreeSet};

use trimtab_proto::words::DeviceKind;

use super::block::Blocks;
use crate::model::DevNum;

/// What lies below a filesystem.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stack {
    /// The devices that it is mounted from: one, or all of a btrfs.
    pub tops: Vec<DevNum>,
    /// Every device that a discard of it passes, from the top down. A loop device ends it: what it discards becomes
    /// free space of another filesystem.
    pub layers: Vec<DevNum>,
    /// The disks at the very bottom, below loop devices too.
    pub leaves: Vec<DevNum>,
    /// The filesystems that hold the files of its loop devices.
    pub inside: Vec<DevNum>,
}

/// Which filesystem (by its superblock) holds the file of which loop device.
pub type Holders = BTreeMap<DevNum, DevNum>;

/// Walks down from the devices in `tops`. `tops_of` says what a filesystem below a loop device is mounted from.
pub fn walk(
    tops: &[DevNum],
    blocks: &Blocks,
    holders: &Holders,
    tops_of: &dyn Fn(DevNum) -> Vec<DevNum>,
) -> Stack {
    let mut stack = Stack { tops: tops.to_vec(), ..Stack::default() };
    let mut seen = BTreeSet::new();
    let mut leaves = BTreeSet::new();
    let mut inside = BTreeSet::new();
    // Level by level; the flag says whether a loop device was passed.
    let mut level: Vec<(DevNum, bool)> = tops.iter().map(|id| (*id, false)).collect();
    while !level.is_empty() {
        let mut next = Vec::new();
        for (id, below_loop) in level {
            if !seen.insert(id) {
                continue;
            }
            if !below_loop {
                stack.layers.push(id);
            }
            let Some(block) = blocks.get(id) else {
                leaves.insert(id);
                continue;
            };
            let mut lower: Vec<(DevNum, bool)> =
                block.device.lower.iter().map(|id| (*id, below_loop)).collect();
            if block.device.kind == DeviceKind::Loop {
                lower.clear();
                if let Some(holder) = holders.get(&id) {
                    inside.insert(*holder);
                    lower.extend(tops_of(*holder).into_iter().map(|id| (id, true)));
                }
            }
            if lower.is_empty() {
                leaves.insert(id);
            }
            next.append(&mut lower);
        }
        level = next;
    }
    stack.leaves = leaves.into_iter().collect();
    stack.inside = inside.into_iter().collect();
    stack
}

/// The layer of a stack that passes no discard: the lowest device that cannot, below a top that cannot. `None` where
/// at least one top can.
pub fn cut(stack: &Stack, blocks: &Blocks) -> Option<DevNum> {
    let mut at = *stack.tops.first()?;
    if !stack.tops.iter().all(|top| cannot_discard(*top, blocks)) {
        return None;
    }
    // No way down has more steps than there are devices.
    for _ in blocks.all() {
        let block = blocks.get(at)?;
        if block.device.kind == DeviceKind::Loop {
            break;
        }
        match block.device.lower.iter().find(|id| cannot_discard(**id, blocks)) {
            Some(lower) => at = *lower,
            None => break,
        }
    }
    Some(at)
}

/// A device that says it cannot. One that says nothing (it has no queue, or the kernel is too old) may.
fn cannot_discard(id: DevNum, blocks: &Blocks) -> bool {
    blocks.get(id).is_some_and(|block| {
        let limits = block.device.discard;
        limits.granularity == Some(0) || limits.max_bytes == Some(0)
    })
}
