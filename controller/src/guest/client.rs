//! [`AgentClient`]: the port [`Guest`] for real. Each call makes a connection of its own, has one deadline, and
//! leaves nothing behind: when its future or its stream is dropped, the connection is closed.

use std::{future::Future, io, sync::Mutex};

use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tonic::{
    body::Body,
    client::Grpc,
    codegen::http::{Response, uri::PathAndQuery},
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint as Transport},
};
use tower::{ServiceExt, service_fn, util::MapResponse};
use trimtab_proto::{MAX_MESSAGE_BYTES, token::HEADER, v1};

use super::{
    check::{self, Nonsense},
    codec::{Answer, CountingCodec},
    dial::dial,
    headers,
    limits::{Budget, Limits},
    line::{Line, guard},
    order,
    probe::ProbeEvents,
    status::Asked,
    stream::TrimStream,
    token,
};
use crate::{
    model::{
        endpoint::Endpoint,
        guest::{AgentInfo, GuestSurvey},
        probe::ProbeOrder,
        run::{RunReport, SteerOrder, TrimOrder},
        token::TokenFile,
        trouble::{Kind, Trouble},
    },
    trim::ports::Guest,
};

/// The longest list of headers or trailers; what an agent says in them fits in a tenth.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// How much of a stream the transport takes before it is read.
const WINDOW_BYTES: u32 = 256 * 1024;

type Service = MapResponse<Channel, fn(Response<Body>) -> Response<Body>>;

/// One connection with an agent behind it.
pub(super) struct Call {
    pub(super) grpc: Grpc<Service>,
    pub(super) line: Line,
    token: Option<MetadataValue<Ascii>>,
}

impl Call {
    /// A question as it goes out: with the token, where this host has one for that guest.
    pub(super) fn question<Q>(&self, question: Q) -> tonic::Request<Q> {
        let mut request = tonic::Request::new(question);
        if let Some(token) = &self.token {
            request.metadata_mut().insert(HEADER, token.clone());
        }
        request
    }
}

/// A guest's agent.
#[derive(Clone, Debug)]
pub struct AgentClient {
    pub(super) endpoint: Endpoint,
    pub(super) limits: Limits,
    token: Option<TokenFile>,
}

impl AgentClient {
    /// For the agent behind `endpoint`. Nothing is connected before the first call.
    pub fn new(endpoint: Endpoint, limits: Limits) -> Self {
        Self { endpoint, limits, token: None }
    }

    /// With the token that this agent may want.
    #[must_use]
    pub fn with_token(self, token: Option<TokenFile>) -> Self {
        Self { token, ..self }
    }

    pub(super) fn asked(&self, rpc: &'static str) -> Asked<'_> {
        Asked { at: &self.endpoint, rpc }
    }

    /// Connects. The transport makes one connection and never a second one.
    pub(super) async fn call(&self, asked: Asked<'_>, bytes: Budget) -> Result<Call, Trouble> {
        let token = match &self.token {
            Some(file) => Some(token::read(file).await?),
            None => None,
        };
        let io = dial(&self.endpoint, &self.limits).await?;
        let (io, line) = guard(io, bytes, self.limits.keepalive_timeout);
        let slot = Mutex::new(Some(TokioIo::new(io)));
        let connector = service_fn(move |_| {
            let io = slot.lock().ok().and_then(|mut slot| slot.take());
            std::future::ready(io.ok_or_else(|| io::Error::other("one call is one connection")))
        });
        let channel = Transport::from_static("http://vsock.invalid")
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .http2_keep_alive_interval(self.limits.keepalive_interval)
            .keep_alive_timeout(self.limits.keepalive_timeout)
            .keep_alive_while_idle(true)
            .connect_with_connector(connector)
            .await
            .map_err(|error| asked.trouble(&tonic::Status::from_error(error.into()), &line.ending()))?;
        let clean: fn(_) -> _ = headers::clean;
        let grpc = Grpc::new(channel.map_response(clean))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Call { grpc, line, token })
    }

    /// One question, one answer, checked.
    async fn ask<Q, A, T>(
        &self,
        rpc: &'static str,
        question: Q,
        check: impl FnOnce(A) -> Result<T, Nonsense>,
    ) -> Result<T, Trouble>
    where
        Q: prost::Message + 'static,
        A: Answer,
    {
        let asked = self.asked(rpc);
        let mut call = self.call(asked, self.limits.call_bytes).await?;
        let answer = async {
            ready(&mut call.grpc).await?;
            let question = call.question(question);
            call.grpc.unary(question, path(rpc), CountingCodec::default()).await
        };
        match timeout(self.limits.call, answer).await {
            Ok(Ok(answer)) => check(answer.into_inner()).map_err(|nonsense| asked.nonsense(nonsense)),
            Ok(Err(status)) => Err(asked.trouble(&status, &call.line.ending())),
            Err(_) => Err(asked.silent(self.limits.call)),
        }
    }

    /// Hello is answered by every version; so where another question is not, it can tell which side is older.
    async fn explain<T>(&self, answer: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        match answer.await {
            Err(trouble) if trouble.kind == Kind::AgentVersion => Err(match self.hello().await {
                Ok(agent) => trouble.hint(which_to_update(&agent.version)),
                Err(_) => trouble,
            }),
            answer => answer,
        }
    }

    async fn open(&self, order: &TrimOrder) -> Result<TrimStream, Trouble> {
        let asked = self.asked("Trim");
        let mut call = self.call(asked, self.limits.stream_bytes).await?;
        let mut run = TrimStream::new(&self.endpoint, &self.limits, order);
        let question = call.question(order::trim(order));
        let answer = async {
            ready(&mut call.grpc).await?;
            call.grpc
                .server_streaming::<_, v1::TrimEvent, _>(question, path("Trim"), CountingCodec::default())
                .await
        };
        match timeout(self.limits.first_event, answer).await {
            Ok(Ok(events)) => {
                run.attach(events.into_inner(), call.line);
                Ok(run)
            }
            Ok(Err(status)) => Err(asked.trouble(&status, &call.line.ending())),
            Err(_) => Err(asked.silent(self.limits.first_event)),
        }
    }
}

impl Guest for AgentClient {
    type Run = TrimStream;
    type Probe = ProbeEvents;

    async fn hello(&self) -> Result<AgentInfo, Trouble> {
        let question = v1::HelloRequest { controller_version: env!("CARGO_PKG_VERSION").to_owned() };
        self.ask("Hello", question, check::hello).await
    }

    async fn survey(&self) -> Result<GuestSurvey, Trouble> {
        self.explain(self.ask("Survey", v1::SurveyRequest {}, check::survey)).await
    }

    async fn trim(&self, order: &TrimOrder) -> Result<TrimStream, Trouble> {
        self.explain(self.open(order)).await
    }

    async fn steer(&self, order: &SteerOrder) -> Result<RunReport, Trouble> {
        let check = |report| of_run(&order.run_id, report);
        self.explain(self.ask("Steer", order::steer(order), check)).await
    }

    async fn probe(&self, order: &ProbeOrder) -> Result<ProbeEvents, Trouble> {
        self.explain(self.open_probe(order)).await
    }

    async fn get_run(&self, run_id: &str) -> Result<RunReport, Trouble> {
        let check = |report| of_run(run_id, report);
        self.explain(self.ask("GetRun", v1::GetRunRequest { run_id: run_id.to_owned() }, check)).await
    }
}

pub(super) async fn ready(grpc: &mut Grpc<Service>) -> Result<(), tonic::Status> {
    grpc.ready().await.map_err(|error| tonic::Status::from_error(error.into()))
}

pub(super) fn path(rpc: &'static str) -> PathAndQuery {
    let path = match rpc {
        "Hello" => "/trimtab.v1.Agent/Hello",
        "Survey" => "/trimtab.v1.Agent/Survey",
        "Trim" => "/trimtab.v1.Agent/Trim",
        "Steer" => "/trimtab.v1.Agent/Steer",
        "Probe" => "/trimtab.v1.Agent/Probe",
        _ => "/trimtab.v1.Agent/GetRun",
    };
    PathAndQuery::from_static(path)
}

fn of_run(run_id: &str, report: v1::RunReport) -> Result<RunReport, Nonsense> {
    let report = check::report(report)?;
    if report.run_id == run_id {
        Ok(report)
    } else {
        Err(Nonsense::new("run_id", "of another run than the one that was asked for"))
    }
}

/// Which of the two programs is behind the other.
fn which_to_update(agent: &str) -> String {
    let ours = env!("CARGO_PKG_VERSION");
    let shown = super::text::safe_within(agent, 40);
    match (release(agent), release(ours)) {
        (Some(theirs), Some(mine)) if theirs > mine => {
            format!("its agent is {shown}, this is trimtab {ours}: update the package trimtab on this host")
        }
        (Some(theirs), Some(mine)) if theirs < mine => {
            format!(
                "its agent is {shown}, this is trimtab {ours}: update the package trimtab-agent in the guest"
            )
        }
        _ => format!("its agent is {shown}, this is trimtab {ours}: update the older one"),
    }
}

/// The numbers of "1.2.3-rc1".
fn release(version: &str) -> Option<(u32, u32, u32)> {
    let numbers = version.split(['-', '+']).next()?;
    let mut parts = numbers.split('.').map(|part| part.parse().ok());
    let release = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_behind() {
        for (agent, expected) in [
            ("99.0.0", "update the package trimtab on this host"),
            ("99.0.0-rc1", "update the package trimtab on this host"),
            ("0.0.1", "update the package trimtab-agent in the guest"),
            (env!("CARGO_PKG_VERSION"), "update the older one"),
            ("devel", "update the older one"),
            ("1.2", "update the older one"),
            ("\u{1b}[2J", "its agent is \\x1b[2J"),
        ] {
            let hint = which_to_update(agent);
            assert!(hint.contains(expected), "{agent}: {hint}");
        }
    }
}
