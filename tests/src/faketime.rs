//! A worker whose clock reads what it is told (libfaketime(1)); that by which it waits is the machine's.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::campaigns::WorkerProcess;

/// What its clock reads.
#[derive(Clone, Copy, Debug)]
pub enum Clock<'a> {
    /// So much more or less than the machine's: "+3600".
    Off(&'a str),
    /// The same, as this file says at each look.
    In(&'a Path),
}

/// Has a command go by this clock.
///
/// # Errors
/// There is no libfaketime.
pub fn set(command: &mut Command, clock: Clock<'_>) -> Result<()> {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    ensure!(Path::new(&library).exists(), "{library} is missing; run: tests/setup test");
    let (name, value) = match clock {
        Clock::Off(offset) => ("FAKETIME", OsStr::new(offset)),
        Clock::In(file) => ("FAKETIME_TIMESTAMP_FILE", file.as_os_str()),
    };
    command.env("LD_PRELOAD", library).env(name, value);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Ok(())
}

/// Such a worker, killed when it is dropped.
#[derive(Debug)]
pub struct WithClock {
    worker: Option<WorkerProcess>,
    id: u32,
}

impl WithClock {
    /// Starts this command with its stderr added to the log.
    ///
    /// # Errors
    /// There is no libfaketime, or it cannot be started.
    pub fn start(mut command: Command, clock: Clock<'_>, log: &Path) -> Result<Self> {
        set(&mut command, clock)?;
        let worker = WorkerProcess::start(command, log)?;
        Ok(Self { id: worker.id(), worker: Some(worker) })
    }
}

impl Drop for WithClock {
    fn drop(&mut self) {
        drop(self.worker.take());
        // What the library shares among a program's processes stays when the program is killed.
        for name in ["faketime_shm_", "sem.faketime_sem_"] {
            let _ = fs::remove_file(format!("/dev/shm/{name}{}", self.id));
        }
    }
}
