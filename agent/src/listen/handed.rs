//! The socket that systemd listens on for this process. It is systemd's: what waits there when this process ends, it
//! starts the next one for.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::socket::{SockFlag, accept4},
};

use super::socket::{Listener, SocketError};
use crate::kernel::process;

/// More than wait at a time (`net.core.somaxconn` is 4096 today).
const MOST_WAITING: usize = 8192;

/// The socket.
#[derive(Debug)]
pub struct Handed {
    socket: OwnedFd,
}

impl Handed {
    /// Takes it; `None` where this process was started otherwise. To be called once.
    ///
    /// # Errors
    /// [`SocketError::Handed`].
    pub fn take() -> Result<Option<Self>, SocketError> {
        let mut fds = sd_notify::listen_fds().map_err(|source| bad(&source))?;
        let Some(fd) = fds.next() else { return Ok(None) };
        if fds.next().is_some() {
            return Err(bad(&"there is more than one"));
        }
        let socket = process::adopt(fd).map_err(|source| bad(&source))?;
        Ok(Some(Self { socket }))
    }

    /// Listens on it. Only inside of an event loop.
    ///
    /// # Errors
    /// [`SocketError::Handed`]: it is no listening stream socket of vsock or unix.
    pub fn listener(&self) -> Result<Listener, SocketError> {
        Listener::from_socket(self.socket.try_clone().map_err(|source| bad(&source))?)
    }

    /// Closes every call that waits, unanswered. A call that stays would have systemd start the next process at once.
    pub fn turn_away(&self) {
        // Without it the last accept would wait.
        let flags = fcntl(&self.socket, FcntlArg::F_GETFL).map(OFlag::from_bits_retain);
        let Ok(flags) = flags else { return };
        if fcntl(&self.socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).is_err() {
            return;
        }
        for _ in 0..MOST_WAITING {
            match accept4(self.socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
                Ok(fd) => {
                    let _ = nix::unistd::close(fd);
                }
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                Err(_) => return,
            }
        }
    }
}

fn bad(source: &dyn std::fmt::Display) -> SocketError {
    SocketError::Handed(source.to_string())
}
