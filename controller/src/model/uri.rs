//! A libvirt URI of this host. Pure.
//!
//! `DRIVER[+TRANSPORT]://[HOST]/PATH[?…]` (libvirt.org/uri.html). The images lie where the domains run, so another
//! host's domains are of no use here: a URI that leads there is refused before anything is connected.

use std::{fmt, str::FromStr};

/// libvirt's own daemon of this host.
pub const DEFAULT: &str = "qemu:///system";

/// The longest URI that makes sense.
const MAX_BYTES: usize = 4096;

/// A URI that leads to a daemon on this host, or to libvirt's own test driver.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Uri(String);

/// Why a text is no such URI.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAUri {
    /// Not a URI at all.
    #[error("{0:?} is no libvirt URI: write \"qemu:///system\" or \"qemu:///session\"")]
    Form(String),
    /// Another host's.
    #[error("{uri:?} leads to another host ({why}); trimtab measures images where they lie")]
    Remote {
        /// As it was given.
        uri: String,
        /// What says so.
        why: String,
    },
    /// A driver inside of the calling program.
    #[error("{0:?} would make trimtab itself the hypervisor's daemon; it only talks to one")]
    Embedded(String),
}

impl Uri {
    /// As libvirt takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Uri {
    /// qemu:///system.
    fn default() -> Self {
        Self(DEFAULT.to_owned())
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Uri {
    type Err = NotAUri;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || NotAUri::Form(text.to_owned());
        if text.len() > MAX_BYTES || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(form());
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
        let (driver, transport) =
            scheme.split_once('+').map_or((scheme, None), |(driver, transport)| (driver, Some(transport)));
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_word(driver) || transport.is_some_and(|transport| !is_word(transport)) {
            return Err(form());
        }
        let remote = |why: String| NotAUri::Remote { uri: text.to_owned(), why };
        if let Some(other) = transport.filter(|transport| !transport.eq_ignore_ascii_case("unix")) {
            return Err(remote(format!("by {other}")));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if !host.is_empty() {
            return Err(remote(format!("to {host}")));
        }
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        if path.is_empty() {
            return Err(form());
        }
        if path.trim_end_matches('/') == "/embed" {
            return Err(NotAUri::Embedded(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_host() {
        for uri in [
            DEFAULT,
            "qemu:///session",
            "qemu+unix:///system?socket=/run/other/libvirt-sock",
            "test:///default",
            "ch:///system",
        ] {
            assert_eq!(uri.parse::<Uri>().map(|uri| uri.to_string()), Ok(uri.to_owned()));
        }
    }

    #[test]
    fn elsewhere_or_nowhere() {
        for (uri, why) in [
            ("qemu+ssh://root@node2/system", "leads to another host (by ssh)"),
            ("qemu+ssh:///system", "by ssh"),
            ("qemu+tls://node2/system", "by tls"),
            ("qemu+libssh2://node2/system", "by libssh2"),
            ("qemu+ext:///system?command=/bin/x", "by ext"),
            ("qemu://node2/system", "to node2"),
            ("qemu://node2?x", "to node2"),
            ("qemu:///embed?root=/tmp/x", "itself the hypervisor's daemon"),
            ("qemu:///embed/", "itself the hypervisor's daemon"),
            ("qemu:/system", "no libvirt URI"),
            ("qemu://", "no libvirt URI"),
            ("://x", "no libvirt URI"),
            ("qemu+:///system", "no libvirt URI"),
            ("", "no libvirt URI"),
            ("system", "no libvirt URI"),
            ("qemu:///sys tem", "no libvirt URI"),
            ("qemu:///\n", "no libvirt URI"),
        ] {
            let error = uri.parse::<Uri>().unwrap_err().to_string();
            assert!(error.contains(why), "{uri}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_passes_names_no_host(text in "[a-z]{0,5}(\\+[a-z0-9]{0,5})?(://|:/)?[a-z/?@.]{0,12}") {
            if let Ok(uri) = text.parse::<Uri>() {
                let (scheme, rest) = uri.as_str().split_once("://").unwrap();
                prop_assert!(rest.starts_with('/') && (!scheme.contains('+') || scheme.ends_with("+unix")));
            }
        }
    }
}
