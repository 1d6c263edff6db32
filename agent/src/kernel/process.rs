//! What a worker process says of itself to the kernel, and the sockets that systemd hands over.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag},
    libc,
};

/// How far a worker steps back behind the guest's own work; `nice(1)`'s default.
const NICE: libc::c_int = 10;

/// ioprio_set(2): this process, of the best-effort class, the last of its eight levels. Not the idle class: what others wait
/// for in the filesystem could then wait for all other I/O.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_LAST: libc::c_int = (2 << 13) | 7;

/// Lowers this process's weight for the CPU, and for the disk where its scheduler looks at that. Neither can fail in this
/// direction but by a seccomp filter, and then it is no reason not to trim.
pub fn step_back() {
    // SAFETY: nice(2) takes an int and touches no memory of ours.
    let _ = unsafe { libc::nice(NICE) };
    // SAFETY: ioprio_set(2) takes three ints and touches no memory of ours.
    let _ = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_LAST) };
}

/// Takes over a descriptor that the service manager left open for this process (sd_listen_fds(3)) and marks it
/// close-on-exec.
///
/// # Errors
/// It is not open, or not above the three standard ones.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= libc::STDERR_FILENO {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: F_GETFD takes no pointer; on a number that is no descriptor it answers EBADF.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open (just asked), and by sd_listen_fds(3) it is this process's to own; nothing else
    // of this program takes it, since it is asked for once, at the start.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    nix::fcntl::fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, IntoRawFd};

    #[test]
    fn a_worker_is_last() {
        // In a thread of its own: both are the thread's, and the tests' other threads keep theirs.
        let of_this_thread = std::thread::spawn(|| {
            step_back();
            // SAFETY: ioprio_get(2) and getpriority(2) take ints and touch no memory of ours.
            unsafe {
                let disk = libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
                (disk, libc::getpriority(libc::PRIO_PROCESS, 0))
            }
        });
        let (disk, processor) = of_this_thread.join().unwrap();
        assert_eq!(disk, i64::from(IOPRIO_LAST));
        assert!(processor >= NICE, "{processor}");
    }

    #[test]
    fn adopts_what_is_open() {
        assert!(adopt(1).is_err());
        assert!(adopt(9999).is_err());
        let raw = std::fs::File::open("/proc/self/stat").unwrap().into_raw_fd();
        assert_eq!(adopt(raw).unwrap().as_raw_fd(), raw);
    }
}
