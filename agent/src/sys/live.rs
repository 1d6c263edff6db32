//! What a survey asks of a live kernel: how full a filesystem is, where its free extents lie, and the few attributes
//! whose reading makes a request to a device.
//!
//! Any of these can wait for a disk that does not answer, and a thread that waits in the kernel cannot be stopped. So
//! [`LiveFreeSpace`] asks on a thread of its own and gives up waiting at a time limit; a question that is still stuck
//! is not asked again until it has returned. Nothing here writes.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::Instant,
};

use nix::{
    libc,
    sys::{
        stat::{major, minor},
        statfs::{BTRFS_SUPER_MAGIC, fstatfs},
    },
};

use crate::{
    kernel::fsmap,
    model::{DevNum, FreeExtents},
};

/// One mounted filesystem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Where it can be reached.
    pub mount: PathBuf,
    /// The superblock that is meant.
    pub id: DevNum,
    /// mountinfo's type.
    pub fs_type: String,
}

/// What statfs says, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// In use.
    pub used: u64,
    /// Free, root's reserve included.
    pub free: u64,
}

/// The questions. Each gives up with `TimedOut` at `until`.
pub trait FreeSpace {
    /// Whether a mount point shows a directory, not a file.
    ///
    /// # Errors
    /// As `stat`.
    fn is_directory(&self, mount: &Path, until: Instant) -> io::Result<bool>;
    /// How full a filesystem is.
    ///
    /// # Errors
    /// As `open` and `statfs`; ESTALE where another filesystem is mounted there now.
    fn space(&self, place: &Place, until: Instant) -> io::Result<Space>;
    /// Its free extents by size; empty where the kernel cannot tell.
    ///
    /// # Errors
    /// As `open` and the ioctl; ESTALE where another filesystem is mounted there now.
    fn free_extents(&self, place: &Place, until: Instant) -> io::Result<Vec<FreeExtents>>;
    /// An attribute that the device itself must answer.
    ///
    /// # Errors
    /// As `read`.
    fn attribute(&self, path: &Path, until: Instant) -> io::Result<Vec<u8>>;
}

/// Asks the running kernel.
#[derive(Clone, Debug, Default)]
pub struct LiveFreeSpace {
    /// Questions that nobody waits for any more and that have not returned.
    stuck: Arc<Mutex<HashSet<PathBuf>>>,
}

impl LiveFreeSpace {
    fn ask<T: Send + 'static>(
        &self,
        about: &Path,
        until: Instant,
        question: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let stuck = || self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        if stuck().contains(about) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let (answer, waiting) = sync_channel(1);
        let (about, shared) = (about.to_owned(), Arc::clone(&self.stuck));
        let key = about.clone();
        thread::Builder::new().name("ask".to_owned()).spawn(move || {
            let result = question(&about);
            // First the answer, then the list: whoever gave up meanwhile holds the list's lock and looks once more.
            let _nobody_waits = answer.send(result);
            shared.lock().unwrap_or_else(PoisonError::into_inner).remove(&about);
        })?;
        let gone = || io::Error::other("the thread that asked has ended without an answer");
        match waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
            Err(RecvTimeoutError::Timeout) => {
                let mut stuck = stuck();
                if let Ok(result) = waiting.try_recv() {
                    return result;
                }
                stuck.insert(key);
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }
}

impl FreeSpace for LiveFreeSpace {
    fn is_directory(&self, mount: &Path, until: Instant) -> io::Result<bool> {
        self.ask(mount, until, |mount| Ok(fs::symlink_metadata(mount)?.is_dir()))
    }

    fn space(&self, place: &Place, until: Instant) -> io::Result<Space> {
        let place = place.clone();
        self.ask(&place.mount.clone(), until, move |_| {
            let stat = fstatfs(open(&place)?)?;
            let block = u64::try_from(stat.block_size()).unwrap_or_default();
            let bytes = |blocks: u64| blocks.saturating_mul(block);
            let free = bytes(stat.blocks_free());
            Ok(Space { used: bytes(stat.blocks()).saturating_sub(free), free })
        })
    }

    fn free_extents(&self, place: &Place, until: Instant) -> io::Result<Vec<FreeExtents>> {
        let place = place.clone();
        self.ask(&place.mount.clone(), until, move |_| {
            fsmap::free_extents(open(&place)?.as_fd(), place.id, until)
        })
    }

    fn attribute(&self, path: &Path, until: Instant) -> io::Result<Vec<u8>> {
        self.ask(path, until, |path| fs::read(path))
    }
}

/// Opens a mount point read-only, and only if the superblock that is meant is still there.
///
/// # Errors
/// As `open`; ESTALE where another filesystem is mounted there now.
pub fn open(place: &Place) -> io::Result<File> {
    let dir = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&place.mount)?;
    let same = if place.fs_type == "btrfs" {
        // Each subvolume has a device number of its own, none of them mountinfo's.
        fstatfs(&dir)?.filesystem_type() == BTRFS_SUPER_MAGIC
    } else {
        let device = dir.metadata()?.dev();
        u32::try_from(major(device)) == Ok(place.id.major)
            && u32::try_from(minor(device)) == Ok(place.id.minor)
    };
    if same { Ok(dir) } else { Err(io::Error::from_raw_os_error(libc::ESTALE)) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now().checked_add(Duration::from_millis(50)).unwrap()
    }

    #[test]
    fn a_question_that_is_stuck_costs_its_limit_once() {
        let live = LiveFreeSpace::default();
        let about = Path::new("/a/disk");
        let (release, wait) = sync_channel::<()>(0);
        let error = live.ask(about, soon(), move |_| Ok(wait.recv().is_ok())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let asked = Instant::now();
        let later = asked + Duration::from_secs(60);
        let error = live.ask(about, later, |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(asked.elapsed() < Duration::from_secs(10), "it was asked again");

        release.send(()).unwrap();
        while live.stuck.lock().unwrap().contains(about) {
            thread::yield_now();
        }
        assert_eq!(live.ask(about, later, |_| Ok(7)).unwrap(), 7);
    }

    #[test]
    fn another_filesystem_in_its_place_is_not_read() {
        let place = |fs_type: &str| Place {
            mount: "/proc".into(),
            id: DevNum { major: 8, minor: 1 },
            fs_type: fs_type.to_owned(),
        };
        for fs_type in ["ext4", "btrfs"] {
            let error = open(&place(fs_type)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{fs_type}");
        }
    }
}
