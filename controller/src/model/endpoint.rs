//! Where an agent listens, as the inventory writes it: `unix:PATH[:PORT]` and `vsock:CID[:PORT]`.
//!
//! A socket's path may hold colons: only a last `:` followed by nothing but digits begins a port. A path that ends
//! that way itself is written with its port behind it (`unix:/run/vm:7:874`), and [`Endpoint`] does so when it
//! prints one.

use std::{fmt, path::PathBuf, str::FromStr};

use trimtab_proto::DEFAULT_PORT;

/// The longest path of a unix socket: `sun_path` has 108 bytes, the last one is 0 (unix(7)).
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

/// A vsock context id: one VM on this host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cid(pub u32);

/// A vsock port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Port(pub u32);

impl Port {
    /// Where an agent listens when nothing else is said.
    pub const AGENT: Self = Self(DEFAULT_PORT);
}

/// How a guest's agent is reached.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// `unix:PATH[:PORT]`: hybrid vsock, as Firecracker, Cloud Hypervisor and vhost-device-vsock offer it.
    Hybrid {
        /// The unix socket of the VM.
        path: PathBuf,
        /// The guest's port behind it.
        port: Port,
    },
    /// `vsock:CID[:PORT]`: the kernel's AF_VSOCK.
    Vsock {
        /// The VM.
        cid: Cid,
        /// Its port.
        port: Port,
    },
}

/// Why a text is no endpoint.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAnEndpoint {
    /// Neither form.
    #[error("{0:?} is no address of an agent: write \"unix:/PATH[:PORT]\" or \"vsock:CID[:PORT]\"")]
    Form(String),
    /// A path that depends on the current folder.
    #[error("the socket {0:?} is not an absolute path: write \"unix:/PATH\"")]
    Relative(String),
    /// A path that cannot name a socket.
    #[error("the socket {0:?} ends with \"/\": it names a folder")]
    Folder(String),
    /// A path that would garble every message about it.
    #[error("the socket {0:?} has a control character in its path")]
    Control(String),
    /// A path that the kernel cannot connect to.
    #[error(
        "the socket {0:?} has a path longer than {MAX_SOCKET_PATH_BYTES} bytes, which no unix socket can have"
    )]
    TooLong(String),
    /// Not a CID.
    #[error("{0:?} is no CID: a number from 3 up (1 for this machine itself)")]
    Cid(String),
    /// A CID that is never a guest's.
    #[error("CID {cid} is {what}, not a guest")]
    ReservedCid {
        /// Which.
        cid: u32,
        /// Who has it (vsock(7)).
        what: &'static str,
    },
    /// Not a port.
    #[error("{0:?} is no vsock port: a number from 0 to {max}", max = u32::MAX.wrapping_sub(1))]
    Port(String),
}

impl FromStr for Endpoint {
    type Err = NotAnEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix("unix:") {
            let (path, port) = match rest.rsplit_once(':') {
                Some((path, tail)) if is_digits(tail) => (path, parse_port(tail)?),
                _ => (rest, Port::AGENT),
            };
            return Ok(Self::Hybrid { path: parse_path(path)?, port });
        }
        if let Some(rest) = text.strip_prefix("vsock:") {
            let (cid, port) = match rest.split_once(':') {
                Some((cid, tail)) => (cid, parse_port(tail)?),
                None => (rest, Port::AGENT),
            };
            return Ok(Self::Vsock { cid: parse_cid(cid)?, port });
        }
        Err(NotAnEndpoint::Form(text.to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (port, needs_port) = match self {
            Self::Hybrid { path, port } => {
                let path = path.to_string_lossy();
                write!(f, "unix:{path}")?;
                (port, path.rsplit_once(':').is_some_and(|(_, tail)| is_digits(tail)))
            }
            Self::Vsock { cid, port } => {
                write!(f, "vsock:{}", cid.0)?;
                (port, false)
            }
        };
        if needs_port || *port != Port::AGENT {
            write!(f, ":{}", port.0)?;
        }
        Ok(())
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn parse_path(text: &str) -> Result<PathBuf, NotAnEndpoint> {
    let refused = text.to_owned();
    if !text.starts_with('/') {
        return Err(NotAnEndpoint::Relative(refused));
    }
    if text.ends_with('/') {
        return Err(NotAnEndpoint::Folder(refused));
    }
    if text.chars().any(char::is_control) {
        return Err(NotAnEndpoint::Control(refused));
    }
    if text.len() > MAX_SOCKET_PATH_BYTES {
        return Err(NotAnEndpoint::TooLong(refused));
    }
    Ok(PathBuf::from(text))
}

/// `u32::MAX` is VMADDR_PORT_ANY: a wish when binding, nothing to connect to.
fn parse_port(text: &str) -> Result<Port, NotAnEndpoint> {
    match text.parse() {
        Ok(port) if is_digits(text) && port != u32::MAX => Ok(Port(port)),
        _ => Err(NotAnEndpoint::Port(text.to_owned())),
    }
}

/// 1 is VMADDR_CID_LOCAL, this machine: an agent and its controller side by side.
fn parse_cid(text: &str) -> Result<Cid, NotAnEndpoint> {
    let cid = match text.parse() {
        Ok(cid) if is_digits(text) => cid,
        _ => return Err(NotAnEndpoint::Cid(text.to_owned())),
    };
    let what = match cid {
        0 => "the hypervisor",
        2 => "the host",
        u32::MAX => "\"any\"",
        _ => return Ok(Cid(cid)),
    };
    Err(NotAnEndpoint::ReservedCid { cid, what })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hybrid(path: &str, port: u32) -> Endpoint {
        Endpoint::Hybrid { path: path.into(), port: Port(port) }
    }

    fn vsock(cid: u32, port: u32) -> Endpoint {
        Endpoint::Vsock { cid: Cid(cid), port: Port(port) }
    }

    #[test]
    fn good_ones() {
        for (text, expected, printed) in [
            ("unix:/run/vms/a.vsock", hybrid("/run/vms/a.vsock", 874), "unix:/run/vms/a.vsock"),
            ("unix:/run/vms/a.vsock:874", hybrid("/run/vms/a.vsock", 874), "unix:/run/vms/a.vsock"),
            ("unix:/run/vms/a.vsock:900", hybrid("/run/vms/a.vsock", 900), "unix:/run/vms/a.vsock:900"),
            ("unix:/run/a:b", hybrid("/run/a:b", 874), "unix:/run/a:b"),
            ("unix:/run/a:7:874", hybrid("/run/a:7", 874), "unix:/run/a:7:874"),
            ("unix:/run/a:", hybrid("/run/a:", 874), "unix:/run/a:"),
            ("vsock:3", vsock(3, 874), "vsock:3"),
            ("vsock:4294967294:0", vsock(u32::MAX - 1, 0), "vsock:4294967294:0"),
            ("vsock:1:5000", vsock(1, 5000), "vsock:1:5000"),
        ] {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn bad_ones_say_why() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, reason) in [
            ("", "is no address of an agent"),
            ("/run/a.vsock", "is no address of an agent"),
            ("tcp:1.2.3.4", "is no address of an agent"),
            ("unix:run/a.vsock", "not an absolute path"),
            ("unix:", "not an absolute path"),
            ("unix::900", "not an absolute path"),
            ("unix:/", "names a folder"),
            ("unix:/run/:7", "names a folder"),
            ("unix:/run/a\nb", "control character"),
            ("unix:/run/a\u{0}", "control character"),
            (&long, "longer than 107 bytes"),
            ("unix:/run/a:4294967295", "is no vsock port"),
            ("unix:/run/a:99999999999", "is no vsock port"),
            ("vsock:", "is no CID"),
            ("vsock:x", "is no CID"),
            ("vsock:+3", "is no CID"),
            ("vsock:3:", "is no vsock port"),
            ("vsock:3:+7", "is no vsock port"),
            ("vsock:3:4:5", "is no vsock port"),
            ("vsock:0", "CID 0 is the hypervisor"),
            ("vsock:2", "CID 2 is the host"),
            ("vsock:4294967295", "CID 4294967295 is \"any\""),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(unix:|vsock:)?.{0,120}") {
            let _ = text.parse::<Endpoint>();
        }

        #[test]
        fn what_is_printed_parses_back(
            path in "/[a-z:0-9/ é]{0,40}[a-z:0-9]", cid in 3..u32::MAX, port in 0..u32::MAX, default in any::<bool>(),
        ) {
            let port = if default { DEFAULT_PORT } else { port };
            for endpoint in [hybrid(&path, port), vsock(cid, port)] {
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }

        #[test]
        fn what_parses_prints_the_same_thing(text in "(unix:/[a-z0-9:]{1,9}|vsock:[0-9]{1,10})(:[0-9]{1,10})?") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }
    }
}
