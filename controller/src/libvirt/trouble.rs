//! What libvirt refuses, as a person reads it: what happened, to what, what to do next. Pure.

use std::io;

use super::said::{
    ACCESS_DENIED, AGENT_UNRESPONSIVE, AGENT_UNSYNCED, ARGUMENT_UNSUPPORTED, AUTH_CANCELLED, AUTH_FAILED,
    AUTH_UNAVAILABLE, Access, NO_CONNECT, NO_DOMAIN, NOT_BUILT_IN, OPERATION_DENIED, OPERATION_INVALID,
    Refused, SYSTEM_ERROR,
};
use crate::{
    blocking::NotDone,
    model::{
        trouble::{Kind, Trouble},
        uri::Uri,
    },
};

/// A connection that could not be made.
pub(super) fn no_connection(uri: &Uri, access: Access, refused: &Refused) -> Trouble {
    let text = &refused.text;
    let trouble = |kind, what: &str| Trouble::new(kind, format!("libvirt ({uri}): {what}{text}"));
    if refused.code == NOT_BUILT_IN {
        return trouble(Kind::NoLibvirt, "")
            .hint("use the packaged trimtab, or name the VM in the inventory");
    }
    if refused.code == NO_CONNECT {
        return trouble(Kind::NoLibvirt, "").hint("is the URI right? qemu:///system is the usual one");
    }
    if is_permission(refused) {
        let hint = match access {
            Access::ReadOnly => "run as root, or open libvirt's read-only socket to this user",
            Access::ReadWrite => "run as root, or as a user that libvirt lets change things (group libvirt)",
        };
        return trouble(Kind::NoPermission, "no permission: ").hint(hint);
    }
    let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    match system_error(refused) {
        Some(kind) if nobody.contains(&kind) => trouble(Kind::NoLibvirt, "it does not run: ")
            .hint("start libvirtd (or virtqemud), or name another URI with --connect"),
        _ => trouble(Kind::NoLibvirt, "no connection: "),
    }
}

/// A call about a domain that failed.
pub(super) fn failed(uri: &Uri, domain: &str, refused: &Refused) -> Trouble {
    let text = &refused.text;
    match refused.code {
        NO_DOMAIN => Trouble::new(Kind::VmOff, format!("libvirt ({uri}) has no domain {domain} any more"))
            .hint("it was undefined, or was transient and has ended; `trimtab list` shows all"),
        ARGUMENT_UNSUPPORTED | AGENT_UNRESPONSIVE | AGENT_UNSYNCED => {
            Trouble::new(Kind::NoAgent, format!("libvirt ({uri}), domain {domain}: {text}")).hint(
                "is there a channel org.qemu.guest_agent.0, and does qemu-guest-agent run in the guest?",
            )
        }
        // Said where the domain has ended between two calls.
        OPERATION_INVALID => Trouble::new(Kind::VmOff, format!("libvirt ({uri}), domain {domain}: {text}"))
            .hint("it has ended or changed meanwhile; try again"),
        _ if is_permission(refused) => {
            Trouble::new(Kind::NoPermission, format!("libvirt ({uri}), domain {domain}: {text}"))
                .hint("run as root, or as a user that libvirt lets change things (group libvirt)")
        }
        _ => Trouble::new(Kind::LibvirtRefused, format!("libvirt ({uri}), domain {domain}: {text}")),
    }
}

/// A call that did not come back.
pub(super) fn not_done(uri: &Uri, what: &str, error: &NotDone) -> Trouble {
    Trouble::new(Kind::NoLibvirt, format!("libvirt ({uri}): {what}: {error}"))
        .hint("does `virsh list` answer? libvirtd may hang, or the domain's QEMU")
}

fn is_permission(refused: &Refused) -> bool {
    matches!(refused.code, OPERATION_DENIED | AUTH_FAILED | AUTH_CANCELLED | AUTH_UNAVAILABLE | ACCESS_DENIED)
        || system_error(refused) == Some(io::ErrorKind::PermissionDenied)
}

fn system_error(refused: &Refused) -> Option<io::ErrorKind> {
    (refused.code == SYSTEM_ERROR).then(|| io::Error::from_raw_os_error(refused.errno).kind())
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn refused(code: i32, errno: Option<Errno>) -> Refused {
        Refused { code, errno: errno.map_or(0, Errno::raw_os_error), text: "libvirt's words".into() }
    }

    #[test]
    fn connections() {
        let uri: Uri = "qemu:///system".parse().unwrap();
        let start = Some("start libvirtd");
        let root = Some("run as root");
        for (name, refused, expected, hint) in [
            ("not there", refused(SYSTEM_ERROR, Some(Errno::NOENT)), Kind::NoLibvirt, start),
            ("nobody listens", refused(SYSTEM_ERROR, Some(Errno::CONNREFUSED)), Kind::NoLibvirt, start),
            ("socket closed to us", refused(SYSTEM_ERROR, Some(Errno::ACCESS)), Kind::NoPermission, root),
            ("polkit", refused(AUTH_UNAVAILABLE, None), Kind::NoPermission, root),
            ("no driver", refused(NO_CONNECT, None), Kind::NoLibvirt, Some("is the URI right?")),
            ("left out", refused(NOT_BUILT_IN, None), Kind::NoLibvirt, Some("the packaged trimtab")),
            ("else", refused(1, None), Kind::NoLibvirt, None),
        ] {
            let trouble = no_connection(&uri, Access::ReadOnly, &refused);
            assert_eq!(trouble.kind, expected, "{name}");
            assert_eq!(trouble.hint.is_some(), hint.is_some(), "{name}: {trouble:?}");
            let hinted = trouble.hint.unwrap_or_default();
            assert!(hinted.contains(hint.unwrap_or_default()), "{name}: {hinted}");
            assert!(
                trouble.text.contains("qemu:///system") && trouble.text.contains("libvirt's words"),
                "{name}"
            );
        }
    }

    #[test]
    fn domains() {
        let uri: Uri = "qemu:///system".parse().unwrap();
        for (code, expected) in [
            (NO_DOMAIN, Kind::VmOff),
            (OPERATION_INVALID, Kind::VmOff),
            (AGENT_UNRESPONSIVE, Kind::NoAgent),
            (ARGUMENT_UNSUPPORTED, Kind::NoAgent),
            (OPERATION_DENIED, Kind::NoPermission),
            (ACCESS_DENIED, Kind::NoPermission),
            (9, Kind::LibvirtRefused),
        ] {
            let trouble = failed(&uri, "web", &refused(code, None));
            assert_eq!(trouble.kind, expected, "{code}");
            assert!(trouble.text.contains("web"), "{trouble}");
        }
    }
}
