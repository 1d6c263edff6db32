//! Where the rig's own files, its temporary directories and the programs under test are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A file of the rig's directory, `tests/` in the repository.
pub fn rig_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// `trimtab`, built with the same profile as the running program.
pub fn trimtab() -> Result<PathBuf> {
    let path = profile_directory()?.join("trimtab");
    built(path, "make build")
}

/// `trimtab-agent`, linked statically, as it goes into a guest.
pub fn agent() -> Result<PathBuf> {
    static_agent("quick", "make agent-quick")
}

/// `trimtab-agent` as it is shipped: static and small.
pub fn shipped_agent() -> Result<PathBuf> {
    static_agent("agent", "make agent-static")
}

/// `bench-witness`, which goes into the benchmark's guest, built beside it.
pub(crate) fn bench_witness() -> Result<PathBuf> {
    built(profile_directory()?.join("bench-witness"), "make bench")
}

fn static_agent(profile: &str, step: &str) -> Result<PathBuf> {
    let own = profile_directory()?;
    let above = own.parent().context("the target directory has no parent")?;
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    // The demo is built for the triple as the agent is, the tests are not.
    let target = if above.ends_with(&triple) { above.to_path_buf() } else { above.join(triple) };
    built(target.join(profile).join("trimtab-agent"), step)
}

/// `vhost-device-vsock`, which gives a guest vsock without help from the host's kernel.
pub fn vsock_device() -> Result<PathBuf> {
    let path = cache_directory()?.join("tools/bin/vhost-device-vsock");
    built(path, "tests/setup test")
}

/// A new directory for images and sockets. Its maker removes it.
///
/// Not in /tmp, which may be memory.
pub(crate) fn new_directory() -> Result<PathBuf> {
    let parent = parent_of_directories();
    let directory = tempfile::Builder::new().prefix("trimtab-").tempdir_in(&parent);
    Ok(directory.with_context(|| format!("cannot make a directory in {}", parent.display()))?.keep())
}

/// Where [`new_directory`] makes them.
pub(crate) fn parent_of_directories() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// What is slow to make and outlives a clone.
fn cache_directory() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("trimtab"))
}

/// `target/debug` for a test in `target/debug/deps`, `target/quick` for a program in it.
fn profile_directory() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let directory = program.parent().context("this program is in no directory")?;
    let directory =
        if directory.ends_with("deps") { directory.parent().unwrap_or(directory) } else { directory };
    Ok(directory.to_path_buf())
}

fn built(path: PathBuf, step: &str) -> Result<PathBuf> {
    if !path.exists() {
        bail!("{} is missing; run: {step}", path.display());
    }
    Ok(path)
}
