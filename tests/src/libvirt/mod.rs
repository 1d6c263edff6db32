//! A libvirtd of the tests' own, and guests in it as an administrator defines them.
//!
//! ```text
//! start ─→ boot(spec) ─→ domain running ⇄ power_cycle
//!             └─ dropped, or the test is killed: domains, libvirtd and its directory go
//! ```
//!
//! Never touches the machine's own libvirtd: see `tests/libvirtd`. Needs root.

mod domain;
mod xml;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub use domain::Domain;

use crate::guest::GuestSpec;
use crate::keeper::Keeper;
use crate::programs;

/// It answers within a second on an idle machine.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A running libvirtd. Clones are the same one; it ends with the last.
#[derive(Clone, Debug)]
pub struct Libvirt {
    directory: PathBuf,
    _kept: Arc<Kept>,
}

#[derive(Debug)]
struct Kept {
    // Dropped in this order.
    _daemon: Keeper,
    _directory: Keeper,
}

impl Libvirt {
    /// Starts one and returns when it answers.
    pub fn start() -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("a libvirtd for tests needs root; `make test` asks sudo for this suite");
        }
        let directory = programs::new_directory()?;
        let cleaner = Keeper::clean_up(&crate::guest::remove(&directory))?;
        let script = programs::rig_file("libvirtd");
        let log = directory.join("libvirtd.log");
        let daemon = Keeper::run(&[script.as_os_str(), directory.as_os_str()], &log, "")?;
        let libvirt = Self { directory, _kept: Arc::new(Kept { _daemon: daemon, _directory: cleaner }) };
        let start = Instant::now();
        while let Err(error) = libvirt.virsh(&["list"]) {
            if start.elapsed() > STARTS_WITHIN {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("libvirtd does not answer: {error:#}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(libvirt)
    }

    /// Its URI, for those who may change things too.
    pub fn uri(&self) -> String {
        self.uri_of("libvirt-sock")
    }

    /// Its URI for those who may only read; any user of the machine may.
    pub fn read_only_uri(&self) -> String {
        self.uri_of("libvirt-sock-ro")
    }

    fn uri_of(&self, socket: &str) -> String {
        format!("qemu+unix:///system?socket={}", self.directory.join("run").join(socket).display())
    }

    /// A directory that goes away with it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs `virsh` on it and returns what it printed.
    pub fn virsh(&self, words: &[&str]) -> Result<String> {
        let done = Command::new("virsh")
            .args(["--quiet", "--connect", &self.uri()])
            .args(words)
            .env("LC_ALL", "C")
            .output()
            .context("cannot run virsh; run: tests/setup test")?;
        if !done.status.success() {
            bail!("virsh {words:?}: {}", String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(String::from_utf8(done.stdout)?)
    }

    /// Defines a domain `trimtab-test-NAME` after `spec`, starts it, and returns when it takes commands.
    pub fn boot(&self, spec: GuestSpec) -> Result<Domain> {
        Domain::boot(self, spec)
    }
}
