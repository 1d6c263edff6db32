//! The worker: a process that obeys. It holds one filesystem and calls FITRIM as it is told.
//!
//! It exists because nothing but SIGKILL ends a FITRIM: whoever may be in that call must be free to die. So it has no
//! signal handler, decides nothing, and dies with its parent. It writes nothing but a probe's file, which has no name.
//!
//! ```text
//! started -> syncfs, statfs -> "ready" -> <- "START LEN MINLEN" -> "ok LEN MICROSECONDS" | "err ERRNO" -> ...
//! a probe, after "ready":  <- "write BYTES"   -> "at LOGICAL PHYSICAL LEN TRIM_FROM" ..., "wrote" | "err ERRNO"
//!                          <- "release KEEP…" -> syncfs, statfs -> "ready" | "err ERRNO"
//! ```
//! Descriptor 0 is a directory of the filesystem, descriptor 1 a socket to the parent. It ends at the socket's end.

mod file;
mod lines;

use std::{
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    process::ExitCode,
    time::Instant,
};

use nix::{
    errno::Errno,
    sys::{prctl, signal::Signal, statfs},
    unistd,
};

use self::file::ProbeFile;
pub use self::lines::{Answer, Order};
use crate::kernel::{fitrim, process};

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
    socket.write_all(sync(filesystem.as_fd()).line().as_bytes())?;

    let mut probe = None;
    let mut orders = BufReader::new(socket.try_clone()?);
    let mut line = String::new();
    while orders.read_line(&mut line)? > 0 {
        let order = Order::parse(&line).ok_or(io::ErrorKind::InvalidData)?;
        for answer in carry_out(filesystem.as_fd(), &mut probe, &order) {
            socket.write_all(answer.line().as_bytes())?;
        }
        line.clear();
    }
    Ok(())
}

/// What was deleted but not committed is not free yet. XFS frees deleted inodes in the background, and statfs waits for
/// that (xfs_fs_statfs calls xfs_inodegc_push); btrfs frees with its commit, which syncfs makes.
fn sync(filesystem: BorrowedFd<'_>) -> Answer {
    match unistd::syncfs(filesystem).and_then(|()| statfs::fstatfs(filesystem)) {
        Ok(_) => Answer::Ready,
        Err(errno) => Answer::Err(errno),
    }
}

fn carry_out(filesystem: BorrowedFd<'_>, probe: &mut Option<ProbeFile>, order: &Order) -> Vec<Answer> {
    match order {
        Order::Trim { range, min_extent } => {
            let began = Instant::now();
            vec![match fitrim::fitrim(filesystem, *range, *min_extent) {
                Ok(claimed) => {
                    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                    Answer::Ok { claimed, micros }
                }
                Err(errno) => Answer::Err(errno),
            }]
        }
        Order::Write { bytes } => match ProbeFile::write(filesystem, *bytes) {
            Ok((file, extents)) => {
                *probe = Some(file);
                extents.into_iter().map(Answer::At).chain([Answer::Wrote]).collect()
            }
            Err(error) => vec![Answer::Err(errno_of(&error))],
        },
        Order::Release { keep } => {
            let released = probe.as_ref().map_or(Ok(()), |file| file.release(keep));
            vec![match released {
                Ok(()) => sync(filesystem),
                Err(error) => Answer::Err(errno_of(&error)),
            }]
        }
    }
}

/// EBADE, "invalid exchange", stands for what the kernel did not say itself: a file without a place of its own.
fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EBADE, Errno::from_raw)
}
