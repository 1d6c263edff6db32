//! One worker per host: a lock on a file beside the store. The kernel lets go of it however the process ends, so a run
//! that is "running" when a worker begins is an orphan.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::{
    campaign::handed,
    model::trouble::{Kind, Trouble},
};

/// No holder writes more.
const MAX_BYTES: u64 = 256;

/// Held as long as it lives.
#[derive(Debug)]
pub struct WorkerLock {
    _file: Flock<File>,
}

/// What came of asking for it.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Ours(WorkerLock),
    /// Another worker of this host has it.
    Theirs {
        /// As it wrote itself: "process 1234, since 2026-01-01T00:00:00Z".
        who: String,
    },
}

impl WorkerLock {
    /// Tries to take the lock beside this store.
    ///
    /// # Errors
    /// The file cannot be opened or locked.
    pub fn take(store: &Path) -> Result<Taken, Trouble> {
        let path = path_of(store);
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Trouble::new(Kind::Store, format!("cannot {what} {}: {error}", path.display())).hint(
                "a worker writes beside its store, on a filesystem of this host: run it as root, or as the \
                     folder's owner, whose file it must be",
            )
        };
        let file = match handed::make(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NOFOLLOW).open(&path)
            }
            made => made,
        };
        let file = file.map_err(|error| failed("open", &error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                let line = format!("process {}, since {}\n", std::process::id(), jiff::Timestamp::now());
                // For whoever meets the lock; it holds without.
                let _ = file.set_len(0).and_then(|()| file.rewind());
                let _ = file.write_all(line.as_bytes());
                Ok(Taken::Ours(Self { _file: file }))
            }
            Err((file, Errno::EWOULDBLOCK)) => {
                let mut who = String::new();
                let read = file.take(MAX_BYTES).read_to_string(&mut who);
                let who = who.lines().next().filter(|_| read.is_ok()).unwrap_or("another process").to_owned();
                Ok(Taken::Theirs { who })
            }
            Err((_, error)) => Err(failed("lock", &error)),
        }
    }
}

fn path_of(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".worker");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("trimtab.db");
        let first = WorkerLock::take(&store).unwrap();
        match WorkerLock::take(&store).unwrap() {
            Taken::Theirs { who } => {
                assert!(who.starts_with(&format!("process {}, since 2", std::process::id())), "{who}");
            }
            Taken::Ours(_) => panic!("two have it"),
        }
        drop(first);
        assert!(matches!(WorkerLock::take(&store).unwrap(), Taken::Ours(_)));
    }

    #[test]
    fn a_place_that_is_not_there_is_named() {
        let trouble = WorkerLock::take(Path::new("/nowhere/trimtab.db")).unwrap_err();
        assert!(trouble.text.contains("/nowhere/trimtab.db.worker"), "{trouble}");
    }
}
