//! /sys/block: every disk, partition, and what device-mapper, md and loop devices make of them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use trimtab_proto::words::{DeviceKind, DeviceUse};

use super::{Roots, SysError, counters, identity, list, read_number, read_text};
use crate::model::{DevNum, Device, DiscardLimits, Identity};

/// sysfs counts sizes in sectors of this many bytes, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;

/// A block device with what only the rules need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// What is reported of it.
    pub device: Device,
    /// Set where it is an md array.
    pub md: Option<Md>,
    /// device-mapper's name: "vg0-root".
    pub dm_name: String,
    /// The file below a loop device.
    pub backing_file: Option<PathBuf>,
    /// Names of the devices that are built on it.
    pub holders: Vec<String>,
    /// Its directory in sysfs.
    pub dir: PathBuf,
}

/// An md array, as `md/` in its directory says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Md {
    /// "raid5".
    pub level: String,
    /// raid0: 1 is the "original" layout, 2 the "alternate" one.
    pub layout: Option<u64>,
}

/// All block devices.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Blocks {
    list: Vec<Block>,
    by_id: HashMap<DevNum, usize>,
    by_name: HashMap<String, usize>,
}

impl Blocks {
    /// All of them, each disk before its partitions.
    pub fn all(&self) -> &[Block] {
        &self.list
    }

    /// The device with a number.
    pub fn get(&self, id: DevNum) -> Option<&Block> {
        self.list.get(*self.by_id.get(&id)?)
    }

    /// The device that a path like /dev/sda1, /dev/dm-0 or /dev/mapper/vg0-root names, by the names alone.
    pub fn named(&self, path: &str) -> Option<&Block> {
        let name = path.strip_prefix("/dev/").unwrap_or(path);
        if let Some(name) = name.strip_prefix("mapper/") {
            return self.list.iter().find(|block| block.dm_name == name);
        }
        // A slash in a kernel's name stands as "!" in sysfs (cciss!c0d0).
        self.list.get(*self.by_name.get(&name.replace('/', "!"))?)
    }

    /// The devices, to be reported.
    pub fn into_devices(self) -> Vec<Device> {
        self.list.into_iter().map(|block| block.device).collect()
    }

    /// Changes what is reported of each device.
    pub(crate) fn for_each(&mut self, mut change: impl FnMut(&mut Block)) {
        self.list.iter_mut().for_each(&mut change);
    }

    fn add(&mut self, block: Block) {
        let at = self.list.len();
        self.by_id.insert(block.device.id, at);
        self.by_name.insert(block.device.name.clone(), at);
        self.list.push(block);
    }
}

impl FromIterator<Block> for Blocks {
    fn from_iter<I: IntoIterator<Item = Block>>(list: I) -> Self {
        let mut blocks = Self::default();
        list.into_iter().for_each(|block| blocks.add(block));
        blocks
    }
}

/// Reads all devices. Loop devices without a file and RAM disks without a size are left out: there is nothing behind
/// them. What they serve, and serials that the device itself must answer, are filled in by the survey.
///
/// # Errors
/// [`SysError`] where sysfs holds something unforeseen; a device that vanishes meanwhile is left out.
pub fn read(roots: &Roots) -> Result<Blocks, SysError> {
    let top = roots.sys.join("block");
    let mut blocks = Blocks::default();
    let mut slaves: HashMap<DevNum, Vec<String>> = HashMap::new();
    for name in list(&top)? {
        let dir = top.join(&name);
        let Some(disk) = read_block(&dir, &name, None)? else { continue };
        if disk.device.size == 0 && ["loop", "ram", "zram", "nbd"].iter().any(|kind| name.starts_with(kind)) {
            continue;
        }
        slaves.insert(disk.device.id, list(&dir.join("slaves"))?);
        let mut partitions = Vec::new();
        for part in list(&dir)?.into_iter().filter(|part| part.starts_with(&name)) {
            let part_dir = dir.join(&part);
            if part_dir.join("partition").exists() {
                partitions.extend(read_block(&part_dir, &part, Some(&disk.device))?);
            }
        }
        blocks.add(disk);
        partitions.into_iter().for_each(|part| blocks.add(part));
    }
    let ids: HashMap<String, DevNum> =
        blocks.list.iter().map(|block| (block.device.name.clone(), block.device.id)).collect();
    blocks.for_each(|block| {
        let names = slaves.get(&block.device.id).map(Vec::as_slice).unwrap_or_default();
        block.device.lower.extend(names.iter().filter_map(|name| ids.get(name)));
    });
    Ok(blocks)
}

fn read_block(dir: &Path, name: &str, disk: Option<&Device>) -> Result<Option<Block>, SysError> {
    let dev = dir.join("dev");
    let Some(text) = read_text(&dev)? else { return Ok(None) };
    let id = text.parse().map_err(|_| SysError::Format { path: dev, text, expected: "a device number" })?;
    let dm_uuid = read_text(&dir.join("dm/uuid"))?.unwrap_or_default();
    let md = read_md(dir)?;
    let kind = kind(dir, name, disk.is_some(), &dm_uuid, md.is_some());
    let counters = counters::read_in(dir)?;
    let (discard, logical_block) = match disk {
        Some(disk) => (
            DiscardLimits { alignment: read_number(&dir.join("discard_alignment"))?, ..disk.discard },
            disk.logical_block,
        ),
        None => {
            (read_limits(dir)?, read_number(&dir.join("queue/logical_block_size"))?.unwrap_or(SECTOR_BYTES))
        }
    };
    let backing_file = match kind {
        DeviceKind::Loop => read_text(&dir.join("loop/backing_file"))?
            .map(|path| PathBuf::from(path.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(path))),
        _ => None,
    };
    Ok(Some(Block {
        device: Device {
            id,
            name: name.to_owned(),
            kind,
            dm_uuid,
            lower: disk.map(|disk| disk.id).into_iter().collect(),
            size: read_number(&dir.join("size"))?.unwrap_or_default().saturating_mul(SECTOR_BYTES),
            read_only: read_number(&dir.join("ro"))? == Some(1),
            discard,
            logical_block,
            provisioning_mode: identity::provisioning_mode(dir)?,
            identity: match kind {
                DeviceKind::Disk => identity::read(dir)?,
                _ => Identity::default(),
            },
            discarded: counters.discarded_bytes,
            written: counters.written_bytes,
            used_for: DeviceUse::Unused,
        },
        md,
        dm_name: read_text(&dir.join("dm/name"))?.unwrap_or_default(),
        backing_file,
        holders: list(&dir.join("holders"))?,
        dir: dir.to_owned(),
    }))
}

fn read_limits(dir: &Path) -> Result<DiscardLimits, SysError> {
    let queue = dir.join("queue");
    Ok(DiscardLimits {
        granularity: read_number(&queue.join("discard_granularity"))?,
        max_bytes: read_number(&queue.join("discard_max_bytes"))?,
        max_hw_bytes: read_number(&queue.join("discard_max_hw_bytes"))?,
        zeroes_data: read_number(&queue.join("discard_zeroes_data"))?,
        alignment: read_number(&dir.join("discard_alignment"))?,
    })
}

fn read_md(dir: &Path) -> Result<Option<Md>, SysError> {
    let Some(level) = read_text(&dir.join("md/level"))? else { return Ok(None) };
    // An array that is being reshaped shows two layouts, the second one in brackets.
    let layout = read_text(&dir.join("md/layout"))?
        .and_then(|text| text.split_ascii_whitespace().next().and_then(|word| word.parse().ok()));
    Ok(Some(Md { level, layout }))
}

/// The prefix of dm/uuid names the subsystem that made the device (lib/device_mapper's DM_UUID convention).
fn kind(dir: &Path, name: &str, is_partition: bool, dm_uuid: &str, is_md: bool) -> DeviceKind {
    if is_partition {
        return DeviceKind::Partition;
    }
    if dir.join("dm").exists() {
        return match dm_uuid {
            uuid if uuid.starts_with("LVM-") => DeviceKind::Lvm,
            uuid if uuid.starts_with("CRYPT-") => DeviceKind::Crypt,
            uuid if uuid.starts_with("mpath-") => DeviceKind::Multipath,
            // kpartx: "part1-mpath-…"
            uuid if uuid.starts_with("part") && uuid.contains('-') => DeviceKind::Partition,
            _ => DeviceKind::Mapped,
        };
    }
    if is_md {
        return DeviceKind::Md;
    }
    match name.strip_prefix("loop") {
        Some(number) if number.bytes().all(|b| b.is_ascii_digit()) => DeviceKind::Loop,
        _ => DeviceKind::Disk,
    }
}

/// What a device serves, as far as the kernel knows: swap, a mount, what is built on it, its partitions. An LVM
/// physical volume whose group is not active looks unused: only its contents would tell.
pub(crate) fn use_of(block: &Block, blocks: &Blocks, mounted: bool, swap: bool) -> DeviceUse {
    if swap {
        return DeviceUse::Swap;
    }
    if mounted {
        return DeviceUse::Mounted;
    }
    let holder = block.holders.iter().find_map(|name| blocks.named(name));
    match holder.map(|holder| holder.device.kind) {
        Some(DeviceKind::Lvm) => DeviceUse::LvmMember,
        Some(DeviceKind::Crypt) => DeviceUse::CryptMember,
        Some(DeviceKind::Md) => DeviceUse::MdMember,
        Some(DeviceKind::Multipath) => DeviceUse::MultipathMember,
        // kpartx's partitions of this very device
        Some(DeviceKind::Partition) => DeviceUse::Partitioned,
        Some(_) => DeviceUse::MappedMember,
        None if blocks.all().iter().any(|other| {
            other.device.kind == DeviceKind::Partition && other.device.lower == [block.device.id]
        }) =>
        {
            DeviceUse::Partitioned
        }
        None => DeviceUse::Unused,
    }
}

/// The devices that /proc/swaps names (proc(5)); swap files are none.
///
/// # Errors
/// [`SysError::Read`].
pub(crate) fn swaps(roots: &Roots, blocks: &Blocks) -> Result<Vec<DevNum>, SysError> {
    let text = read_text(&roots.proc.join("swaps"))?.unwrap_or_default();
    Ok(text
        .lines()
        .skip(1)
        .filter_map(|line| blocks.named(line.split_ascii_whitespace().next()?))
        .map(|block| block.device.id)
        .collect())
}
