//! The QEMU process behind a QMP socket: its command line and working directory, from /proc.
//!
//! Another user's process shows its command line (unless /proc is mounted with hidepid=) but not its directory.

use std::{
    fs::{self, File},
    io::Read,
    path::PathBuf,
    time::Duration,
};

use super::cmdline::CommandLine;
use crate::blocking;

/// Reading it takes the process's memory map, which can be locked for long.
const LIMIT: Duration = Duration::from_secs(1);

/// A VM of hundreds of disks has some 100 KiB.
const MAX_COMMAND_LINE_BYTES: u64 = 4 << 20;

/// What /proc told; empty where it told nothing.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// How it was started.
    pub(super) command_line: CommandLine,
    /// /proc/PID/cwd.
    directory: Option<PathBuf>,
}

impl Process {
    /// Reads /proc/PID. What cannot be read is left empty.
    pub(super) async fn read(pid: u32) -> Self {
        blocking::within(LIMIT, move || Self::read_now(pid)).await.unwrap_or_default()
    }

    fn read_now(pid: u32) -> Self {
        let mut raw = Vec::new();
        let read = File::open(format!("/proc/{pid}/cmdline"))
            .and_then(|file| file.take(MAX_COMMAND_LINE_BYTES).read_to_end(&mut raw));
        if read.is_err() {
            return Self::default();
        }
        Self {
            command_line: CommandLine::parse(&raw),
            directory: fs::read_link(format!("/proc/{pid}/cwd")).ok(),
        }
    }

    /// A relative file name of QEMU's as a path of this host. Only for names on the command line: a name that came by
    /// QMP may come from another time, and after `-daemonize` QEMU stands in another directory than it began in.
    pub(super) fn absolute(&self, name: &str) -> Option<PathBuf> {
        if self.command_line.is_daemon() || !self.command_line.mentions(name) {
            return None;
        }
        self.directory.as_ref().map(|directory| directory.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_names() {
        let at = |line: &[u8], directory: Option<&str>| Process {
            command_line: CommandLine::parse(line),
            directory: directory.map(PathBuf::from),
        };
        let drive = b"qemu\0-drive\0file=vm/a.img\0";
        let daemon = b"qemu\0-daemonize\0-drive\0file=vm/a.img\0";
        let cases = [
            ("in QEMU's directory", at(drive, Some("/srv")), Some("/srv/vm/a.img")),
            ("directory not readable", at(drive, None), None),
            ("not on the command line", at(b"qemu\0", Some("/srv")), None),
            ("a daemon has left its directory", at(daemon, Some("/")), None),
        ];
        for (name, process, expected) in cases {
            assert_eq!(process.absolute("vm/a.img"), expected.map(PathBuf::from), "{name}");
        }
    }

    #[tokio::test]
    async fn a_process_that_is_not_there_says_nothing() {
        let gone = Process::read(u32::MAX).await;
        assert_eq!(gone.absolute("a.img"), None);
    }
}
