//! The kernel's vsock, from a privileged port where this process may have one: a guest's owner can ask for that
//! (`peer_port = "privileged"` in its agent.toml), since the guest sees of a caller on the host nothing but its port.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, VsockAddr, bind, socket},
};
use tokio_vsock::{VMADDR_CID_ANY, VsockStream};

use crate::{
    blocking,
    model::endpoint::{Cid, Port},
};

/// From the highest that is privileged (LAST_RESERVED_PORT, net/vmw_vsock/af_vsock.c) down to where rresvport(3) of old
/// ended; the agent's own is left to an agent on this machine.
const HIGHEST: u32 = 1023;
const LOWEST: u32 = 600;

/// Longer than the kernel tries (VSOCK_DEFAULT_CONNECT_TIMEOUT, net/vmw_vsock/af_vsock.c: 2 s).
const LIMIT: Duration = Duration::from_secs(4);

/// Connects.
///
/// # Errors
/// The kernel's, ETIMEDOUT too.
pub(super) async fn connect(cid: Cid, port: Port) -> io::Result<VsockStream> {
    let connected = blocking::within(LIMIT, move || connect_now(cid, port)).await;
    let own = connected.map_err(|_| io::Error::from(Errno::ETIMEDOUT))??;
    VsockStream::new(vsock::VsockStream::from(own))
}

fn connect_now(cid: Cid, port: Port) -> io::Result<OwnedFd> {
    let own = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    take_port(|port| bind(own.as_raw_fd(), &VsockAddr::new(VMADDR_CID_ANY, port)))?;
    loop {
        match nix::sys::socket::connect(own.as_raw_fd(), &VsockAddr::new(cid.0, port.0)) {
            Ok(()) => return Ok(own),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Takes a privileged port, if there is one to be had; without one the kernel picks another when it connects.
fn take_port(bind: impl Fn(u32) -> nix::Result<()>) -> io::Result<()> {
    for port in (LOWEST..=HIGHEST).rev().filter(|port| *port != Port::AGENT.0) {
        match bind(port) {
            Ok(()) => return Ok(()),
            Err(Errno::EADDRINUSE) => {}
            Err(Errno::EACCES | Errno::EPERM) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn tried(answer: impl Fn(u32) -> nix::Result<()>) -> (Vec<u32>, bool) {
        let tried = RefCell::new(Vec::new());
        let taken = take_port(|port| {
            tried.borrow_mut().push(port);
            answer(port)
        });
        (tried.into_inner(), taken.is_ok())
    }

    #[test]
    fn ports() {
        assert_eq!(tried(|_| Ok(())), (vec![1023], true));
        assert_eq!(tried(|_| Err(Errno::EACCES)), (vec![1023], true), "whoever may not has another port");
        assert_eq!(tried(|_| Err(Errno::EAFNOSUPPORT)), (vec![1023], false));
        let (all, taken) = tried(|port| if port == 600 { Ok(()) } else { Err(Errno::EADDRINUSE) });
        assert!(taken && all.len() == 423 && !all.contains(&Port::AGENT.0), "{all:?}");
        assert_eq!(tried(|_| Err(Errno::EADDRINUSE)).0.len(), 423, "when all are taken it goes on without");
    }
}
