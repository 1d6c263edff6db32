//! The worker: a process that obeys. It holds one filesystem and calls FITRIM as it is told.
//!
//! It exists because nothing but SIGKILL ends a FITRIM: whoever may be in that call must be free to die. So it has no
//! signal handler, writes no file, decides nothing, and dies with its parent.
//!
//! ```text
//! started -> syncfs, statfs -> "ready" -> <- "START LEN MINLEN" -> "ok LEN MICROSECONDS" | "err ERRNO" -> ...
//! ```
//! Descriptor 0 is a directory of the filesystem, descriptor 1 a socket to the parent. It ends at the socket's end.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
    time::Instant,
};

use nix::{
    errno::Errno,
    sys::{prctl, signal::Signal, statfs},
    unistd,
};

use crate::kernel::{
    fitrim::{self, Range},
    process,
};

/// The first line of a worker whose filesystem is ready to be trimmed.
pub const READY: &str = "ready";

/// A line that the parent sends: one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// Where.
    pub range: Range,
    /// The smallest extent, bytes.
    pub min_extent: u64,
}

impl Order {
    /// The line, with its newline.
    pub fn line(&self) -> String {
        format!("{} {} {}\n", self.range.start, self.range.len, self.min_extent)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        let order = Self { range: Range { start: next()?, len: next()? }, min_extent: next()? };
        numbers.next().is_none().then_some(order)
    }
}

/// A line that the worker sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The filesystem is synced; its disks' counters may be read.
    Ready,
    /// FITRIM returned.
    Ok {
        /// What it says it did.
        claimed: u64,
        /// How long it took.
        micros: u64,
    },
    /// FITRIM, or the sync before the first one, failed.
    Err(Errno),
}

impl Answer {
    /// Reads a line; `None` for one that no worker writes.
    pub fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match *words.as_slice() {
            [READY] => Some(Self::Ready),
            ["ok", claimed, micros] => {
                Some(Self::Ok { claimed: claimed.parse().ok()?, micros: micros.parse().ok()? })
            }
            ["err", errno] => Some(Self::Err(Errno::from_raw(errno.parse().ok()?))),
            _ => None,
        }
    }

    fn line(&self) -> String {
        match self {
            Self::Ready => format!("{READY}\n"),
            Self::Ok { claimed, micros } => format!("ok {claimed} {micros}\n"),
            Self::Err(errno) => format!("err {}\n", i32_of(*errno)),
        }
    }
}

fn i32_of(errno: Errno) -> i32 {
    io::Error::from(errno).raw_os_error().unwrap_or_default()
}

/// The worker's whole life. `parent` is the process that started it.
///
/// The exit code is for nobody: the parent goes by the socket.
pub fn run(parent: i32) -> ExitCode {
    match obey(parent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn obey(parent: i32) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have died before the line above; then nobody would ever end this process.
    if unistd::getppid().as_raw() != parent {
        return Err(io::Error::other("the parent is gone"));
    }
    process::step_back();

    let filesystem = io::stdin().as_fd().try_clone_to_owned()?;
    let mut socket = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    // What was deleted but not committed is not free yet. XFS frees deleted inodes in the background, and statfs
    // waits for that (xfs_fs_statfs calls xfs_inodegc_push).
    let synced = unistd::syncfs(&filesystem).and_then(|()| statfs::fstatfs(&filesystem));
    let first = match synced {
        Ok(_) => Answer::Ready,
        Err(errno) => Answer::Err(errno),
    };
    socket.write_all(first.line().as_bytes())?;

    let mut orders = BufReader::new(socket.try_clone()?);
    let mut line = String::new();
    while orders.read_line(&mut line)? > 0 {
        let order = Order::parse(&line).ok_or(io::ErrorKind::InvalidData)?;
        let began = Instant::now();
        let answer = match fitrim::fitrim(&filesystem, order.range, order.min_extent) {
            Ok(claimed) => {
                Answer::Ok { claimed, micros: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX) }
            }
            Err(errno) => Answer::Err(errno),
        };
        socket.write_all(answer.line().as_bytes())?;
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        for order in [
            Order { range: Range::WHOLE, min_extent: 0 },
            Order { range: Range { start: 1 << 40, len: 1 << 27 }, min_extent: 65_536 },
        ] {
            assert_eq!(Order::parse(&order.line()), Some(order));
        }
        for answer in
            [Answer::Ready, Answer::Ok { claimed: u64::MAX, micros: 0 }, Answer::Err(Errno::EUCLEAN)]
        {
            assert_eq!(Answer::parse(&answer.line()), Some(answer));
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for bad in ["", "1 2", "1 2 3 4", "1 2 -3", "a b c", "1 2 18446744073709551616"] {
            assert_eq!(Order::parse(bad), None, "{bad:?}");
        }
        for bad in ["", "ok", "ok 1", "ok 1 2 3", "err", "err x", "READY", "ready now"] {
            assert_eq!(Answer::parse(bad), None, "{bad:?}");
        }
    }
}
