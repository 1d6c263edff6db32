//! Completions for bash, zsh and fish, under the names that each shell looks for.

use std::path::Path;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

/// Writes the completions of `command` to `dir`.
///
/// # Errors
/// A file could not be written.
pub(crate) fn write(dir: &Path, mut command: Command) -> anyhow::Result<()> {
    let name = command.get_name().to_owned();
    for (shell, file) in [
        (Shell::Bash, format!("{name}.bash")),
        (Shell::Zsh, format!("_{name}")),
        (Shell::Fish, format!("{name}.fish")),
    ] {
        let path = dir.join(file);
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command, &name, &mut text);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
