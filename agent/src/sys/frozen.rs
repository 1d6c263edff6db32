//! Which filesystems a backup has frozen. A frozen filesystem looks like any other in mountinfo, the kernel trims it
//! all the same, and trying to write to it leaves a process that nothing can kill; so the freeze hook says it.
//!
//! The hook makes a file below /run/trimtab-agent/frozen before it freezes, and removes it after it has thawed:
//! `8:1` (the superblock's number in mountinfo) for one filesystem, or `all`. packaging/guest/fsfreeze-hook.d/trimtab is
//! such a hook, for qemu-ga.

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

    #[test]
    fn the_hook_of_qemu_ga() {
        let hook = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/guest/fsfreeze-hook.d/trimtab");
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::under(dir.path());
        let run = |word: &[&str]| {
            let run = dir.path().join("run");
            std::process::Command::new(hook).args(word).env("TRIMTAB_RUN", run).output().unwrap()
        };
        let frozen = || read(&roots).unwrap().flag(DevNum { major: 8, minor: 1 }).is_some();
        for (word, then) in [
            (&["thaw"][..], false),
            (&["freeze"], true),
            (&["freeze"], true),
            (&["status"], true),
            (&[], true),
            (&["thaw"], false),
            (&["thaw"], false),
        ] {
            let out = run(word);
            assert!(out.status.success() && out.stderr.is_empty(), "{word:?}: {out:?}");
            assert_eq!(frozen(), then, "after {word:?}");
        }
        // No backup fails for want of a flag.
        fs::remove_dir_all(dir.path().join("run")).unwrap();
        fs::write(dir.path().join("run"), "a file in its place").unwrap();
        let out = run(&["freeze"]);
        assert!(out.status.success() && !out.stderr.is_empty(), "{out:?}");
    }
}
