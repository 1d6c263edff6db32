//! Pure: the way from a filesystem down to its disks.
//!
//! ```text
//! filesystem → partition → disk
//!            → dm-crypt → LVM → md → partitions → disks
//!            → loop device → (the file's filesystem) → … → disk
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

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

/// Walks down from the devices in `tops`. `origin_of` says what a filesystem below a loop device is mounted from.
pub fn walk(
    tops: &[DevNum],
    blocks: &Blocks,
    holders: &Holders,
    origin_of: &dyn Fn(DevNum) -> Vec<DevNum>,
) -> Stack {
    let mut stack = Stack { tops: tops.to_vec(), ..Stack::default() };
    visit(tops, blocks, holders, origin_of, &mut |step| {
        if !step.below_loop {
            stack.layers.push(step.id);
        }
        if step.lower.is_empty() {
            stack.leaves.push(step.id);
        }
        stack.inside.extend(step.holder);
    });
    stack.leaves.sort_unstable();
    stack.inside.sort_unstable();
    stack.inside.dedup();
    stack
}

/// All devices that can be reached downwards, below loop devices too.
pub(crate) fn reach(
    tops: &[DevNum],
    blocks: &Blocks,
    holders: &Holders,
    origin_of: &dyn Fn(DevNum) -> Vec<DevNum>,
) -> BTreeSet<DevNum> {
    let mut reached = BTreeSet::new();
    visit(tops, blocks, holders, origin_of, &mut |step| {
        reached.insert(step.id);
    });
    reached
}

/// One device on the way down.
struct Step<'a> {
    id: DevNum,
    below_loop: bool,
    lower: &'a [DevNum],
    /// The filesystem that holds its file, where it is a loop device.
    holder: Option<DevNum>,
}

/// Visits each device once, level by level.
fn visit(
    tops: &[DevNum],
    blocks: &Blocks,
    holders: &Holders,
    origin_of: &dyn Fn(DevNum) -> Vec<DevNum>,
    see: &mut dyn FnMut(Step<'_>),
) {
    let mut seen = BTreeSet::new();
    let mut level: VecDeque<(DevNum, bool)> = tops.iter().map(|id| (*id, false)).collect();
    while let Some((id, below_loop)) = level.pop_front() {
        if !seen.insert(id) {
            continue;
        }
        let block = blocks.get(id);
        let is_loop = block.is_some_and(|block| block.device.kind == DeviceKind::Loop);
        let holder = holders.get(&id).copied().filter(|_| is_loop);
        let lower = match (block, holder) {
            (_, Some(holder)) => origin_of(holder),
            (Some(block), None) if !is_loop => block.device.lower.clone(),
            _ => Vec::new(),
        };
        see(Step { id, below_loop, lower: &lower, holder });
        level.extend(lower.iter().map(|lower| (*lower, below_loop || is_loop)));
    }
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
