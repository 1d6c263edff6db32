//! A real Linux guest in QEMU, in software emulation, with vsock through a user-space device.
//!
//! ```text
//! boot ─→ running ⇄ paused
//!           │ ↺ reboot
//!           └─→ gone (kill, or drop: QEMU, the vsock device and the directory go with it)
//! ```
//!
//! Everything lies in one temporary directory. Nothing of it outlives this process: see [`crate::keeper`].

mod disk;
mod hybrid;
mod initrd;
mod inventory;
mod plug;
mod pool;
pub(crate) mod qemu_ga;
mod qmp;
mod shell;
mod spec;
mod systemd;
mod terminal;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

pub use disk::{Discard, Disk, DiskSpec, Format, FrontEnd, allocated_bytes};
pub use hybrid::connect as connect_vsock;
pub use pool::{Lease, Pool};
pub use spec::GuestSpec;
pub(crate) use spec::{KERNEL_ARGUMENTS, Place};
pub use systemd::root_image;
pub use terminal::run_on_this_terminal;

use crate::keeper::Keeper;
use crate::programs;
use qmp::Qmp;
use shell::{Output, Shell};
use spec::Console;

/// The port that an agent listens on.
pub const AGENT_PORT: u32 = 874;

/// Ten seconds where the machine is idle, twenty for a Debian; two guests beside builds on two cores take ten times that.
const BOOT_LIMIT: Duration = Duration::from_secs(400);

/// A command that takes longer hangs, unless its caller says otherwise.
const COMMAND_LIMIT: Duration = Duration::from_secs(180);

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    name: String,
    place: Place,
    shell: Mutex<Shell>,
    qmp: Mutex<Qmp>,
    disks: Mutex<Vec<plug::Plugged>>,
    boot_id: Mutex<String>,
    // Dropped in this order. None where libvirt runs QEMU.
    _qemu: Option<Keeper>,
    vsock_device: Mutex<Option<Keeper>>,
    _directory: Keeper,
}

impl Guest {
    /// Boots a guest and returns when it takes commands.
    pub fn boot(spec: GuestSpec) -> Result<Self> {
        let prepared = Prepared::new(&spec)?;
        let command = spec.command_line(&prepared, Console::Log);
        let qemu = Keeper::run(&command, &prepared.place.qemu_log(), "")?;
        Self::around(&spec, prepared, Some(qemu))
    }

    /// The guest of a QEMU that was just started, by whomever.
    pub(crate) fn around(spec: &GuestSpec, prepared: Prepared, qemu: Option<Keeper>) -> Result<Self> {
        let Prepared { place, directory, vsock_device, images, .. } = prepared;
        let ((shell, boot_id), qmp) = connect_both(&place)?;
        let guest = Self {
            name: spec.name.clone(),
            place,
            shell: Mutex::new(shell),
            qmp: Mutex::new(qmp),
            disks: Mutex::new(Vec::new()),
            boot_id: Mutex::new(boot_id),
            _qemu: qemu,
            vsock_device: Mutex::new(vsock_device),
            _directory: directory,
        };
        guest.adopt_disks(&spec.disks, &images)?;
        Ok(guest)
    }

    /// QEMU has ended and another one is about to start: a vsock device that waits for it.
    pub(crate) fn expect_a_new_qemu(&self) -> Result<()> {
        let mut device = self.locked(&self.vsock_device);
        // The old one ends before the new one takes its sockets.
        drop(device.take());
        for socket in [self.place.vsock_control(), self.place.vsock()] {
            // It may have removed them itself.
            let _ = fs::remove_file(socket);
        }
        *device = Some(start_vsock_device(&self.place)?);
        Ok(())
    }

    /// Connects to another QEMU in the place of the one that was here, and returns when its guest takes commands.
    pub(crate) fn find_the_new_qemu(&self) -> Result<()> {
        let ((shell, boot_id), qmp) = connect_both(&self.place)?;
        *self.locked(&self.shell) = shell;
        *self.locked(&self.qmp) = qmp;
        *self.locked(&self.boot_id) = boot_id;
        self.find_disks_again()
    }

    /// A guest with the agent, shared with other tests: see [`Lease`].
    pub fn lease() -> Result<Lease> {
        Lease::new()
    }

    /// Runs `script` with `sh -eu` in the guest and returns what it printed. An exit code other than 0 is an error.
    pub fn sh(&self, script: &str) -> Result<String> {
        self.sh_within(script, COMMAND_LIMIT)
    }

    /// The same with a time limit of one's own.
    pub fn sh_within(&self, script: &str, limit: Duration) -> Result<String> {
        let Output { code, out, err } = self
            .locked(&self.shell)
            .run(script, limit)
            .with_context(|| format!("in guest {}: {script}", self.name))
            .map_err(|error| with_logs(error, &self.place))?;
        if code != 0 {
            bail!("in guest {}: exit {code}: {script}\n{out}{err}", self.name);
        }
        Ok(out)
    }

    /// Writes and syncs a file of `mib` MiB of incompressible data in the guest. The same 8 MiB again and again:
    /// making random numbers is what takes long in software emulation.
    pub fn write_noise(&self, path: &str, mib: u64) -> Result<()> {
        let (chunks, bytes) = (mib.div_ceil(8), mib.saturating_mul(crate::MIB));
        self.sh(&format!(
            "[ -e /run/noise ] || head -c 8388608 /dev/urandom >/run/noise
             for i in $(seq {chunks}); do cat /run/noise; done >'{path}'
             truncate -s {bytes} '{path}'; sync '{path}'"
        ))?;
        Ok(())
    }

    /// Starts `trimtab-agent serve` with `arguments` and returns when it answers on its port.
    pub fn start_agent(&self, arguments: &str) -> Result<()> {
        self.sh(&format!(
            "trimtab-agent serve {arguments} </dev/null >>/run/agent.log 2>&1 & echo $! >/run/agent.pid"
        ))?;
        let answers = connect_vsock(&self.place.vsock(), AGENT_PORT, Duration::from_secs(20));
        if let Err(error) = answers {
            return Err(error.context(format!("the agent does not answer; its log:\n{}", self.agent_log()?)));
        }
        Ok(())
    }

    /// Stops the agent with SIGTERM and waits for its end.
    pub fn stop_agent(&self) -> Result<()> {
        self.sh("pid=$(cat /run/agent.pid); kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.1; done")?;
        Ok(())
    }

    /// What the agent logged in this boot.
    pub fn agent_log(&self) -> Result<String> {
        self.sh("cat /run/agent.log 2>/dev/null || true")
    }

    /// Where a controller reaches the agent, in the inventory's words.
    pub fn agent_endpoint(&self) -> String {
        format!("unix:{}", self.vsock_socket().display())
    }

    /// The hybrid vsock socket.
    pub fn vsock_socket(&self) -> PathBuf {
        self.place.vsock()
    }

    /// The QMP socket that the rig itself does not use.
    pub fn qmp_socket(&self) -> PathBuf {
        self.place.qmp()
    }

    /// A directory that goes away with the guest.
    pub fn directory(&self) -> &Path {
        &self.place.0
    }

    /// Where the images of its disks lie.
    pub fn image_directory(&self) -> PathBuf {
        self.place.images()
    }

    /// Its name in the inventory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes an inventory that holds this guest alone and returns its path.
    pub fn write_inventory(&self) -> Result<PathBuf> {
        let path = self.place.0.join("inventory.toml");
        inventory::write(&path, &self.name, &self.place)?;
        Ok(path)
    }

    /// The id of the running kernel's boot.
    pub fn boot_id(&self) -> String {
        self.locked(&self.boot_id).clone()
    }

    /// Resets the guest, as by a button, and returns when it takes commands again. Its disks stay.
    pub fn reboot(&self) -> Result<()> {
        // A command of another thread may be under way; it gets the end that it meets.
        self.qmp("system_reset", json!({}))?;
        let boot_id = self
            .locked(&self.shell)
            .wait_for_reboot(BOOT_LIMIT)
            .map_err(|error| with_logs(error, &self.place))?;
        *self.locked(&self.boot_id) = boot_id;
        self.find_disks_again()
    }

    /// Resets the guest and returns at once.
    pub fn reset(&self) -> Result<()> {
        self.qmp("system_reset", json!({})).map(drop)
    }

    /// Stops the guest's processors.
    pub fn pause(&self) -> Result<()> {
        self.qmp("stop", json!({})).map(drop)
    }

    /// Lets them go on.
    pub fn cont(&self) -> Result<()> {
        self.qmp("cont", json!({})).map(drop)
    }

    /// Kills QEMU, as if the host had run out of memory.
    pub fn kill(&self) -> Result<()> {
        kill(Pid::from_raw(self.qemu_pid()?), Signal::SIGKILL).context("cannot kill QEMU")
    }

    /// QEMU's process id.
    pub fn qemu_pid(&self) -> Result<i32> {
        let file = self.place.pid_file();
        let pid = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(pid.trim().parse()?)
    }

    /// QEMU's command line, as an administrator sees it in /proc.
    pub fn qemu_command_line(&self) -> Result<Vec<String>> {
        let line = fs::read(format!("/proc/{}/cmdline", self.qemu_pid()?))?;
        Ok(String::from_utf8(line)?.split('\0').map(str::to_owned).collect())
    }

    /// One QMP command by the rig's own socket.
    pub fn qmp(&self, command: &str, arguments: Value) -> Result<Value> {
        self.locked(&self.qmp).execute(command, arguments).map_err(|error| with_logs(error, &self.place))
    }

    fn locked<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        // A panicked test leaves no half-made state behind these locks.
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that a guest has before QEMU starts.
pub(crate) struct Prepared {
    pub(crate) place: Place,
    pub(crate) kernel: PathBuf,
    pub(crate) images: Vec<PathBuf>,
    vsock_device: Option<Keeper>,
    directory: Keeper,
}

impl Prepared {
    pub(crate) fn new(spec: &GuestSpec) -> Result<Self> {
        let place = Place(programs::new_directory()?);
        let directory = Keeper::clean_up(&remove(&place.0))?;
        let kernel = spec.base.image()?.join("vmlinuz");
        initrd::write(&place.initrd(), spec.base, &spec.all_files()?)?;
        fs::create_dir(place.images())?;
        let images: Vec<PathBuf> =
            spec.disks.iter().map(|disk| disk.create(&place.images())).collect::<Result<_>>()?;
        let vsock_device = if spec.vsock { Some(start_vsock_device(&place)?) } else { None };
        Ok(Self { place, kernel, images, vsock_device, directory })
    }
}

/// The shell of a guest that boots, with the boot's id, and the rig's QMP.
fn connect_both(place: &Place) -> Result<((Shell, String), Qmp)> {
    let started = Shell::wait_for_boot(&place.shell(), BOOT_LIMIT)
        .and_then(|shell| Ok((shell, Qmp::connect(&place.rig_qmp())?)));
    started.map_err(|error| with_logs(error, place))
}

fn start_vsock_device(place: &Place) -> Result<Keeper> {
    let vm = format!(
        "guest-cid=3,socket={},uds-path={},groups=own",
        place.vsock_control().display(),
        place.vsock().display()
    );
    let program = programs::vsock_device()?;
    let device = Keeper::run(&[program.as_os_str(), "--vm".as_ref(), vm.as_ref()], &place.vsock_log(), "")?;
    // QEMU connects once and does not wait.
    let mut waited = Duration::ZERO;
    while !place.vsock_control().exists() {
        if waited > Duration::from_secs(20) {
            bail!("vhost-device-vsock does not come up: {}", tail(&place.vsock_log()));
        }
        let step = Duration::from_millis(10);
        std::thread::sleep(step);
        waited = waited.saturating_add(step);
    }
    Ok(device)
}

/// Shell text that removes a directory of the rig's. Twice, since QEMU may be about to end at the same time.
pub(crate) fn remove(directory: &Path) -> String {
    format!("rm -rf '{0}' || {{ sleep 0.3; rm -rf '{0}'; }}", directory.display())
}

/// Adds what the guest and QEMU said last.
fn with_logs(error: anyhow::Error, place: &Place) -> anyhow::Error {
    let mut text = format!("{error:#}");
    for log in [place.console(), place.qemu_log(), place.vsock_log()] {
        let end = tail(&log);
        if !end.is_empty() {
            text.push_str(&format!("\n--- end of {}\n{end}", log.display()));
        }
    }
    anyhow!(text)
}

fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
}
