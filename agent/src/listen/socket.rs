//! The socket that calls come in by: vsock, one that systemd hands over, or a unix socket.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileTypeExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
};
use tokio_vsock::{VMADDR_CID_ANY, VMADDR_CID_HOST, VMADDR_CID_LOCAL, VsockAddr, VsockListener, VsockStream};

use super::gate::Peer;
use crate::config::Listen;

/// What is listened on.
#[derive(Debug)]
pub enum Listener {
    /// AF_VSOCK.
    Vsock(VsockListener),
    /// AF_UNIX.
    Unix(UnixListener),
}

/// Why nothing can be listened on.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A vsock port.
    #[error("cannot listen on vsock port {port}: {source}{}", vsock_hint(source))]
    Vsock {
        /// Which.
        port: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// A unix socket.
    #[error("cannot listen on {path}: {source}")]
    Unix {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What the service manager handed over is none that can be served.
    #[error(
        "the socket that systemd handed over cannot be used: {0}; the unit needs one ListenStream=vsock::PORT"
    )]
    Handed(String),
}

fn vsock_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "; a port below 1024 needs root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrInUse => "; another agent listens there already",
        _ if source.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => {
            "; this guest's kernel has no vsock: it takes Linux 4.8 and the module vmw_vsock_virtio_transport, which \
             some distributions keep in a package of its own (linux-modules-extra, kernel-modules)"
        }
        _ => "",
    }
}

/// Whether a device connects this guest with a host. Without one the kernel answers "any", the loopback, or that this
/// machine is itself a host (net/vmw_vsock/af_vsock.c, vsock_dev_do_ioctl).
fn has_device() -> bool {
    const NONE: [u32; 3] = [VMADDR_CID_ANY, VMADDR_CID_LOCAL, VMADDR_CID_HOST];
    vsock::get_local_cid().is_ok_and(|cid| !NONE.contains(&cid))
}

impl Listener {
    /// Listens there. Where that is vsock and this guest has no vsock device, it says so and listens all the same: a
    /// device can be plugged in.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(place: &Listen) -> Result<Self, SocketError> {
        match place {
            Listen::Unix { path } => Self::unix(path),
            Listen::Vsock { port } => {
                let listener = Self::vsock(*port)?;
                if !has_device() {
                    tracing::warn!(
                        "this guest has no vsock device, so no host can call: give its VM one (<vsock> in libvirt's \
                         XML), and the driver is vmw_vsock_virtio_transport"
                    );
                }
                Ok(listener)
            }
        }
    }

    /// Listens on a vsock port, for every CID of this guest.
    ///
    /// # Errors
    /// [`SocketError::Vsock`].
    pub fn vsock(port: u32) -> Result<Self, SocketError> {
        VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, port))
            .map(Self::Vsock)
            .map_err(|source| SocketError::Vsock { port, source })
    }

    /// Listens on a unix socket that only its owner can connect to. A socket that was left behind there is replaced;
    /// anything else is not.
    ///
    /// # Errors
    /// [`SocketError::Unix`].
    pub fn unix(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Unix { path: path.to_owned(), source };
        if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            fs::remove_file(path).map_err(failed)?;
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self::Unix(listener))
    }

    /// Looks at the socket before it is taken for one of a kind: tokio-vsock takes anything, and panics later.
    pub(super) fn from_socket(socket: OwnedFd) -> Result<Self, SocketError> {
        let bad = |source: &dyn std::fmt::Display| SocketError::Handed(source.to_string());
        let address: SockaddrStorage =
            getsockname(std::os::fd::AsRawFd::as_raw_fd(&socket)).map_err(|e| bad(&e))?;
        let listens = getsockopt(&socket.as_fd(), sockopt::AcceptConn).map_err(|e| bad(&e))?;
        let kind = getsockopt(&socket.as_fd(), sockopt::SockType).map_err(|e| bad(&e))?;
        if !listens || kind != SockType::Stream {
            return Err(bad(&"it is not a listening stream socket"));
        }
        match address.family() {
            Some(AddressFamily::Vsock) => Ok(Self::Vsock(VsockListener::from(socket))),
            Some(AddressFamily::Unix) => {
                let listener = std::os::unix::net::UnixListener::from(socket);
                listener.set_nonblocking(true).map_err(|e| bad(&e))?;
                UnixListener::from_std(listener).map(Self::Unix).map_err(|e| bad(&e))
            }
            _ => Err(bad(&"it is neither vsock nor unix")),
        }
    }

    /// The next connection and where it comes from.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Vsock(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Stream::Vsock(stream), Peer::Vsock { cid: address.cid(), port: address.port() }))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                Ok((Stream::Unix(stream), Peer::Unix { uid }))
            }
        }
    }
}

/// Bytes in both directions.
#[derive(Debug)]
pub(super) enum Stream {
    Vsock(VsockStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Vsock(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Vsock(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Vsock(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Vsock(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net;

    use super::*;

    #[tokio::test]
    async fn what_systemd_may_hand_over() {
        let tmp = tempfile::tempdir().unwrap();
        let unix = net::UnixListener::bind(tmp.path().join("s")).unwrap();
        assert!(matches!(Listener::from_socket(unix.into()), Ok(Listener::Unix(_))));
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let file = fs::File::open("/proc/self/stat").unwrap();
        let (connected, _other) = net::UnixStream::pair().unwrap();
        for (name, socket) in
            [("tcp", OwnedFd::from(tcp)), ("a file", file.into()), ("a connection", connected.into())]
        {
            assert!(Listener::from_socket(socket).is_err(), "{name}");
        }
    }

    #[tokio::test]
    async fn only_a_socket_is_replaced() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("s");
        drop(Listener::unix(&path).unwrap());
        Listener::unix(&path).unwrap();
        let file = tmp.path().join("precious");
        fs::write(&file, "x").unwrap();
        let error = Listener::unix(&file).unwrap_err().to_string();
        assert!(error.contains("precious"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "x");
    }
}
