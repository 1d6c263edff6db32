//! This machine as another host: commands that see a machine id and a trimtab.toml of their own, and keep their worker's lock
//! apart. All else is this machine's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::programs;

/// Such a host.
#[derive(Debug)]
pub struct Disguise {
    folder: TempDir,
    id: String,
}

impl Disguise {
    /// A host whose machine id is this digit over and over, with this trimtab.toml.
    ///
    /// # Errors
    /// Its files cannot be written.
    pub fn new(digit: char, trimtab_toml: &str) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("trimtab-").tempdir_in(programs::parent_of_directories())?;
        let id = String::from_iter([digit; 32]);
        let etc = folder.path().join("etc");
        fs::create_dir_all(etc.join("trimtab"))?;
        fs::create_dir_all(folder.path().join("state"))?;
        fs::write(etc.join("machine-id"), format!("{id}\n"))?;
        fs::write(etc.join("trimtab/trimtab.toml"), trimtab_toml)?;
        Ok(Self { folder, id })
    }

    /// Its machine id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A file of its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `trimtab` on that host, with this inventory and these words. The process is `trimtab`'s own.
    ///
    /// # Errors
    /// There is no `trimtab`.
    pub fn trimtab(&self, inventory: &Path, words: &[&str]) -> Result<Command> {
        let etc = self.path("etc");
        let etc = etc.to_str().context("a folder whose name is not UTF-8")?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec"]);
        command.arg(format!("mount -t overlay -o lowerdir={etc}:/etc overlay /etc; exec \"$@\""));
        command
            .arg("sh")
            .arg(programs::trimtab()?)
            .arg("--inventory")
            .arg(inventory)
            .args(["--connect", "none"]);
        command.args(words).env("STATE_DIRECTORY", self.path("state"));
        // Whatever the machine is busy with is no matter here.
        command.env("TRIMTAB_IO_PRESSURE_PERCENT", "0").env_remove("TRIMTAB_STORE");
        Ok(command)
    }
}
