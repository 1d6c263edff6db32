//! Which files count, by systemd's rules (systemd.unit(5), "drop-in"; systemd-system.conf(5)).
//!
//! ```text
//! /etc/trimtab/agent.toml           the highest place that has one, alone
//! /run/trimtab/agent.toml
//! /usr/lib/trimtab/agent.toml
//! …/trimtab/agent.toml.d/*.toml     all names of all three places, in the order of the names; of files with one name
//!                                   that of the highest place alone
//! ```
//!
//! A link to /dev/null takes the file of that name in the lower places away.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::ConfigError;
use crate::sys::Roots;

const MAIN: &str = "trimtab/agent.toml";
const FOLDER: &str = "trimtab/agent.toml.d";

/// More than any configuration needs.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// One file, read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// A file that somebody named, which must be there.
pub(super) fn named(path: &Path) -> Result<Source, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    Ok(Source { path: path.to_owned(), text: text(path).map_err(failed)? })
}

/// The system's files, in the order in which they count: a later one wins.
pub(super) fn of_system(roots: &Roots) -> Result<Vec<Source>, ConfigError> {
    // The lowest first.
    let places = [&roots.lib[0], &roots.run, &roots.etc];
    let main = places.iter().rev().map(|place| place.join(MAIN)).find(|path| is_there(path));
    let mut named_so: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for place in places {
        for (name, path) in dropins(&place.join(FOLDER))? {
            named_so.insert(name, path);
        }
    }
    main.into_iter()
        .chain(named_so.into_values())
        .filter(|path| !is_mask(path))
        .map(|path| named(&path))
        .collect()
}

/// A link that leads nowhere is there, too: reading it must fail and not be passed over.
fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn is_mask(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target.ends_with("dev/null"))
}

fn dropins(folder: &Path) -> Result<Vec<(OsString, PathBuf)>, ConfigError> {
    let failed = |source| ConfigError::Read { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let (name, path) = (entry.file_name(), entry.path());
        // An editor's copy of 10-site.toml begins with a dot or ends otherwise.
        let hidden = name.to_string_lossy().starts_with('.');
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            found.push((name, path));
        }
    }
    Ok(found)
}

/// Looks before it reads: a pipe would never end.
fn text(path: &Path) -> io::Result<String> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    if found.len() > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(root: &Path) -> Vec<(String, String)> {
        let sources = of_system(&Roots::under(root)).unwrap();
        let inside = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
        sources.into_iter().map(|s| (inside(&s.path), s.text)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn the_highest_place_wins_name_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert_eq!(read(root), pairs(&[]), "nothing anywhere");
        put(root, "usr/lib/trimtab/agent.toml", "vendor");
        put(root, "usr/lib/trimtab/agent.toml.d/20-b.toml", "vendor b");
        put(root, "usr/lib/trimtab/agent.toml.d/90-z.toml", "vendor z");
        put(root, "run/trimtab/agent.toml.d/30-c.toml", "run c");
        assert_eq!(
            read(root),
            pairs(&[
                ("usr/lib/trimtab/agent.toml", "vendor"),
                ("usr/lib/trimtab/agent.toml.d/20-b.toml", "vendor b"),
                ("run/trimtab/agent.toml.d/30-c.toml", "run c"),
                ("usr/lib/trimtab/agent.toml.d/90-z.toml", "vendor z"),
            ])
        );
        put(root, "etc/trimtab/agent.toml", "owner");
        put(root, "etc/trimtab/agent.toml.d/20-b.toml", "owner b");
        put(root, "etc/trimtab/agent.toml.d/10-a.toml.bak", "no");
        put(root, "etc/trimtab/agent.toml.d/.10-a.toml", "no");
        symlink("/dev/null", root.join("etc/trimtab/agent.toml.d/90-z.toml")).unwrap();
        assert_eq!(
            read(root),
            pairs(&[
                ("etc/trimtab/agent.toml", "owner"),
                ("etc/trimtab/agent.toml.d/20-b.toml", "owner b"),
                ("run/trimtab/agent.toml.d/30-c.toml", "run c"),
            ])
        );
        fs::remove_file(root.join("etc/trimtab/agent.toml")).unwrap();
        symlink("/dev/null", root.join("etc/trimtab/agent.toml")).unwrap();
        assert_eq!(read(root).len(), 2, "the vendor's is masked");
    }

    #[test]
    fn what_is_there_and_cannot_be_read_is_an_error() {
        type Make = fn(&Path) -> io::Result<()>;
        let cases: [(&str, Make); 3] = [
            ("a link that leads nowhere", |path| symlink("nowhere", path)),
            ("a folder", |path| fs::create_dir(path)),
            ("no text", |path| fs::write(path, [0xff, 0xfe])),
        ];
        for (name, make) in cases {
            for file in ["etc/trimtab/agent.toml", "run/trimtab/agent.toml.d/1.toml"] {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                make(&path).unwrap();
                let error = of_system(&Roots::under(dir.path())).unwrap_err();
                assert_eq!(error.to_string(), format!("cannot read {}", path.display()), "{name}");
            }
        }
    }
}
