//! Turns a manifest (see `fixtures/capture`) into a directory tree.

use std::{fs, os::unix::fs::symlink, path::Path};

use tempfile::TempDir;

/// The tree of a manifest, which goes away with the value.
pub(crate) fn plant(manifest: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for line in manifest.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some((path, target)) = line.split_once(" -> ") {
            symlink(target, with_parent(dir.path(), path)).unwrap();
        } else if let Some((path, text)) = line.split_once(" = ") {
            fs::write(with_parent(dir.path(), path), unescape(text)).unwrap();
        } else {
            let path = line.strip_suffix('/').unwrap_or_else(|| panic!("not a line of a manifest: {line:?}"));
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
    }
    dir
}

fn with_parent(root: &Path, path: &str) -> std::path::PathBuf {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        rest = if let Some(after) = after.strip_prefix('n') {
            bytes.push(b'\n');
            after
        } else {
            let digits = after.strip_prefix('x').and_then(|hex| hex.get(..2)).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            after.get(3..).unwrap()
        };
    }
    bytes.extend(rest.bytes());
    bytes
}
