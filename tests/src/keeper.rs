//! Owns what must not outlive the rig: a child process, a mount, a directory.
//!
//! Every child runs under `tests/keep`, a small shell program that ends it when a pipe closes. The kernel closes the
//! pipe when this process ends, in whatever way, so nothing depends on a destructor that a signal would skip.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::programs;

/// Something that ends, and is cleaned up after, when this value is dropped or this process dies.
#[derive(Debug)]
pub struct Keeper {
    keeper: Child,
}

impl Keeper {
    /// Starts `command` with its output in the file `log`. `after` is shell text that runs once it has ended and
    /// this value is gone; empty for nothing.
    pub fn run<S: AsRef<OsStr>>(command: &[S], log: &Path, after: &str) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let errors = output.try_clone()?;
        Self::start(Command::new(keep()).args(command).stdout(output).stderr(errors), after)
    }

    /// Starts nothing, and runs the shell text `after` at the end.
    pub fn clean_up(after: &str) -> Result<Self> {
        Self::start(&mut Command::new(keep()), after)
    }

    fn start(command: &mut Command, after: &str) -> Result<Self> {
        let keeper = command
            .env("KEEP_AFTER", after)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", keep().display()))?;
        Ok(Self { keeper })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The end of its input is the word to end.
        drop(self.keeper.stdin.take());
        // Nothing is left to do about a keeper that cannot be waited for.
        let _ = self.keeper.wait();
    }
}

fn keep() -> std::path::PathBuf {
    programs::rig_file("keep")
}
