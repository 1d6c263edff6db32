//! `[[gate]]`: commands whose exit code 0 means that storage is healthy. A plan names a gate and never carries a command;
//! only this host's own file says what it runs.

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use crate::model::trouble::{Kind, Trouble};

/// One gate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gate {
    /// What plans call it.
    pub name: String,
    /// The program, by an absolute path, and its arguments; no shell reads it.
    pub command: Vec<String>,
    /// A gate that has not answered by then is closed.
    pub timeout: Duration,
}

/// Sees that nobody but its owner could make the file name other commands, as they run with trimtab's rights.
///
/// # Errors
/// `config`, where somebody could.
pub(super) fn check_owner(path: &Path) -> Result<(), Trouble> {
    let metadata = std::fs::metadata(path)
        .map_err(|error| Trouble::new(Kind::Config, format!("{}: {error}", path.display())))?;
    match is_trusted(metadata.uid(), metadata.mode(), nix::unistd::geteuid().as_raw()) {
        true => Ok(()),
        false => Err(Trouble::new(
            Kind::Config,
            format!(
                "{}: others than its owner may write to it, and it names commands to run",
                path.display()
            ),
        )
        .hint("chown root and chmod go-w the file")),
    }
}

/// Owned by root or by whoever runs this, and not to be written by group or others.
fn is_trusted(owner: u32, mode: u32, own: u32) -> bool {
    (owner == 0 || owner == own) && mode & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_commands_are_run() {
        for (owner, mode, own, expected) in [
            (0, 0o644, 0, true),
            (0, 0o600, 1000, true),
            (1000, 0o644, 1000, true),
            (1000, 0o644, 0, false),
            (0, 0o664, 0, false),
            (0, 0o646, 0, false),
        ] {
            assert_eq!(is_trusted(owner, mode, own), expected, "{owner} {mode:o} {own}");
        }
    }
}
