//! qemu-ga of Debian in a guest: what libvirt speaks to where there is no agent of ours.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Guest, GuestSpec};
use crate::programs;

/// The virtio-serial port that it listens on.
pub(crate) const PORT: &str = "org.qemu.guest_agent.0";

/// The unpacked package.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) version: String,
    /// The program, then its libraries: where each is on the host, where it goes in the guest.
    pub(crate) files: Vec<(PathBuf, String)>,
}

impl Package {
    /// Fetches and unpacks it, unless that has been done before.
    pub(crate) fn unpack() -> Result<Self> {
        let script = programs::rig_file("guest/qemu-ga");
        let done = Command::new(&script)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {}", script.display()))?;
        if !done.status.success() {
            bail!("{} failed", script.display());
        }
        let text = String::from_utf8(done.stdout)?;
        let mut lines = text.lines();
        let version = lines.next().context("it names no version")?.to_owned();
        let file = |line: &str| line.split_once(' ').map(|(host, guest)| (host.into(), guest.to_owned()));
        let files = lines.map(|line| file(line).with_context(|| format!("not a file: {line}")));
        Ok(Self { version, files: files.collect::<Result<_>>()? })
    }
}

impl GuestSpec {
    /// With qemu-ga in the guest, not yet started.
    pub fn with_qemu_ga(self) -> Result<Self> {
        let package = Package::unpack()?;
        Ok(package.files.iter().fold(self, |spec, (host, guest)| spec.file(host, guest)))
    }
}

impl Guest {
    /// Starts qemu-ga on its port and returns at once.
    pub fn start_qemu_ga(&self) -> Result<()> {
        // No udev here, which makes /dev/virtio-ports elsewhere.
        self.sh(&format!(
            "port=
             while [ -z \"$port\" ]; do
                 for name in /sys/class/virtio-ports/*/name; do
                     [ \"$(cat $name)\" != {PORT} ] || port=/dev/$(basename $(dirname $name))
                 done
                 sleep 0.1
             done
             qemu-ga -m virtio-serial -p $port -t /run </dev/null >/run/qemu-ga.log 2>&1 &
             echo $! >/run/qemu-ga.pid"
        ))?;
        Ok(())
    }
}
