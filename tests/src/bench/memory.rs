//! What a process of the guest takes of its memory, by /proc/PID/smaps_rollup, which counts, and by the peak in
//! /proc/PID/status, which can be some 64 pages behind (proc(5) on VmRSS).

use anyhow::{Context, Result};

use crate::guest::Guest;

/// Resident memory at one moment, in KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Memory {
    /// All of it.
    pub(super) resident: u64,
    /// Its own, which the kernel cannot take back. The rest is pages of files, which it can.
    pub(super) own: u64,
    /// The most that was resident since the peak was set back.
    pub(super) peak: u64,
    /// Threads.
    pub(super) threads: u64,
}

impl Memory {
    /// The shell text that reads both files of the process in `$dir`.
    pub(super) const READ: &str = "cat $dir/smaps_rollup $dir/status";

    /// Reads what [`Self::READ`] prints.
    pub(super) fn parse(status: &str) -> Result<Self> {
        let field = |name: &str| -> Result<u64> {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok());
            number.with_context(|| format!("no {name} in a process's status:\n{status}"))
        };
        Ok(Self {
            resident: field("Rss")?,
            own: field("Anonymous")?,
            peak: field("VmHWM")?,
            threads: field("Threads")?,
        })
    }
}

/// A process of the guest, found by the file that holds its id.
pub(super) struct Process<'a> {
    pub(super) guest: &'a Guest,
    pub(super) pid_file: &'static str,
}

impl Process<'_> {
    /// What it takes now.
    pub(super) fn memory(&self) -> Result<Memory> {
        let read = format!("dir=/proc/$(cat {}); {}", self.pid_file, Memory::READ);
        Memory::parse(&self.guest.sh(&read)?)
    }

    /// The most KiB that it takes while `work` is done.
    pub(super) fn peak_while<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(u64, T)> {
        // 5 sets VmHWM back to what is resident now.
        self.guest.sh(&format!("echo 5 >/proc/$(cat {})/clear_refs", self.pid_file))?;
        let result = work()?;
        Ok((self.memory()?.peak, result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status() {
        let status = "5581d7a9f000-7ffd0d5f2000 ---p 00000000 00:00 0   [rollup]\nRss:    2600 kB\n\
                      Anonymous:   284 kB\nName:\ttrimtab-agent\nVmHWM:\t    2840 kB\nVmRSS:\t    2512 kB\n\
                      Threads:\t1\n";
        let memory = Memory { resident: 2600, own: 284, peak: 2840, threads: 1 };
        assert_eq!(Memory::parse(status).unwrap(), memory);
        let error = Memory::parse("Name:\tkthreadd\nThreads:\t1\n").unwrap_err().to_string();
        assert!(error.starts_with("no Rss"), "{error}");
    }
}
