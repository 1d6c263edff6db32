//! Which devices a filesystem is mounted from, which filesystem holds a loop device's file, and what each device
//! serves: the joints between mountinfo and sysfs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    Roots, SysError,
    block::{self, Blocks},
    list,
    mounts::Superblock,
    stack::{self, Holders},
};
use crate::{
    model::DevNum,
    select::{Place, place},
};

/// For each superblock the devices it is mounted from. None for those without a disk.
pub(crate) type Origins = BTreeMap<DevNum, Vec<DevNum>>;

/// Finds the devices of all superblocks.
///
/// A superblock's number is its device's, but for those that span devices and have major 0. Of btrfs, mountinfo names
/// one member as the source (fs/btrfs/super.c, `btrfs_show_devname`), and /sys/fs/btrfs/UUID/devices lists them all.
pub(crate) fn find(roots: &Roots, superblocks: &[Superblock], blocks: &Blocks) -> Result<Origins, SysError> {
    let mut families = btrfs_families(roots, blocks)?;
    let mut origins = Origins::new();
    let mut orphans = Vec::new();
    for superblock in superblocks.iter().filter(|s| place(&s.fs_type, s.id) == Place::Disk) {
        let devices = if superblock.id.major != 0 {
            vec![superblock.id]
        } else {
            let source = named(roots, &superblock.source.to_string_lossy(), blocks);
            let family = source.first().and_then(|id| families.iter().position(|family| family.contains(id)));
            match family {
                Some(at) if superblock.fs_type == "btrfs" => families.swap_remove(at),
                _ => source,
            }
        };
        if devices.is_empty() && superblock.fs_type == "btrfs" {
            orphans.push(superblock.id);
        }
        origins.insert(superblock.id, devices);
    }
    // A source that nothing names ("/dev/root"): the one family that is left belongs to the one that has none.
    if let ([orphan], [family]) = (orphans.as_slice(), families.as_slice()) {
        origins.insert(*orphan, family.clone());
    }
    Ok(origins)
}

fn btrfs_families(roots: &Roots, blocks: &Blocks) -> Result<Vec<Vec<DevNum>>, SysError> {
    let top = roots.sys.join("fs/btrfs");
    let mut families = Vec::new();
    for uuid in list(&top)? {
        let names = list(&top.join(&uuid).join("devices"))?;
        let members: Vec<DevNum> =
            names.iter().filter_map(|name| blocks.named(name)).map(|b| b.device.id).collect();
        if !members.is_empty() {
            families.push(members);
        }
    }
    Ok(families)
}

/// The devices that a mount's source names, one or several with colons between them (bcachefs).
fn named(roots: &Roots, source: &str, blocks: &Blocks) -> Vec<DevNum> {
    let one = |source: &str| {
        let by_link = || {
            let real = roots.dev.join(source.strip_prefix("/dev/")?).canonicalize().ok()?;
            blocks.named(real.file_name()?.to_str()?)
        };
        blocks.named(source).or_else(by_link).map(|block| block.device.id)
    };
    source.split(':').filter_map(one).collect()
}

/// Finds the filesystem that holds the file of each loop device: the one whose open mount point is the longest
/// beginning of the file's path. A file can lie below a mount point that covers it, its own loop device's even; what
/// would make a device lie on itself is taken for unknown.
pub(crate) fn loop_holders(superblocks: &[Superblock], blocks: &Blocks, origins: &Origins) -> Holders {
    let holder = |file: &Path| {
        superblocks
            .iter()
            .flat_map(|s| {
                let above = s.points.iter().filter(|p| !p.covered && file.starts_with(&p.path));
                above.map(|p| (s.id, &p.path))
            })
            .max_by_key(|(_, path)| path.as_os_str().len())
            .map(|(id, _)| id)
    };
    let mut holders = Holders::new();
    for block in blocks.all() {
        let id = block.device.id;
        let Some(found) = block.backing_file.as_deref().and_then(holder) else { continue };
        let origin_of = |fs| origins.get(&fs).cloned().unwrap_or_default();
        let reached = stack::reach(&origin_of(found), blocks, &holders, &origin_of);
        if !reached.contains(&id) {
            holders.insert(id, found);
        }
    }
    holders
}

/// Fills in what is known only now: what a loop device lies on, and what each device serves.
pub(crate) fn complete(
    roots: &Roots,
    blocks: &mut Blocks,
    origins: &Origins,
    loops: &Holders,
) -> Result<(), SysError> {
    let mounted: BTreeSet<DevNum> = origins.values().flatten().copied().collect();
    let swaps: BTreeSet<DevNum> = block::swaps(roots, blocks)?.into_iter().collect();
    let uses: BTreeMap<DevNum, _> = blocks
        .all()
        .iter()
        .map(|b| b.device.id)
        .filter_map(|id| {
            let used = block::use_of(blocks.get(id)?, blocks, mounted.contains(&id), swaps.contains(&id));
            Some((id, used))
        })
        .collect();
    blocks.for_each(|block| {
        if let Some(used) = uses.get(&block.device.id) {
            block.device.used_for = *used;
        }
        if let Some(below) = loops.get(&block.device.id).and_then(|holder| origins.get(holder)) {
            block.device.lower.clone_from(below);
        }
    });
    Ok(())
}
