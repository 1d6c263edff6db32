//! `trimtab` as a user runs it: its command line, what it prints, how it ends, how much memory it took.
//!
//! ```text
//! start ─→ running ─ wait_for(event) ─ signal ─→ end: exit code, output, time
//!             └─ beyond the limit: killed, and an error
//! ```

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::guest::{Disk, Guest};
use crate::libvirt::{Domain, Libvirt};
use crate::programs;

/// No command of a test takes longer, unless it hangs. Several times what two busy cores need.
const LIMIT: Duration = Duration::from_secs(150);

/// How often a running program's memory is read.
const GLANCE: Duration = Duration::from_millis(10);

/// The program, and where it has its VMs from.
#[derive(Clone, Debug)]
pub struct Trimtab {
    program: PathBuf,
    /// `--inventory FILE`, `--connect URI`.
    sources: Vec<String>,
}

impl Trimtab {
    /// With the inventory of one guest.
    pub fn of(guest: &Guest) -> Result<Self> {
        Self::with(&guest.write_inventory()?)
    }

    /// With this inventory file.
    pub fn with(inventory: &Path) -> Result<Self> {
        let file = inventory.to_str().context("an inventory whose name is not UTF-8")?;
        Ok(Self { program: programs::trimtab()?, sources: vec!["--inventory".to_owned(), file.to_owned()] })
    }

    /// With the domains of a libvirt.
    pub fn connected(uri: &str) -> Result<Self> {
        Ok(Self { program: programs::trimtab()?, sources: vec!["--connect".to_owned(), uri.to_owned()] })
    }

    /// With the domain's libvirt, and an inventory that names its hybrid socket.
    pub fn of_domain(domain: &Domain) -> Result<Self> {
        Self::with_both(&domain.write_inventory()?, domain.libvirt())
    }

    /// With this inventory file, and the domains of a libvirt.
    pub fn with_both(inventory: &Path, libvirt: &Libvirt) -> Result<Self> {
        let mut trimtab = Self::with(inventory)?;
        trimtab.sources.extend(["--connect".to_owned(), libvirt.uri()]);
        Ok(trimtab)
    }

    /// Its command line: where the VMs come from, then the words.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.sources).args(words);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, words: &[&str]) -> Result<Ended> {
        Running::start(self.command(words))?.end()
    }

    /// `trimtab trim --json` with more words, to its end.
    pub fn trim(&self, words: &[&str]) -> Result<Ended> {
        self.run(&[&["trim", "--json"], words].concat())
    }

    /// `trimtab doctor --json` with more words, to its end.
    pub fn doctor(&self, words: &[&str]) -> Result<Ended> {
        self.run(&[&["doctor", "--json"], words].concat())
    }

    /// Starts `trimtab trim --events` with more words.
    pub fn start_trim(&self, words: &[&str]) -> Result<Running> {
        Running::start(self.command(&[&["trim", "--events"], words].concat()))
    }
}

/// A program under way.
#[derive(Debug)]
pub struct Running {
    child: Child,
    began: Instant,
    lines: Receiver<String>,
    read_so_far: String,
    stderr: Option<JoinHandle<String>>,
    peak_kib: u64,
}

impl Running {
    /// Starts a command with its output caught.
    pub fn start(mut command: Command) -> Result<Self> {
        let began = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut stderr = child.stderr.take().context("no stderr")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    break;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            // What came until then is all that a test can show.
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self { child, began, lines, read_so_far: String::new(), stderr: Some(stderr), peak_kib: 0 })
    }

    /// Reads events until one fits.
    pub fn wait_for(&mut self, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            let left = LIMIT.saturating_sub(self.began.elapsed());
            let Ok(line) = self.lines.recv_timeout(left) else {
                bail!("the event that was waited for did not come:\n{}", self.read_so_far);
            };
            self.read_so_far.push_str(&line);
            let event: Value = serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
            if fits(&event) {
                return Ok(event);
            }
        }
    }

    /// Waits until the guest has sent discards of this trim, so that it is in its middle.
    pub fn wait_for_the_middle(&mut self) -> Result<Value> {
        self.wait_for(|event| event["event"] == "progress" && event["sent_bytes"].as_u64() > Some(0))
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal).context("cannot signal trimtab")
    }

    /// Waits for its end.
    pub fn end(mut self) -> Result<Ended> {
        let status = loop {
            self.glance();
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if self.began.elapsed() > LIMIT {
                self.child.kill()?;
                self.child.wait()?;
                bail!("it did not end within {LIMIT:?}; it printed:\n{}", self.read_so_far);
            }
            match self.lines.recv_timeout(GLANCE) {
                Ok(line) => self.read_so_far.push_str(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(GLANCE),
            }
        };
        let took = self.began.elapsed();
        // The reader ends with the program's end of the pipe.
        self.read_so_far.extend(self.lines.iter());
        let stderr = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        Ok(Ended { exit: exit_code(status), stdout: self.read_so_far, stderr, took, peak_kib: self.peak_kib })
    }

    /// The peak only grows, so the last look before the end is close to it.
    fn glance(&mut self) {
        let of = |what: &str| PathBuf::from(format!("/proc/{}/{what}", self.child.id()));
        // Until it has become the program, its memory is that of this process.
        if std::fs::read_link(of("exe")).ok() == std::env::current_exe().ok() {
            return;
        }
        let status = std::fs::read_to_string(of("status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        self.peak_kib = self.peak_kib.max(kib.unwrap_or(0));
    }
}

/// As a shell has it: 128 and the signal's number where one ended it.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| status.signal().unwrap_or(0).saturating_add(128))
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub exit: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said beside that.
    pub stderr: String,
    /// From its start to its end.
    pub took: Duration,
    /// Its peak of resident memory, as far as it was seen.
    pub peak_kib: u64,
}

impl Ended {
    /// The JSON document: all of stdout, or the last line of `--events`.
    pub fn document(&self) -> Result<Document> {
        let whole = serde_json::from_str(&self.stdout).ok();
        let last = || self.stdout.lines().next_back().and_then(|line| serde_json::from_str(line).ok());
        let value: Value = whole.or_else(last).with_context(|| {
            format!("exit {}, and no document: {}{}", self.exit, self.stdout, self.stderr)
        })?;
        Ok(Document(value))
    }
}

/// A `trimtab.trim/1` document.
#[derive(Clone, PartialEq, Debug)]
pub struct Document(pub Value);

impl fmt::Display for Document {
    /// Without the guest's pseudo filesystems, which hide what matters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut brief = self.0.clone();
        for vm in brief["vms"].as_array_mut().into_iter().flatten() {
            if let Some(filesystems) = vm["filesystems"].as_array_mut() {
                filesystems.retain(|fs| fs["skipped"]["reason"] != "pseudo");
            }
        }
        write!(f, "{brief:#}")
    }
}

impl Document {
    /// A VM by its name.
    pub fn vm(&self, name: &str) -> Result<&Value> {
        let vms = self.0["vms"].as_array().context("no vms")?;
        vms.iter().find(|vm| vm["name"] == name).with_context(|| format!("no VM {name} in {self}"))
    }

    /// The only VM.
    pub fn only_vm(&self) -> Result<&Value> {
        match self.0["vms"].as_array().map(Vec::as_slice) {
            Some([vm]) => Ok(vm),
            _ => bail!("not one VM: {self}"),
        }
    }

    /// All disks of the only VM.
    pub fn disks(&self) -> Result<&Vec<Value>> {
        self.only_vm()?["disks"].as_array().context("no disks")
    }

    /// The disk with this disk's image.
    pub fn disk(&self, disk: &Disk) -> Result<&Value> {
        let image = disk.image.to_str().context("an image whose name is not UTF-8")?;
        let found = self.disks()?.iter().find(|known| known["image"] == image);
        found.with_context(|| format!("no disk {image} in {self}"))
    }

    /// The entry of a mount point of the only VM.
    pub fn filesystem(&self, mount: &str) -> Result<&Value> {
        let filesystems = self.only_vm()?["filesystems"].as_array().context("no filesystems")?;
        let found = filesystems.iter().find(|fs| fs["mount"] == mount);
        found.with_context(|| format!("no filesystem at {mount} in {self}"))
    }
}
