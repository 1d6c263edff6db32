//! `trimtab` itself, as a person or a script runs it, where no guest is needed: what it says and how it ends.

mod bad_agents;
mod bad_input;

use std::path::Path;

use tempfile::TempDir;
use trimtab_tests::trimtab::{Ended, Trimtab};

/// A directory, and the program with an inventory in it.
fn with_inventory(text: &str) -> (TempDir, Trimtab) {
    let folder = tempfile::tempdir().unwrap();
    let trimtab = write_inventory(folder.path(), text);
    (folder, trimtab)
}

/// `DIR` in the text stands for the directory.
fn write_inventory(folder: &Path, text: &str) -> Trimtab {
    let file = folder.join("fleet.toml");
    std::fs::write(&file, text.replace("DIR", folder.to_str().unwrap())).unwrap();
    Trimtab::with(&file).unwrap()
}

/// What a person reads, with `DIR` for the directory.
fn read_by_a_person(folder: &TempDir, ended: &Ended) -> String {
    let text = format!("{}{}", ended.stdout, ended.stderr);
    text.replace(folder.path().to_str().unwrap(), "DIR")
}
