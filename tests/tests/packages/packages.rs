//! The packages that `make package` built, and a newer version of one, made from it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
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

/// The same deb with the version 99 and another line in its agent.toml, in `directory`.
pub(crate) fn newer_agent_deb(directory: &Path) -> Result<PathBuf> {
    let (tree, newer) = (directory.join("tree"), directory.join("newer.deb"));
    let tree_name = tree.to_str().context("not UTF-8")?;
    run(Command::new("dpkg-deb").arg("-R").arg(agent_deb()?).arg(&tree))?;
    run(Command::new("sed").args(["-i", "s/^Version: .*/Version: 99/"]).arg(tree.join("DEBIAN/control")))?;
    run(Command::new("sh").args([
        "-c",
        "echo '# New in version 99.' >>\"$0/etc/trimtab/agent.toml\"",
        tree_name,
    ]))?;
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&newer))?;
    Ok(newer)
}

/// Runs a program of the host to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(done.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
    Ok(said)
}
