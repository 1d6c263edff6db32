//! Reading the kernel: mounts, block devices, counters. Reads only, and only below [`Roots`], so that a captured tree
//! is read like a live one.
//!
//! An entry that vanishes while a directory is walked is normal and counts as absent; every other error names its
//! path.

pub mod block;
pub mod counters;
pub mod errors;
pub mod frozen;
pub mod fstab;
pub mod identity;
pub mod live;
pub mod mounts;
mod origin;
pub mod pressure;
pub mod stack;
pub mod survey;
pub mod system;
pub mod timer;

pub use live::{FreeSpace, LiveFreeSpace};
pub use survey::survey;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where the kernel and the system's configuration are read. Tests point them at temporary trees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roots {
    /// procfs.
    pub proc: PathBuf,
    /// sysfs.
    pub sys: PathBuf,
    /// Device nodes.
    pub dev: PathBuf,
    /// The owner's configuration.
    pub etc: PathBuf,
    /// What lasts until the next boot.
    pub run: PathBuf,
    /// Where packages put their units: one of the two exists, or both are the same.
    pub lib: [PathBuf; 2],
}

impl Roots {
    /// The running system: the one place that knows these paths.
    pub fn system() -> Self {
        Self::under(Path::new("/"))
    }

    /// A tree of the same shape below `root`.
    pub fn under(root: &Path) -> Self {
        Self {
            proc: root.join("proc"),
            sys: root.join("sys"),
            dev: root.join("dev"),
            etc: root.join("etc"),
            run: root.join("run"),
            lib: [root.join("usr/lib"), root.join("lib")],
        }
    }
}

/// The kernel could not be read, or said something unforeseen.
#[derive(Debug, thiserror::Error)]
pub enum SysError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was read and is not what it should be.
    #[error("{}: {text:?} is not {expected}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// The part of it that was not understood.
        text: String,
        /// What should stand there.
        expected: &'static str,
    },
}

impl SysError {
    /// For `map_err`: the path that a read failed on.
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Read { path: path.to_owned(), source }
    }
}

/// Whether an error says that the thing is not, or no longer, there. sysfs answers ENODEV or ENXIO for an attribute
/// whose device has gone, and EINVAL, EOPNOTSUPP or EIO for one that has no value.
fn is_absence(error: &io::Error) -> bool {
    use nix::errno::Errno;
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::ENOENT
                | Errno::ENOTDIR
                | Errno::ENODEV
                | Errno::ENXIO
                | Errno::EINVAL
                | Errno::EOPNOTSUPP
                | Errno::EIO
        )
    )
}

/// The bytes of a file; `None` where it is not there.
pub(crate) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, SysError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if is_absence(&e) => Ok(None),
        Err(e) => Err(SysError::read(path)(e)),
    }
}

/// The text of a file without the white space around it; `None` where it is not there.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, SysError> {
    Ok(read_bytes(path)?.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
}

/// The number that a file holds; `None` where it is not there.
pub(crate) fn read_number(path: &Path) -> Result<Option<u64>, SysError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(SysError::Format { path: path.to_owned(), text, expected: "a number" }),
    }
}

/// The names in a directory, sorted; empty where it is not there. Names that are not UTF-8 are none of the kernel's.
pub(crate) fn list(dir: &Path) -> Result<Vec<String>, SysError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if is_absence(&e) => return Ok(Vec::new()),
        Err(e) => return Err(SysError::read(dir)(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(SysError::read(dir))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
