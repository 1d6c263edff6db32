//! The values that are written in a grammar of their own: each reads what it prints.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where `serve` listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listen {
    /// On a vsock port, for every CID that is allowed.
    Vsock {
        /// The port.
        port: u32,
    },
    /// On a unix socket, for tests: whoever may open it may call.
    Unix {
        /// Its path.
        path: PathBuf,
    },
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vsock { port } => write!(f, "vsock:{port}"),
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            // The highest number means "any port" (VMADDR_PORT_ANY).
            Some(("vsock", port)) => match port.parse() {
                Ok(port) if port != 0 && port != u32::MAX => Ok(Self::Vsock { port }),
                _ => Err(format!("{port:?} is not a vsock port, 1 to 4294967294")),
            },
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix { path: path.into() }),
            _ => Err(format!("{text:?} is neither \"vsock:PORT\" nor \"unix:/PATH\"")),
        }
    }
}

/// From which vsock ports callers may come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerPort {
    /// Any.
    Any,
    /// Below 1024: on a host with kernel vsock that takes CAP_NET_BIND_SERVICE (net/vmw_vsock/af_vsock.c,
    /// LAST_RESERVED_PORT). A VMM that makes the connections in user space picks ports as it likes.
    Privileged,
}

impl fmt::Display for PeerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Privileged => "privileged",
        })
    }
}

impl FromStr for PeerPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "any" => Ok(Self::Any),
            "privileged" => Ok(Self::Privileged),
            _ => Err(format!("{text:?} is neither \"any\" nor \"privileged\"")),
        }
    }
}

/// Where the secret is that calls must bring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenSource {
    /// Nowhere: calls need none.
    None,
    /// systemd's credential `trimtab.token` (systemd.exec(5), LoadCredential).
    Credential,
    /// A file.
    File(PathBuf),
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Credential => f.write_str("credential"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl FromStr for TokenSource {
    type Err = String;

    /// The text is not repeated in the error: somebody may have written the secret itself there.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "credential" => Ok(Self::Credential),
            _ => match text.strip_prefix("file:") {
                Some(path) if path.starts_with('/') => Ok(Self::File(path.into())),
                _ => {
                    Err("it says where the token is, and must be \"none\", \"credential\" or \"file:/PATH\""
                        .to_owned())
                }
            },
        }
    }
}
