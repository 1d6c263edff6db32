//! Which filesystems a backup has frozen. A frozen filesystem looks like any other in mountinfo, the kernel trims it
//! all the same, and trying to write to it leaves a process that nothing can kill; so the freeze hook says it.
//!
//! The hook makes a file below /run/trimtab-agent/frozen before it freezes, and removes it after it has thawed:
//! `8:1` (the superblock's number in mountinfo) for one filesystem, or `all`.

use std::{collections::BTreeSet, path::PathBuf};

use super::{Roots, SysError, list};
use crate::model::DevNum;

/// The flags that are set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frozen {
    dir: PathBuf,
    names: BTreeSet<String>,
}

impl Frozen {
    /// The flag that says that a filesystem is frozen.
    pub fn flag(&self, id: DevNum) -> Option<PathBuf> {
        let name = [id.to_string(), "all".to_owned()].into_iter().find(|name| self.names.contains(name))?;
        Some(self.dir.join(name))
    }
}

/// Reads the flags. Where there is no folder, nothing is frozen.
///
/// # Errors
/// [`SysError::Read`]: it cannot be told whether a filesystem is frozen.
pub fn read(roots: &Roots) -> Result<Frozen, SysError> {
    let dir = roots.run.join("trimtab-agent/frozen");
    Ok(Frozen { names: list(&dir)?.into_iter().collect(), dir })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn flags() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::under(dir.path());
        let flagged = |major, minor| read(&roots).unwrap().flag(DevNum { major, minor }).is_some();
        assert!(!flagged(8, 1), "no folder");

        let flags = dir.path().join("run/trimtab-agent/frozen");
        fs::create_dir_all(&flags).unwrap();
        fs::write(flags.join("8:1"), "").unwrap();
        assert!(flagged(8, 1) && !flagged(8, 17));

        fs::write(flags.join("all"), "").unwrap();
        assert!(flagged(8, 17));
    }
}
