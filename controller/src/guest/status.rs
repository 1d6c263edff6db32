//! What a failed call means: tonic's Status and the connection's ending → [`Trouble`].
//!
//! A status may be the agent's own answer, tonic's opinion of what came, or the transport's end; they differ in what
//! a person should do. An agent's words are guest text and are quoted through [`safe`].

use std::{error::Error, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt};
use trimtab_proto::{BUSY_SINCE, ERROR_DOMAIN, words::Refusal};

use super::{
    check::Nonsense,
    line::Ending,
    text::{safe, safe_within},
};
use crate::model::{
    endpoint::Endpoint,
    trouble::{Kind, Trouble},
};

/// What tonic says in a status of its own when an answer breaks gRPC. Without a source, as an agent's would be.
const TONICS_OWN: [&str; 6] = [
    "Content is compressed",
    "Error decompressing",
    "Missing response message",
    "Unexpected EOF decoding stream",
    "grpc-status header missing",
    "protocol error:",
];

/// Which question to whom: the beginning of each sentence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) at: &'a Endpoint,
    /// "Survey".
    pub(super) rpc: &'static str,
}

impl Asked<'_> {
    /// What came broke the contract.
    pub(super) fn nonsense(self, problem: impl std::fmt::Display) -> Trouble {
        let Self { at, rpc } = self;
        Trouble::new(
            Kind::AgentNonsense,
            format!("the answer of {at} to {rpc} broke the contract: {problem}"),
        )
        .hint("nothing of it was used; is this trimtab-agent, and is the guest to be trusted?")
    }

    /// Nothing came in time.
    pub(super) fn silent(self, limit: Duration) -> Trouble {
        let Self { at, rpc } = self;
        Trouble::new(Kind::AgentSilent, format!("the agent at {at} did not answer {rpc} within {limit:?}"))
            .hint("is the guest paused, hung, or out of memory?")
    }

    fn lost(self, how: &str) -> Trouble {
        let Self { at, rpc } = self;
        Trouble::new(Kind::AgentLost, format!("the connection to the agent at {at} {how} during {rpc}"))
            .hint("did the guest stop or restart, or its agent? In the guest: journalctl -u trimtab-agent")
    }

    /// An agent closes at once on a caller that it does not know, and when it has too many. A program that is no agent
    /// may do so too, and one that is starting or ending.
    fn turned_away(self) -> Trouble {
        let Self { at, rpc } = self;
        Trouble::new(Kind::AgentLost, format!("the agent at {at} closed the connection without a word, at {rpc}")).hint(
            "in the guest, journalctl -u trimtab-agent says why: it cannot start (a mistake in its agent.toml?), \
             allow_cids or peer_port there do not let this caller in, or it has too many callers",
        )
    }

    fn refused(self, kind: Kind, why: &str, status: &Status) -> Trouble {
        let Self { at, rpc } = self;
        Trouble::new(kind, format!("the agent at {at} refused {rpc}: {why}{}", quoted(status)))
    }

    /// What a status means, given how the connection ended.
    pub(super) fn trouble(self, status: &Status, ending: &Ending) -> Trouble {
        let sources = || sources(status);
        if let Some(nonsense) = sources().find_map(|error| error.downcast_ref::<Nonsense>()) {
            return self.nonsense(nonsense);
        }
        match ending {
            Ending::Flood { came, allowed } => {
                return self.nonsense(format!("{came} bytes came, {allowed} are allowed by then"));
            }
            Ending::NotHttp2(bytes) => {
                let shown = safe_within(&String::from_utf8_lossy(bytes), 60);
                return self.nonsense(format!("it speaks no HTTP/2 but began with \"{shown}\""));
            }
            Ending::Open | Ending::Quiet | Ending::Closed | Ending::Unheard | Ending::HungUp => {}
        }
        if status.source().is_some() {
            if let Some(error) = sources().find_map(|error| error.downcast_ref::<h2::Error>()) {
                if error.is_remote() {
                    return self.lost(&format!("was given up by its end ({error})"));
                }
                if !error.is_io() && !matches!(ending, Ending::Closed | Ending::Unheard) {
                    return self.nonsense(error);
                }
            }
            if *ending == Ending::Quiet {
                return self.lost("gave no sign of life, not even to pings,");
            }
            if *ending == Ending::Unheard {
                return self.turned_away();
            }
            return self.lost("broke");
        }
        if status.code() == Code::OutOfRange || TONICS_OWN.iter().any(|own| status.message().starts_with(own))
        {
            return self.nonsense(safe(status.message()));
        }
        match error_info(status) {
            Some((refusal, info)) => self.refusal(refusal, &info, status),
            None => self.code(status),
        }
    }

    /// The agent said why, in a word of the contract.
    fn refusal(self, refusal: Refusal, info: &ErrorInfo, status: &Status) -> Trouble {
        let refused = |kind, why| self.refused(kind, why, status);
        match refusal {
            Refusal::StaleFence => refused(Kind::AgentRefused, "a newer caller has taken this run over")
                .hint("another trimtab is at this VM; see its outcome there"),
            Refusal::Rebooted => {
                refused(Kind::GuestRebooted, "the guest has booted again since the survey").hint("trim it again")
            }
            Refusal::TooSoon => refused(Kind::TooSoon, "the guest's owner wants more time between two trims")
                .hint("min_interval_secs in the guest's agent.toml"),
            Refusal::NoSuchFilesystem => refused(Kind::AgentRefused, "a filesystem of the order is not there any more")
                .hint("trimtab survey shows what is mounted now"),
            Refusal::RunIdReused => {
                refused(Kind::AgentRefused, "this run was ordered before, with other parameters").hint("trim it again")
            }
            Refusal::NotPrivileged => refused(Kind::AgentRefused, "the agent lacks CAP_SYS_ADMIN, which FITRIM needs")
                .hint("in the guest: systemctl status trimtab-agent; it has to run as the packaged service, not in a container"),
            Refusal::Busy => refused(Kind::Busy, &format!("another trim is under way{}", since(info)))
                .hint("it passes by itself; then trim again"),
            Refusal::Vetoed => refused(Kind::Vetoed, "the guest's owner does not allow it")
                .hint("host_may_trim, or host_may_probe for a probe, in the guest's agent.toml"),
            Refusal::TokenMissing => refused(Kind::NoPermission, "the guest's owner wants a token with every call")
                .hint("name the file that holds it: token = \"file:/PATH\" in /etc/trimtab/trimtab.toml, or in its [[vm]]"),
            Refusal::TokenWrong => refused(Kind::NoPermission, "this host has another token than the guest")
                .hint("compare the file that `token` names in trimtab.toml or its [[vm]] with the guest's: trimtab-agent config there names it"),
            Refusal::Skipped => refused(Kind::AgentRefused, "a trim would leave this filesystem out")
                .hint("trimtab survey names the reason"),
        }
    }

    /// The agent gave no reason that this side knows.
    fn code(self, status: &Status) -> Trouble {
        let refused = |kind, why| self.refused(kind, why, status);
        match status.code() {
            Code::Unimplemented => refused(Kind::AgentVersion, "it speaks another version of the protocol")
                .hint("update the older one of trimtab and trimtab-agent"),
            Code::Unavailable => refused(Kind::AgentRefused, "it is stopping").hint("try again in a moment"),
            Code::ResourceExhausted => {
                refused(Kind::AgentRefused, "it has too many callers").hint("try again in a moment")
            }
            Code::PermissionDenied | Code::Unauthenticated => {
                refused(Kind::AgentRefused, "this caller may not ask it")
                    .hint("the guest's agent.toml says who may")
            }
            Code::NotFound => refused(Kind::AgentRefused, "it knows of no such run since its boot"),
            Code::InvalidArgument => refused(Kind::AgentRefused, "it calls the request invalid")
                .hint("update the older one of trimtab and trimtab-agent"),
            Code::DeadlineExceeded | Code::Cancelled => refused(Kind::AgentSilent, "it gave up"),
            code => refused(Kind::AgentRefused, &format!("{code:?}")),
        }
    }
}

/// What the transport or the codec put behind a status, outermost first. An agent's own answer has none.
fn sources(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let mut next = status.source();
    std::iter::from_fn(move || {
        let now = next?;
        next = now.source();
        Some(now)
    })
}

/// The agent's reason, if it is of the contract's list.
fn error_info(status: &Status) -> Option<(Refusal, ErrorInfo)> {
    let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN)?;
    Some((Refusal::parse(&info.reason)?, info))
}

/// " since 2026-01-01T00:00:00Z", where the agent says a time that a calendar has.
fn since(info: &ErrorInfo) -> String {
    let secs = info.metadata.get(BUSY_SINCE).and_then(|secs| secs.parse().ok());
    secs.and_then(|secs| jiff::Timestamp::from_second(secs).ok())
        .map(|t| format!(" since {t}"))
        .unwrap_or_default()
}

fn quoted(status: &Status) -> String {
    if status.message().is_empty() { String::new() } else { format!(" (\"{}\")", safe(status.message())) }
}
