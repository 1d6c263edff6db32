//! The packages that `make package` built.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use trimtab_tests::programs;

/// The only file in target/packages that begins and ends so.
pub(crate) fn built(begins: &str, ends: &str) -> Result<PathBuf> {
    let directory = programs::rig_file("../target/packages");
    let entries = std::fs::read_dir(&directory)
        .with_context(|| format!("cannot read {}; run: make package", directory.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(begins) && name.ends_with(ends) {
            found.push(path.clone());
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!("{}: not one {begins}*{ends} but {}; run: make package", directory.display(), found.len()),
    }
}

/// The guest's deb.
pub(crate) fn agent_deb() -> Result<PathBuf> {
    built("trimtab-agent_", ".deb")
}
