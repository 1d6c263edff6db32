//! A QEMU without a guest: disks and a monitor, up in half a second.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A running QEMU; ends with this value, and with the test's thread whatever happens.
pub(crate) struct Qemu {
    child: Child,
    directory: TempDir,
}

/// A folder of images for a QEMU.
pub(crate) struct Images(TempDir);

impl Images {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn raw(self, name: &str) -> Self {
        self.sized(name, 64 << 20)
    }

    pub(crate) fn sized(self, name: &str, bytes: u64) -> Self {
        std::fs::File::create(self.0.path().join(name)).unwrap().set_len(bytes).unwrap();
        self
    }

    /// `qemu-img create` with these words.
    pub(crate) fn create(self, words: &str) -> Self {
        let mut command = Command::new("qemu-img");
        command.current_dir(self.0.path()).args(["create", "-q"]).args(words.split(' '));
        let status = command.status().expect("qemu-img is needed: install the package qemu-utils");
        assert!(status.success(), "qemu-img create {words}");
        self
    }

    /// Starts QEMU in this folder; `DIR` in a line stands for it. `qmp.sock` is for the code under test, another
    /// monitor for the test itself, since each serves one client.
    pub(crate) fn start(self, lines: &[&str]) -> Qemu {
        let path = self.0.path().to_str().unwrap().to_owned();
        let words =
            lines.iter().flat_map(|line| line.split_whitespace()).map(|word| word.replace("DIR", &path));
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg", "-nodefaults"])
            .args(["-display", "none", "-m", "64", "-machine", "q35"])
            .args(["-qmp", "unix:qmp.sock,server=on,wait=off", "-qmp", "unix:test.sock,server=on,wait=off"])
            .args(words)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        let child = command.spawn().expect("setpriv is needed: install the package util-linux");
        let mut qemu = Qemu { child, directory: self.0 };
        let began = Instant::now();
        while UnixStream::connect(qemu.path("test.sock")).is_err() {
            let ended = qemu.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "qemu-system-x86_64 ended (install the package qemu-system-x86): {ended:?}"
            );
            assert!(began.elapsed().as_secs() < 20, "qemu-system-x86_64 opened no monitor in 20 s");
            std::thread::sleep(Duration::from_millis(20));
        }
        // It greets once all devices are there.
        drop(qemu.monitor());
        qemu
    }
}

impl Qemu {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        rustix::process::waitid(
            rustix::process::WaitId::Pid(pid),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        )
        .unwrap();
    }

    /// Commands on the test's own monitor.
    pub(crate) fn monitor(&self) -> Monitor {
        Monitor::connect(&self.path("test.sock"))
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A QMP client as small as can be.
pub(crate) struct Monitor(BufReader<UnixStream>);

impl Monitor {
    pub(crate) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut monitor = Self(BufReader::new(stream));
        monitor.line();
        monitor.run("qmp_capabilities", json!({}));
        monitor
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    pub(crate) fn run(&mut self, command: &str, arguments: Value) -> Value {
        let line = json!({"execute": command, "arguments": arguments}).to_string();
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
        loop {
            let answer = self.line();
            if answer.get("event").is_none() {
                assert!(answer.get("return").is_some(), "{command}: {answer}");
                return answer["return"].clone();
            }
        }
    }

    /// Writes 1 MiB and discards it again, as a guest would, through a drive or node.
    pub(crate) fn write_and_discard(&mut self, device: &str) {
        for what in ["write 0 1M", "discard 0 1M"] {
            let line = format!("qemu-io {device} \"{what}\"");
            let said = self.run("human-monitor-command", json!({"command-line": line}));
            assert_eq!(said, "", "{line}");
        }
    }
}
