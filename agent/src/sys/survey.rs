//! Puts a survey together: what is mounted, on which devices, how full, and whether it would be trimmed.
//!
//! Reads only. What needs a live kernel goes through [`FreeSpace`], each question with a time limit and all of them
//! together with another, so that a disk that does not answer costs a survey seconds and never holds it up.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use trimtab_proto::words::DeviceKind;

use super::{
    Roots, SysError,
    block::{self, Blocks},
    errors,
    frozen::{self, Frozen},
    fstab, identity,
    live::{self, FreeSpace, Space},
    mounts::{self, Superblock},
    origin, read_text,
    stack::{self, Stack},
    timer,
};
use crate::{
    kernels::{Advice, Release},
    model::{DevNum, Filesystem, FreeExtents, Survey},
    select::{Candidate, Place, Policy, judge, place},
    text::shown,
};

/// For one attribute, one stat, one statfs.
const QUESTION_LIMIT: Duration = Duration::from_secs(1);
/// For the free extents of one filesystem.
const EXTENTS_LIMIT: Duration = Duration::from_secs(2);
/// For all questions of one survey: below the 10 s that a host waits for it.
const SURVEY_LIMIT: Duration = Duration::from_secs(6);

/// Reads all of it.
///
/// # Errors
/// [`SysError`] where mountinfo or sysfs cannot be read or hold something unforeseen. What this kernel merely lacks
/// is no error: it is listed in [`Survey::missing`].
pub fn survey(roots: &Roots, policy: &Policy, probe: &dyn FreeSpace) -> Result<Survey, SysError> {
    let superblocks = mounts::read(roots)?;
    let mut blocks = block::read(roots)?;
    let mut asker = Asker { probe, end: after(SURVEY_LIMIT), missing: BTreeSet::new() };
    asker.serials(&mut blocks);
    let origins = origin::find(roots, &superblocks, &blocks)?;
    let loops = origin::loop_holders(&superblocks, &blocks, &origins);
    origin::complete(roots, &mut blocks, &origins, &loops)?;
    let origin_of = |id: DevNum| origins.get(&id).cloned().unwrap_or_default();
    let facts = Facts {
        policy,
        opted_out: fstab::opted_out(roots)?,
        frozen: frozen::read(roots)?,
        kernel: read_text(&roots.proc.join("sys/kernel/osrelease"))?.and_then(|text| text.parse().ok()),
        blocks: &blocks,
    };
    let filesystems = superblocks
        .iter()
        .map(|superblock| {
            let stack = stack::walk(&origin_of(superblock.id), &blocks, &loops, &origin_of);
            let tops = stack.tops.iter().filter_map(|id| Some(blocks.get(*id)?.device.name.as_str()));
            let errors = errors::count(roots, &superblock.fs_type, &tops.collect::<Vec<_>>())?;
            Ok(Filesystem { errors, ..asker.filesystem(superblock, stack, &facts) })
        })
        .collect::<Result<_, SysError>>()?;
    if blocks.all().iter().any(|b| b.device.written.is_some() && b.device.discarded.is_none()) {
        asker.missing.insert("this kernel does not count discarded bytes (Linux 4.18 does)".to_owned());
    }
    Ok(Survey {
        filesystems,
        devices: blocks.into_devices(),
        fstrim_timer: timer::read(roots),
        missing: asker.missing.into_iter().collect(),
    })
}

fn after(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or(now)
}

/// What every filesystem is judged by.
struct Facts<'a> {
    policy: &'a Policy,
    opted_out: BTreeSet<PathBuf>,
    frozen: Frozen,
    kernel: Option<Release>,
    blocks: &'a Blocks,
}

/// Asks the live kernel and remembers what it did not answer.
struct Asker<'a> {
    probe: &'a dyn FreeSpace,
    end: Instant,
    missing: BTreeSet<String>,
}

impl Asker<'_> {
    fn until(&self, limit: Duration) -> Instant {
        after(limit).min(self.end)
    }

    fn note<T>(&mut self, what: impl FnOnce() -> String, answer: io::Result<T>) -> Option<T> {
        answer
            .map_err(|e| {
                let why = match e.kind() {
                    io::ErrorKind::TimedOut => "no answer in time".to_owned(),
                    _ => e.to_string(),
                };
                self.missing.insert(format!("not known: {} ({why})", what()));
            })
            .ok()
    }

    fn serials(&mut self, blocks: &mut Blocks) {
        blocks.for_each(|block| {
            if block.device.kind != DeviceKind::Disk || !block.device.identity.serial.is_empty() {
                return;
            }
            let Some(path) = identity::slow_serial(&block.dir) else { return };
            let answer = self.probe.attribute(&path, self.until(QUESTION_LIMIT));
            if let Some(bytes) = self.note(|| format!("the serial of {}", block.device.name), answer) {
                identity::take_serial(&mut block.device.identity, &bytes);
            }
        });
    }

    fn filesystem(&mut self, superblock: &Superblock, stack: Stack, facts: &Facts<'_>) -> Filesystem {
        // Only filesystems on this guest's disks are touched at all, and no FUSE: a process serves it, which may
        // never answer.
        let on_disk = place(&superblock.fs_type, superblock.id) == Place::Disk;
        let touchable = on_disk && !superblock.fs_type.starts_with("fuse");
        let open = if touchable { self.open_point(superblock) } else { None };
        let flag = facts.frozen.flag(superblock.id);
        let frozen = flag.is_some();
        let opted_out = superblock.points.iter().find_map(|p| facts.opted_out.get(&p.path));
        let candidate = Candidate {
            superblock,
            reachable: open.is_some(),
            stack: &stack,
            blocks: facts.blocks,
            opted_out: opted_out.map(PathBuf::as_path),
            frozen: flag,
            kernel: facts.kernel.as_ref(),
        };
        let skip = judge(&candidate, facts.policy);
        if let (None, Some(Advice::Warn(text))) = (&skip, candidate.advice()) {
            self.missing.insert(text);
        }
        let (space, free_extents) = match &open {
            Some(mount) => self.fill(superblock, mount, frozen),
            None => (None, Vec::new()),
        };
        let sizes = stack.tops.iter().filter_map(|id| facts.blocks.get(*id)).map(|block| block.device.size);
        Filesystem {
            id: superblock.id,
            mount: open
                .unwrap_or_else(|| superblock.points.first().map(|p| p.path.clone()).unwrap_or_default()),
            mounts: u32::try_from(superblock.points.len()).unwrap_or(u32::MAX),
            fs_type: superblock.fs_type.clone(),
            device: stack.tops.first().copied(),
            size: sizes.reduce(u64::saturating_add),
            leaves: stack.leaves,
            inside: stack.inside,
            used: space.map(|space| space.used),
            free: space.map(|space| space.free),
            skip,
            free_extents,
            frozen,
            errors: None,
        }
    }

    /// How full it is, and in what pieces its free space lies.
    fn fill(
        &mut self,
        superblock: &Superblock,
        mount: &Path,
        frozen: bool,
    ) -> (Option<Space>, Vec<FreeExtents>) {
        let Superblock { id, fs_type, .. } = superblock;
        let place = live::Place { mount: mount.to_owned(), id: *id, fs_type: fs_type.clone() };
        let name = shown(mount);
        let answer = self.probe.space(&place, self.until(QUESTION_LIMIT));
        let space = self.note(|| format!("how full {name} is"), answer);
        // btrfs has no such map. A filesystem that did not even answer statfs is not asked for more.
        let mapped = ["ext2", "ext3", "ext4", "xfs"].contains(&fs_type.as_str());
        if space.is_none() || frozen || !mapped {
            return (space, Vec::new());
        }
        let answer = self.probe.free_extents(&place, self.until(EXTENTS_LIMIT));
        let extents = self.note(|| format!("the free extents of {name}"), answer);
        if extents.as_ref().is_some_and(Vec::is_empty) {
            let text = "this kernel does not list free extents (FS_IOC_GETFSMAP, Linux 4.12 does)";
            self.missing.insert(text.to_owned());
        }
        (space, extents.unwrap_or_default())
    }

    /// The first mount point that nothing covers and that shows a directory.
    fn open_point(&mut self, superblock: &Superblock) -> Option<PathBuf> {
        superblock.points.iter().filter(|point| !point.covered).find_map(|point| {
            let is_directory = point.whole || {
                let answer = self.probe.is_directory(&point.path, self.until(QUESTION_LIMIT));
                self.note(|| format!("what {} shows", shown(&point.path)), answer) == Some(true)
            };
            is_directory.then(|| point.path.clone())
        })
    }
}
