//! [`TrimStream`]: the events of one run, until its end or until a bound is met.
//!
//! ```text
//! attached ── first event within `first_event`, then one that moves something within `stall` ──> attached
//!    ├─ End ──────────────────────────────> over
//!    └─ a bound, nonsense, a broken line ──> over, with one Trouble
//! ```
//! Over means that the connection is closed; `next` then gives `None` for ever.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::Streaming;
use trimtab_proto::v1;

use super::{
    contract::Contract,
    limits::Limits,
    line::{Ending, Line},
    status::Asked,
};
use crate::{
    model::{
        endpoint::Endpoint,
        run::{RunEvent, TrimOrder},
        trouble::{Kind, Trouble},
    },
    trim::ports::RunStream,
};

/// The connection of a run that is not over.
struct Attached {
    events: Streaming<v1::TrimEvent>,
    line: Line,
}

/// A bound in time.
struct Bound {
    due: Instant,
    /// It is the end of the whole stream.
    is_end: bool,
}

/// A run's events, each checked. Dropping it closes the connection; the agent then goes on for the order's linger.
pub struct TrimStream {
    at: Endpoint,
    limits: Limits,
    /// How long the whole stream may last.
    longest: Duration,
    contract: Contract,
    began: Instant,
    /// When an event last moved something; `None` before the first one.
    moved: Option<Instant>,
    attached: Option<Attached>,
}

impl TrimStream {
    /// A stream that is not attached yet. Its clocks run from here on.
    pub(super) fn new(at: &Endpoint, limits: &Limits, order: &TrimOrder) -> Self {
        Self {
            at: at.clone(),
            limits: limits.clone(),
            longest: order.deadline.saturating_add(limits.end_margin),
            contract: Contract::new(order.run_id.clone(), limits.stream_events),
            began: Instant::now(),
            moved: None,
            attached: None,
        }
    }

    pub(super) fn attach(&mut self, events: Streaming<v1::TrimEvent>, line: Line) {
        self.attached = Some(Attached { events, line });
    }

    fn asked(&self) -> Asked<'_> {
        Asked { at: &self.at, rpc: "Trim" }
    }

    /// The next bound in time.
    fn bound(&self) -> Bound {
        let after = |from: Instant, limit| from.checked_add(limit).unwrap_or_else(|| far_away(from));
        let end = after(self.began, self.longest);
        let next = match self.moved {
            None => after(self.began, self.limits.first_event),
            Some(_) if self.contract.paused() => end,
            Some(moved) => after(moved, self.limits.stall),
        };
        Bound { due: next.min(end), is_end: end <= next }
    }

    /// What it means that a bound was met.
    fn late(&self, bound: &Bound) -> Trouble {
        let at = &self.at;
        let silent = |text| Trouble::new(Kind::AgentSilent, text);
        if bound.is_end {
            let margin = self.limits.end_margin;
            silent(format!("the agent at {at} did not end its run, {margin:?} after the run's own deadline"))
                .hint("the connection was closed, so an honest agent stops by itself; the host's figures still count")
        } else if self.moved.is_none() {
            self.asked().silent(self.limits.first_event)
        } else {
            let stall = self.limits.stall;
            silent(format!(
                "the run of the agent at {at} stood still for {stall:?}: no state and no counter moved"
            ))
            .hint("in the guest: is a disk stuck? journalctl -u trimtab-agent")
        }
    }

    fn lost(&self, how: &str) -> Trouble {
        Trouble::new(Kind::AgentLost, format!("the run's stream from the agent at {} {how}", self.at))
            .hint("an honest agent stops by itself when its stream is gone; the host's figures still count")
    }

    fn failed(&self, status: &tonic::Status, ending: &Ending) -> Trouble {
        let trouble = self.asked().trouble(status, ending);
        match trouble.kind {
            Kind::AgentNonsense | Kind::AgentLost => trouble,
            // Trouble with one filesystem is never a status: the run as a whole has died.
            _ if self.moved.is_some() => self.lost(&format!("broke off: {}", trouble.text)),
            _ => trouble,
        }
    }

    async fn take(&mut self) -> Result<RunEvent, Trouble> {
        let bound = self.bound();
        let Some(attached) = self.attached.as_mut() else {
            return Err(Trouble::new(Kind::Internal, "a run's stream was read after its end"));
        };
        // An event that is there already is seen even when it is read late; what it is worth is decided below.
        let answer = timeout_at(bound.due, attached.events.message()).await;
        let ending = attached.line.ending();
        let event = match answer {
            Ok(Ok(Some(event))) => event,
            Ok(Ok(None)) => return Err(self.lost("ended before the run did")),
            Ok(Err(status)) => return Err(self.failed(&status, &ending)),
            Err(_) => return Err(self.late(&bound)),
        };
        let (event, moved) = match self.contract.take(event, self.began.elapsed()) {
            Ok(taken) => taken,
            Err(nonsense) => return Err(self.asked().nonsense(nonsense)),
        };
        let now = Instant::now();
        let over = matches!(event, RunEvent::End(_));
        if !over && now >= bound.due && (bound.is_end || !moved) {
            return Err(self.late(&bound));
        }
        if moved {
            self.moved = Some(now);
        }
        Ok(event)
    }
}

/// A moment that no stream lives to see.
fn far_away(from: Instant) -> Instant {
    const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    from.checked_add(TEN_YEARS).unwrap_or(from)
}

impl RunStream for TrimStream {
    async fn next(&mut self) -> Option<Result<RunEvent, Trouble>> {
        self.attached.as_ref()?;
        let outcome = self.take().await;
        if !matches!(outcome, Ok(RunEvent::State(_) | RunEvent::Filesystem(_) | RunEvent::Progress(_))) {
            self.attached = None;
        }
        Some(outcome)
    }
}

impl std::fmt::Debug for TrimStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrimStream").field("at", &self.at).field("over", &self.attached.is_none()).finish()
    }
}
