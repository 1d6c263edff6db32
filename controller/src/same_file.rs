//! Whether two names are one file: a symlink or `..` can make them differ.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::blocking;

/// A look at the host may hang (NFS): then only equal names are the same.
const LIMIT: Duration = Duration::from_secs(3);

/// Names with the file that each is.
#[derive(Clone, Debug, Default)]
pub(crate) struct RealNames(HashMap<PathBuf, PathBuf>);

impl RealNames {
    /// Looks the names up. One that leads nowhere is the same as itself alone.
    pub(crate) async fn of(names: Vec<PathBuf>) -> Self {
        let real = blocking::within(LIMIT, move || {
            names.into_iter().filter_map(|name| Some((name.canonicalize().ok()?, name))).collect::<Vec<_>>()
        });
        Self(real.await.unwrap_or_default().into_iter().map(|(real, name)| (name, real)).collect())
    }

    /// Whether two of them are one file.
    pub(crate) fn same(&self, one: &Path, other: &Path) -> bool {
        self.real(one) == self.real(other)
    }

    fn real<'a>(&'a self, name: &'a Path) -> &'a Path {
        self.0.get(name).map_or(name, PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn links_and_dots() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, dots, gone] =
            ["a.img", "link", "./x/../a.img", "gone"].map(|name| folder.path().join(name));
        std::fs::write(&file, b"").unwrap();
        std::fs::create_dir(folder.path().join("x")).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let names = RealNames::of(vec![file.clone(), link.clone(), dots.clone(), gone.clone()]).await;
        assert!(names.same(&file, &link) && names.same(&link, &dots));
        assert!(!names.same(&file, &gone) && names.same(&gone, &gone));
        assert!(!RealNames::default().same(&file, &link), "nothing was looked up");
    }
}
