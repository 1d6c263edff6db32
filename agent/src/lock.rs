//! One lock for all trims of this guest: a host's run, a person's `trimtab-agent trim`, a timer. Never two at once.
//!
//! It is held for the length of a run, not while the agent merely listens, and the kernel lets it go with its holder.
//! The file says since when.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::sys::Roots;

/// The lock of a run in progress; dropping it lets the next one begin.
#[derive(Debug)]
pub struct TrimLock {
    file: Flock<File>,
}

/// Why the lock was not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another trim is under way.
    #[error("another trim of this guest is under way")]
    Busy {
        /// Since when, seconds since 1970; `None` in the moment when it begins or ends.
        since_unix_secs: Option<u64>,
    },
    /// The file or its folder cannot be used.
    #[error("cannot lock {path}: {source}; the agent needs a writable folder there")]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The agent's folder in /run.
pub fn folder(roots: &Roots) -> PathBuf {
    roots.run.join("trimtab-agent")
}

/// Seconds since 1970.
pub fn now_unix_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Makes the agent's folder in /run if it is not there; only root may look into it.
///
/// # Errors
/// The folder cannot be made.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

impl TrimLock {
    /// Takes the lock in `folder` without waiting.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join("lock");
        let unusable = |source| LockError::Unusable { path: path.clone(), source };
        make_folder(folder).map_err(unusable)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                let text = format!("{}\n", now_unix_secs());
                file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(unusable)?;
                Ok(Self { file })
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut text = String::new();
                let read =
                    file.rewind().and_then(|()| Read::by_ref(&mut file).take(32).read_to_string(&mut text));
                let since_unix_secs = read.ok().and_then(|_| text.trim().parse().ok());
                Err(LockError::Busy { since_unix_secs })
            }
            Err((_, errno)) => Err(unusable(errno.into())),
        }
    }
}

impl Drop for TrimLock {
    fn drop(&mut self) {
        // An empty file is what the next one finds between this moment and its own line.
        let _ = self.file.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let tmp = tempfile::tempdir().unwrap();
        let folder = tmp.path().join("trimtab-agent");
        let before = now_unix_secs();
        let held = TrimLock::take(&folder).unwrap();
        match TrimLock::take(&folder) {
            Err(LockError::Busy { since_unix_secs: Some(since) }) => assert!(since >= before, "{since}"),
            other => panic!("{other:?}"),
        }
        drop(held);
        TrimLock::take(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_is_a_file() {
        let tmp = tempfile::NamedTempFile::new().unwrap();
        let error = TrimLock::take(tmp.path()).unwrap_err();
        assert!(matches!(error, LockError::Unusable { .. }), "{error}");
    }
}
