//! qemu-ga of Debian: it listens on a virtio-serial port, says what filesystems and disks there are, and trims.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::memory::Process;
use super::{Figures, file_bytes};
use crate::guest::Guest;
use crate::guest::qemu_ga::{self, Package};

/// A trim in software emulation, on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(300);

pub(super) fn measure(guest: &Guest, package: &Package) -> Result<Figures> {
    let mut agent = start(guest)?;
    let process = Process { guest, pid_file: "/run/qemu-ga.pid" };
    thread::sleep(Duration::from_secs(1));
    let idle = process.memory()?;
    let (survey_peak_kib, ()) = process.peak_while(|| {
        agent.call("guest-get-fsinfo")?;
        agent.call("guest-get-disks").map(drop)
    })?;
    let (run_peak_kib, trimmed) = process.peak_while(|| agent.call("guest-fstrim"))?;
    let paths = trimmed["paths"].as_array().context("guest-fstrim names no paths")?;
    if !paths.iter().any(|path| path["path"] == super::MOUNT && path["trimmed"].as_u64() > Some(0)) {
        bail!("guest-fstrim did not trim {}: {trimmed}", super::MOUNT);
    }
    let after = process.memory()?;
    let (program, libraries) = package.files.split_first().context("the package is empty")?;
    let sizes = libraries.iter().map(|(host, _)| file_bytes(host)).collect::<Result<Vec<u64>>>()?;
    Ok(Figures {
        name: "qemu-ga",
        version: package.version.clone(),
        disk_bytes: file_bytes(&program.0)?,
        libraries_bytes: sizes.into_iter().fold(0, u64::saturating_add),
        idle,
        survey_peak_kib,
        run_peak_kib,
        worker: None,
        after,
    })
}

/// The host's end of its port.
pub(super) struct Agent(BufReader<UnixStream>);

/// Starts it on a port of its own, and says hello.
pub(super) fn start(guest: &Guest) -> Result<Agent> {
    let path = guest.directory().join("qemu-ga");
    let address = json!({"type": "unix", "data": {"path": path}});
    let backend = json!({"type": "socket", "data": {"addr": address, "server": true, "wait": false}});
    guest.qmp("chardev-add", json!({"id": "ga", "backend": backend}))?;
    guest.qmp(
        "device_add",
        json!({"driver": "virtserialport", "id": "ga", "chardev": "ga", "name": qemu_ga::PORT}),
    )?;
    let stream = UnixStream::connect(&path).context("cannot connect to qemu-ga's port")?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    guest.start_qemu_ga()?;
    let mut agent = Agent(BufReader::new(stream));
    agent.call("guest-ping").with_context(|| {
        format!("qemu-ga does not answer: {}", guest.sh("cat /run/qemu-ga.log").unwrap_or_default())
    })?;
    Ok(agent)
}

impl Agent {
    /// What it returns to a command without arguments.
    pub(super) fn call(&mut self, command: &str) -> Result<Value> {
        let line = json!({"execute": command}).to_string() + "\n";
        self.0.get_mut().write_all(line.as_bytes())?;
        let mut answer = String::new();
        self.0.read_line(&mut answer).with_context(|| format!("no answer to {command}"))?;
        let mut answer: Value = serde_json::from_str(&answer)?;
        match answer.get_mut("return") {
            Some(value) => Ok(value.take()),
            None => bail!("{command}: {answer}"),
        }
    }
}
