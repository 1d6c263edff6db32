//! The rig's own way into a guest: one command at a time over a virtio-serial port, answered with its output and
//! exit code. `tests/guest/init` is the other end and describes the wire.
//!
//! Not vsock: what is under test must not also carry the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What a command in the guest left.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

/// The host's end of the port.
#[derive(Debug)]
pub(super) struct Shell {
    path: PathBuf,
    reader: BufReader<UnixStream>,
    last_id: u64,
    /// An answer is still due, so the next bytes belong to an older command.
    out_of_step: bool,
}

impl Shell {
    /// Connects to QEMU's socket at `path` and waits for the guest's greeting, which names its boot.
    pub(super) fn wait_for_boot(path: &Path, limit: Duration) -> Result<(Self, String)> {
        let stream = connect(path, limit)?;
        let mut shell =
            Self { path: path.to_path_buf(), reader: BufReader::new(stream), last_id: 0, out_of_step: false };
        let boot_id = shell.greeting(limit).context("the guest did not come up")?;
        Ok((shell, boot_id))
    }

    /// Waits for the guest to come up again after a reset; what an older command still sent is passed over.
    pub(super) fn wait_for_reboot(&mut self, limit: Duration) -> Result<String> {
        let boot_id = self.greeting(limit).context("the guest did not come up again")?;
        self.out_of_step = false;
        Ok(boot_id)
    }

    /// Runs `script` with `sh -eu` in the guest.
    pub(super) fn run(&mut self, script: &str, limit: Duration) -> Result<Output> {
        if self.out_of_step {
            bail!("an earlier command has not ended yet");
        }
        self.last_id = self.last_id.saturating_add(1);
        let message = format!("{} {}\n{script}", self.last_id, script.len());
        self.reader.get_mut().write_all(message.as_bytes()).context("the guest is gone")?;
        self.out_of_step = true;
        let header = self.line(Instant::now().checked_add(limit).context("a limit beyond all time")?)?;
        let fields: Vec<&str> = header.split_whitespace().collect();
        let ["done", id, code, out, err] = fields.as_slice() else {
            bail!("{}: not an answer: {header:?}", self.path.display());
        };
        if *id != self.last_id.to_string() {
            bail!("{}: an answer to command {id} instead of {}", self.path.display(), self.last_id);
        }
        let output =
            Output { code: code.parse()?, out: self.text(out.parse()?)?, err: self.text(err.parse()?)? };
        self.out_of_step = false;
        Ok(output)
    }

    fn greeting(&mut self, limit: Duration) -> Result<String> {
        let deadline = Instant::now().checked_add(limit).context("a limit beyond all time")?;
        loop {
            let line = self.line(deadline)?;
            if let Some(boot_id) = line.strip_prefix("ready ") {
                return Ok(boot_id.trim().to_owned());
            }
        }
    }

    fn line(&mut self, deadline: Instant) -> Result<String> {
        let mut line = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("no answer in time");
            }
            self.reader.get_ref().set_read_timeout(Some(left))?;
            match self.reader.read_until(b'\n', &mut line) {
                Ok(0) => bail!("QEMU has ended"),
                Ok(_) => return Ok(String::from_utf8_lossy(&line).into_owned()),
                Err(error) if timed_out(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn text(&mut self, length: usize) -> Result<String> {
        self.reader.get_ref().set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut text = vec![0; length];
        self.reader.read_exact(&mut text).context("the answer was cut")?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn timed_out(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// Connects to a socket that is about to be there.
pub(super) fn connect(path: &Path, limit: Duration) -> Result<UnixStream> {
    let start = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(_) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error).with_context(|| format!("cannot connect to {}", path.display())),
        }
    }
}
