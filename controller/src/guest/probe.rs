//! [`ProbeEvents`]: the two events of a probe, within the order's deadline.
//!
//! ```text
//! attached ── Written ──> written ── Trimmed | Failed ──> over
//!    └─ Failed, a bound, nonsense, a broken line ──────────┘
//! ```
//! Over means that the connection is closed, and an agent whose caller has gone ends its probe.

use tokio::time::{Instant, timeout, timeout_at};
use tonic::Streaming;
use trimtab_proto::v1;

use super::{
    check::{self, Nonsense},
    client::{AgentClient, path, ready},
    codec::CountingCodec,
    limits::Limits,
    line::Line,
    order,
    status::Asked,
};
use crate::{
    model::{
        endpoint::Endpoint,
        probe::{ProbeEvent, ProbeOrder},
        trouble::{Kind, Trouble},
    },
    trim::ports::ProbeStream,
};

/// A probe's events, each checked. Dropping it closes the connection, which ends the probe.
pub struct ProbeEvents {
    at: Endpoint,
    bytes: u64,
    due: Instant,
    limits: Limits,
    written: bool,
    attached: Option<(Streaming<v1::ProbeEvent>, Line)>,
}

impl std::fmt::Debug for ProbeEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeEvents").field("at", &self.at).field("over", &self.attached.is_none()).finish()
    }
}

impl AgentClient {
    /// Orders a probe.
    pub(super) async fn open_probe(&self, order: &ProbeOrder) -> Result<ProbeEvents, Trouble> {
        let asked = self.asked("Probe");
        let mut call = self.call(asked, self.limits.call_bytes).await?;
        let longest = order.deadline.saturating_add(self.limits.probe_margin);
        let began = Instant::now();
        let question = call.question(order::probe(order));
        let answer = async {
            ready(&mut call.grpc).await?;
            call.grpc
                .server_streaming::<_, v1::ProbeEvent, _>(question, path("Probe"), CountingCodec::default())
                .await
        };
        // A refusal comes as soon as a survey would.
        match timeout(self.limits.call, answer).await {
            Ok(Ok(events)) => Ok(ProbeEvents {
                at: self.endpoint.clone(),
                bytes: order.bytes,
                due: began.checked_add(longest).unwrap_or(began),
                limits: self.limits.clone(),
                written: false,
                attached: Some((events.into_inner(), call.line)),
            }),
            Ok(Err(status)) => Err(asked.trouble(&status, &call.line.ending())),
            Err(_) => Err(asked.silent(self.limits.call)),
        }
    }
}

impl ProbeEvents {
    async fn take(&mut self) -> Result<ProbeEvent, Trouble> {
        let asked = Asked { at: &self.at, rpc: "Probe" };
        let Some((events, line)) = self.attached.as_mut() else {
            return Err(Trouble::new(Kind::Internal, "a probe was read after its end"));
        };
        let event = match timeout_at(self.due, events.message()).await {
            Ok(Ok(Some(event))) => event,
            Ok(Ok(None)) => {
                let text = format!("the agent at {} ended its probe without a word", self.at);
                return Err(Trouble::new(Kind::AgentLost, text));
            }
            Ok(Err(status)) => return Err(asked.trouble(&status, &line.ending())),
            Err(_) => {
                let margin = self.limits.probe_margin;
                let text =
                    format!("the agent at {} did not end its probe {margin:?} after its deadline", self.at);
                return Err(Trouble::new(Kind::AgentSilent, text)
                    .hint("the connection was closed, so an honest agent stops by itself"));
            }
        };
        let taken = check::probe(event).and_then(|(_, event)| self.in_place(event));
        taken.map_err(|nonsense| Asked { at: &self.at, rpc: "Probe" }.nonsense(nonsense))
    }

    /// Written once, before the end, and of the size that was ordered.
    fn in_place(&mut self, event: ProbeEvent) -> Result<ProbeEvent, Nonsense> {
        let was_written = self.written;
        match &event {
            ProbeEvent::Written(_) if was_written => Err(Nonsense::new("written", "a second time")),
            ProbeEvent::Written(now) if now.bytes != self.bytes => {
                Err(Nonsense::new("written.bytes", format!("{} of {} bytes", now.bytes, self.bytes)))
            }
            ProbeEvent::Written(_) => {
                self.written = true;
                Ok(event)
            }
            ProbeEvent::Trimmed(_) if !was_written => Err(Nonsense::new("trimmed", "before written")),
            ProbeEvent::Trimmed(_) | ProbeEvent::Failed(_) => Ok(event),
        }
    }
}

impl ProbeStream for ProbeEvents {
    async fn next(&mut self) -> Option<Result<ProbeEvent, Trouble>> {
        self.attached.as_ref()?;
        let outcome = self.take().await;
        if !matches!(outcome, Ok(ProbeEvent::Written(_))) {
            self.attached = None;
        }
        Some(outcome)
    }
}
