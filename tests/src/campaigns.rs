//! `trimtab campaign` and `trimtab worker` as a host has them: a store, plans, a metrics file, and a worker's process that
//! a test can stop, kill and read.
//!
//! ```text
//! run(plan) ─→ run(apply) ─→ worker() ─→ until(state) ─→ run(report)
//!                              └─ dropped: killed
//! ```

use std::{
    fs::{File, OpenOptions},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::trimtab::{Ended, Running, Trimtab};

/// A host's campaigns.
#[derive(Debug)]
pub struct Campaigns {
    trimtab: Trimtab,
    folder: TempDir,
}

impl Campaigns {
    /// None yet, over the VMs that this `trimtab` knows.
    ///
    /// # Errors
    /// No folder can be made for the store.
    pub fn of(trimtab: Trimtab) -> Result<Self> {
        // Not in /tmp, which may be memory.
        let parent = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        Ok(Self { trimtab, folder: tempfile::tempdir_in(parent)? })
    }

    /// Where files of the test may lie too.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.path("trimtab.db")
    }

    /// What the worker tells Prometheus.
    pub fn metrics(&self) -> PathBuf {
        self.path("trimtab.prom")
    }

    /// A command over this store. Whatever the machine is busy with keeps no worker from anything.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.trimtab.command(words);
        command.env("TRIMTAB_STORE", self.store()).env("TRIMTAB_METRICS", self.metrics());
        command.env("TRIMTAB_IO_PRESSURE_PERCENT", "0");
        command
    }

    /// Runs `trimtab campaign` with these words to its end.
    ///
    /// # Errors
    /// It cannot be started, or hangs.
    pub fn run(&self, words: &[&str]) -> Result<Ended> {
        Running::start(self.command(&[&["campaign"], words].concat()))?.end()
    }

    /// The document of `trimtab campaign VERB ID --json`.
    ///
    /// # Errors
    /// It prints none.
    pub fn asked(&self, verb: &str, id: &str) -> Result<Value> {
        Ok(self.run(&[verb, id, "--json"])?.document()?.0)
    }

    /// Starts `trimtab worker`. What it says is added to the log of those before.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn worker(&self) -> Result<WorkerProcess> {
        WorkerProcess::start(self.command(&["worker"]), &self.path("worker.log"))
    }

    /// Asks for the status of a campaign until it is in this state; gives it.
    ///
    /// # Errors
    /// It is in another one from which it does not come there, or takes longer than `limit`.
    pub fn until(&self, id: &str, state: &str, limit: Duration) -> Result<Value> {
        self.until_it(id, limit, |status| status["campaign"]["state"] == state)
    }

    /// Asks for the status of a campaign until it fits; gives it.
    ///
    /// # Errors
    /// It takes longer than `limit`.
    pub fn until_it(&self, id: &str, limit: Duration, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let began = Instant::now();
        loop {
            let status = self.asked("status", id)?;
            if fits(&status) {
                return Ok(status);
            }
            if began.elapsed() > limit {
                let said = std::fs::read_to_string(self.path("worker.log")).unwrap_or_default();
                bail!("not within {limit:?}: {status:#}\n{said}");
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

/// A worker's process, killed when it is dropped.
#[derive(Debug)]
pub struct WorkerProcess {
    child: Child,
    log: PathBuf,
}

impl WorkerProcess {
    /// Starts this command with its stderr added to the log.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file: File = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it and those before it have said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal).context("cannot signal the worker")
    }

    /// Sends it SIGTERM and gives its exit code, as a shell has it.
    ///
    /// # Errors
    /// It has not ended after two minutes: it cancels what runs within one.
    pub fn leave(mut self) -> Result<i32> {
        self.signal(Signal::SIGTERM)?;
        self.end()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It has not ended after two minutes.
    pub fn end(&mut self) -> Result<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                let by_signal = || status.signal().unwrap_or(0).saturating_add(128);
                return Ok(status.code().unwrap_or_else(by_signal));
            }
            if began.elapsed() > Duration::from_secs(120) {
                bail!("the worker does not end:\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
