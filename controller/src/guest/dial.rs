//! From an endpoint to a connection with the guest's port, within a deadline.
//!
//! ```text
//! connect ──> handshake (hybrid only) ──> connected
//!    ^             │ nothing listens: a pause, 100 ms and then twice as long each time,
//!    └─────────────┘ as long as `no_listener_retry` and `connect` allow
//! ```

use std::{io, path::Path, time::Duration};

use nix::errno::Errno;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    time::{Instant, sleep, timeout_at},
};

use super::{
    limits::Limits,
    mux::{self, MuxError},
    text::safe_within,
    vsock,
};
use crate::model::{
    endpoint::{Cid, Endpoint, Port},
    trouble::{Kind, Trouble},
};

/// The first pause before "nothing listens" is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Both ways of a connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How one attempt failed.
enum Failed {
    /// Nothing listens in the guest: may pass.
    NoListener,
    /// The deadline passed.
    Silent,
    /// It would fail again.
    For(Trouble),
}

/// Connects to the guest's port.
pub(super) async fn dial(endpoint: &Endpoint, limits: &Limits) -> Result<Box<dyn Io>, Trouble> {
    let start = Instant::now();
    let deadline = start.checked_add(limits.connect).unwrap_or(start);
    let mut pause = FIRST_PAUSE;
    loop {
        match timeout_at(deadline, attempt(endpoint)).await.unwrap_or(Err(Failed::Silent)) {
            Ok(io) => return Ok(io),
            Err(Failed::For(trouble)) => return Err(trouble),
            Err(Failed::Silent) => return Err(silent(endpoint, limits.connect)),
            Err(Failed::NoListener) => {
                let waited = start.elapsed().saturating_add(pause);
                if waited >= limits.no_listener_retry || waited >= limits.connect {
                    return Err(no_listener(endpoint));
                }
                sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
        }
    }
}

async fn attempt(endpoint: &Endpoint) -> Result<Box<dyn Io>, Failed> {
    match endpoint {
        Endpoint::Hybrid { path, port } => {
            let mut stream =
                UnixStream::connect(path).await.map_err(|error| unix_refused(endpoint, path, &error))?;
            mux::handshake(&mut stream, *port).await.map_err(|error| mux_refused(path, *port, error))?;
            Ok(Box::new(stream))
        }
        Endpoint::Vsock { cid, port } => match vsock::connect(*cid, *port).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(vsock_refused(*cid, &error)),
        },
    }
}

fn unix_refused(endpoint: &Endpoint, path: &Path, error: &io::Error) -> Failed {
    let path = path.display();
    Failed::For(match error.kind() {
        io::ErrorKind::NotFound => {
            Trouble::new(Kind::NoLink, format!("the vsock socket {path} does not exist"))
                .hint("is the VM running, and is this the path that its monitor was given?")
        }
        io::ErrorKind::PermissionDenied => {
            Trouble::new(Kind::NoPermission, format!("this user may not connect to the vsock socket {path}"))
                .hint("run as root, or as a user whom the socket and the folders above it let in")
        }
        io::ErrorKind::ConnectionRefused => {
            Trouble::new(Kind::NoLink, format!("nobody serves the vsock socket {path}"))
                .hint("is the VM running? A socket outlives a VM monitor or vsock device that was killed")
        }
        // A full backlog: whoever should accept does not.
        io::ErrorKind::WouldBlock => return Failed::Silent,
        _ => Trouble::new(Kind::NoAgent, format!("cannot connect to {endpoint}: {error}")),
    })
}

fn mux_refused(path: &Path, port: Port, error: MuxError) -> Failed {
    let path = path.display();
    match error {
        MuxError::NoListener => Failed::NoListener,
        MuxError::NotOk(line) => {
            let said = safe_within(&String::from_utf8_lossy(&line), 60);
            let trouble = Trouble::new(
                Kind::AgentNonsense,
                format!("{path} answered \"{said}\" instead of \"OK\" to CONNECT {}", port.0),
            );
            Failed::For(if line.starts_with(b"{\"QMP\"") {
                trouble.hint(
                    "this is the VM's QMP socket: it belongs under `qmp`, `agent` wants the vsock socket",
                )
            } else {
                trouble.hint("`agent` wants the unix socket of the VM's hybrid vsock device")
            })
        }
        MuxError::Io(error) => {
            Failed::For(Trouble::new(Kind::NoAgent, format!("the handshake with {path} failed: {error}")))
        }
    }
}

fn vsock_refused(cid: Cid, error: &io::Error) -> Failed {
    let cid = cid.0;
    Failed::For(match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNRESET | Errno::ECONNREFUSED) => return Failed::NoListener,
        Some(Errno::ETIMEDOUT) => return Failed::Silent,
        Some(Errno::ENODEV | Errno::EADDRNOTAVAIL | Errno::EHOSTUNREACH | Errno::ENETUNREACH) => {
            Trouble::new(Kind::NoLink, format!("this host has no VM with CID {cid}: {error}"))
                .hint("is the VM running, is this its CID, and is the module vhost_vsock loaded?")
        }
        Some(Errno::EAFNOSUPPORT) => {
            Trouble::new(Kind::NoLink, "this host's kernel has no vsock").hint("modprobe vhost_vsock")
        }
        Some(Errno::EACCES | Errno::EPERM) => {
            Trouble::new(Kind::NoPermission, format!("this user may not connect to vsock CID {cid}: {error}"))
                .hint("run as root, or outside of the sandbox that forbids AF_VSOCK")
        }
        _ => Trouble::new(Kind::NoAgent, format!("cannot connect to vsock CID {cid}: {error}")),
    })
}

fn no_listener(endpoint: &Endpoint) -> Trouble {
    let port = match endpoint {
        Endpoint::Hybrid { port, .. } | Endpoint::Vsock { port, .. } => port.0,
    };
    Trouble::new(
        Kind::NoAgent,
        format!("no agent answers at {endpoint}: the guest has no listener on port {port}"),
    )
    .hint("in the guest: systemctl status trimtab-agent.socket trimtab-agent")
}

fn silent(endpoint: &Endpoint, limit: Duration) -> Trouble {
    Trouble::new(Kind::AgentSilent, format!("{endpoint} did not take the connection within {limit:?}"))
        .hint("is the guest paused, hung, or still booting?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_cid() {
        let said = |errno: Errno| match vsock_refused(Cid(7), &io::Error::from(errno)) {
            Failed::NoListener => "again".to_owned(),
            Failed::Silent => "silent".to_owned(),
            Failed::For(trouble) => format!("{:?}: {trouble}", trouble.kind),
        };
        for (errno, expected) in [
            (Errno::ECONNRESET, "again"),
            (Errno::ETIMEDOUT, "silent"),
            (Errno::ENODEV, "NoLink: this host has no VM with CID 7"),
            (Errno::EAFNOSUPPORT, "NoLink: this host's kernel has no vsock"),
            (Errno::EPERM, "NoPermission: this user may not connect to vsock CID 7"),
            (Errno::EIO, "NoAgent: cannot connect to vsock CID 7"),
        ] {
            let said = said(errno);
            assert!(said.starts_with(expected), "{errno}: {said}");
        }
    }

    /// Whatever this machine has of vsock, a CID without a VM ends within the bound.
    #[tokio::test]
    async fn a_dead_cid_is_no_hang() {
        let limits = Limits { connect: Duration::from_millis(300), ..Limits::default() };
        let endpoint = Endpoint::Vsock { cid: Cid(4_000_000_000), port: Port::AGENT };
        let began = Instant::now();
        let trouble = dial(&endpoint, &limits).await.err().unwrap();
        assert!(
            matches!(trouble.kind, Kind::NoLink | Kind::NoAgent | Kind::AgentSilent | Kind::NoPermission),
            "{trouble}"
        );
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}
