//! The calls of `trimtab.v1`: validate, call, stream. It opens no file and knows no filesystem.
//!
//! Trouble with one filesystem is in the report, never a status: a status other than OK says that the call was
//! refused before anything began.

use std::{
    collections::HashMap,
    pin::Pin,
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};
use trimtab_proto::{
    BUSY_SINCE, ERROR_DOMAIN,
    v1::{self, agent_server::Agent},
    words::{Pace, Refusal, Word, feature},
};

use crate::{
    lock, pace, probe,
    surveyor::Surveyor,
    trim::{Engine, Feed, Refused},
    wire,
};

/// What the guest's owner lets a host do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPolicy {
    /// Trim is answered.
    pub may_trim: bool,
    /// Probe is answered.
    pub may_probe: bool,
    /// Of a request that does not say how fast.
    pub pace: Pace,
    /// A faster request is slowed down to this.
    pub fastest: Pace,
    /// Between the end of a run and the start of the next.
    pub min_interval: Duration,
    /// Types that a request may name beside the agent's own list.
    pub also_allowed_types: Vec<String>,
    /// A longer `linger_secs` is cut to this.
    pub longest_linger: Duration,
}

/// The service, cloned for each connection.
#[derive(Clone, Debug)]
pub struct AgentService {
    /// Runs.
    pub engine: Engine,
    /// Surveys.
    pub surveyor: Surveyor,
    /// The owner's veto.
    pub policy: HostPolicy,
    /// uname -r.
    pub kernel: String,
}

/// A refusal with its reason, in the form of google.rpc.ErrorInfo.
pub(crate) fn refusal(
    code: Code,
    reason: Refusal,
    text: impl Into<String>,
    about: &[(&str, String)],
) -> Status {
    let metadata = about.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    let details =
        ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, metadata.collect::<HashMap<_, _>>());
    Status::with_error_details(code, text, details)
}

fn status(refused: &Refused) -> Status {
    use Code::{Aborted, FailedPrecondition};
    let text = refused.to_string();
    match refused {
        Refused::StaleFence { .. } => refusal(FailedPrecondition, Refusal::StaleFence, text, &[]),
        Refused::RunIdReused => refusal(FailedPrecondition, Refusal::RunIdReused, text, &[]),
        Refused::Busy { since_unix_secs } => {
            let since = since_unix_secs.map(|since| (BUSY_SINCE, since.to_string()));
            refusal(Aborted, Refusal::Busy, text, since.as_slice())
        }
        Refused::NoSuchFilesystem(_) => refusal(FailedPrecondition, Refusal::NoSuchFilesystem, text, &[]),
        Refused::NotPrivileged => refusal(FailedPrecondition, Refusal::NotPrivileged, text, &[]),
        Refused::Skipped { .. } => refusal(FailedPrecondition, Refusal::Skipped, text, &[]),
        Refused::NoSuchRun => Status::not_found(text),
        Refused::Stopping => Status::unavailable(text),
        Refused::Survey(_) | Refused::Lock(_) => Status::internal(text),
    }
}

impl AgentService {
    fn hello_reply(&self) -> v1::HelloReply {
        v1::HelloReply {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: self.kernel.clone(),
            boot_id: self.engine.boot_id().to_owned(),
            features: [feature::PAUSE, feature::AGAIN, feature::PROBE].map(str::to_owned).to_vec(),
            policy: Some(v1::Policy {
                host_may_trim: self.policy.may_trim,
                host_may_probe: self.policy.may_probe,
                fastest: self.policy.fastest.number(),
                min_interval_secs: u32::try_from(self.policy.min_interval.as_secs()).unwrap_or(u32::MAX),
                also_allowed_types: self.policy.also_allowed_types.clone(),
            }),
        }
    }

    /// Ids are of one boot; empty: of any.
    fn check_boot(&self, boot_id: &str) -> Result<(), Status> {
        if boot_id.is_empty() || boot_id == self.engine.boot_id() {
            return Ok(());
        }
        let text = "this guest has booted again since it was surveyed; survey it again";
        Err(refusal(Code::FailedPrecondition, Refusal::Rebooted, text, &[]))
    }

    /// What the owner of this guest says of such a request.
    fn check_policy(&self, order: &crate::trim::report::Order) -> Result<(), Status> {
        let vetoed = |text: String| Err(refusal(Code::PermissionDenied, Refusal::Vetoed, text, &[]));
        if !self.policy.may_trim {
            return vetoed("this guest's owner does not let its host trim".to_owned());
        }
        let allowed = |also: &&String| self.policy.also_allowed_types.contains(*also);
        if let Some(other) = order.also_types.iter().find(|also| !allowed(also)) {
            return vetoed(format!("this guest's owner does not allow filesystems of type {other:?}"));
        }
        if self.engine.knows(&order.run_id) {
            return Ok(());
        }
        let Some(ended) = self.engine.last_end_unix_secs() else { return Ok(()) };
        let next = ended.saturating_add(self.policy.min_interval.as_secs());
        match next.checked_sub(lock::now_unix_secs()) {
            Some(wait) if wait > 0 => {
                let text = format!("this guest's owner wants {wait} s more before the next trim");
                Err(refusal(Code::FailedPrecondition, Refusal::TooSoon, text, &[]))
            }
            _ => Ok(()),
        }
    }
}

/// The events of a feed, numbered from 1.
fn events(feed: Feed) -> Pin<Box<dyn Stream<Item = Result<v1::TrimEvent, Status>> + Send>> {
    Box::pin(stream::unfold((feed, 1_u64), |(mut feed, seq)| async move {
        let event = wire::run::event(seq, feed.next().await?);
        Some((Ok(event), (feed, seq.saturating_add(1))))
    }))
}

#[tonic::async_trait]
impl Agent for AgentService {
    async fn hello(&self, request: Request<v1::HelloRequest>) -> Result<Response<v1::HelloReply>, Status> {
        tracing::debug!("hello from controller {:?}", request.get_ref().controller_version);
        Ok(Response::new(self.hello_reply()))
    }

    async fn survey(&self, _: Request<v1::SurveyRequest>) -> Result<Response<v1::SurveyReply>, Status> {
        let survey = self.surveyor.survey(&[]).await.map_err(Status::internal)?;
        Ok(Response::new(wire::survey::reply(self.hello_reply(), &survey)))
    }

    type TrimStream = Pin<Box<dyn Stream<Item = Result<v1::TrimEvent, Status>> + Send>>;

    async fn trim(&self, request: Request<v1::TrimRequest>) -> Result<Response<Self::TrimStream>, Status> {
        let request = request.into_inner();
        let mut order = wire::run::order(&request, self.policy.pace).map_err(Status::invalid_argument)?;
        order.pace = pace::at_most(order.pace, self.policy.fastest);
        order.linger = order.linger.min(self.policy.longest_linger);
        self.check_boot(&request.boot_id)?;
        self.check_policy(&order)?;
        let also_types = order.also_types.clone();
        let survey = self.surveyor.survey(&also_types);
        let feed =
            self.engine.trim(order, request.fence, survey).await.map_err(|refused| status(&refused))?;
        Ok(Response::new(events(feed)))
    }

    async fn steer(&self, request: Request<v1::SteerRequest>) -> Result<Response<v1::RunReport>, Status> {
        let request = request.into_inner();
        let run_id = wire::run::run_id(&request.run_id).map_err(Status::invalid_argument)?;
        let action = wire::run::action(request.action).map_err(Status::invalid_argument)?;
        let report = self.engine.steer(&run_id, request.fence, action).await;
        Ok(Response::new(wire::run::report(report.map_err(|refused| status(&refused))?)))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Result<Response<v1::RunReport>, Status> {
        let run_id = wire::run::run_id(&request.get_ref().run_id).map_err(Status::invalid_argument)?;
        let report = self.engine.get_run(&run_id).map_err(|refused| status(&refused))?;
        Ok(Response::new(wire::run::report(report)))
    }

    type ProbeStream = Pin<Box<dyn Stream<Item = Result<v1::ProbeEvent, Status>> + Send>>;

    async fn probe(&self, request: Request<v1::ProbeRequest>) -> Result<Response<Self::ProbeStream>, Status> {
        let began = Instant::now();
        let request = request.into_inner();
        let order = wire::probe::order(&request).map_err(Status::invalid_argument)?;
        self.check_boot(&request.boot_id)?;
        if !self.policy.may_probe {
            let text = "this guest's owner does not let its host write a file to probe with";
            return Err(refusal(Code::PermissionDenied, Refusal::Vetoed, text, &[]));
        }
        let survey = self.surveyor.survey(&[]).await.map_err(Status::internal)?;
        let events = probe::start(&self.engine, order, &survey, began).map_err(|refused| status(&refused))?;
        Ok(Response::new(Box::pin(stream::unfold(events, |mut events| async move {
            let event = wire::probe::event(events.recv().await?);
            Some((Ok(event), events))
        }))))
    }
}
