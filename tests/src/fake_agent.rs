//! An honest agent by script: answers like a guest would, over the hybrid handshake, without a guest.
//!
//! What a script leaves empty is filled in as the contract wants it: sequence numbers, and the run id, fence and boot
//! id of reports. `FakeAgent::new(script).serve(path)` runs on a thread of its own.

use std::{
    fmt, io,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, async_trait};
use trimtab_proto::v1::{
    self,
    agent_server::{Agent, AgentServer},
    trim_event::What,
};

use crate::{
    MIB,
    hybrid::{self, Serving, accepted},
};

/// One step of a run's stream.
#[derive(Clone)]
pub enum Step {
    /// Send an event.
    Say(What),
    /// Let time pass.
    Wait(Duration),
    /// Do something on the host: punch the image, break a socket.
    Do(Arc<dyn Fn() + Send + Sync>),
    /// End the stream with a status, as an agent that dies does.
    Fail(Status),
    /// Say nothing more and keep the stream open.
    Hang,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Say(what) => f.debug_tuple("Say").field(what).finish(),
            Self::Wait(time) => f.debug_tuple("Wait").field(time).finish(),
            Self::Do(_) => f.write_str("Do"),
            Self::Fail(status) => f.debug_tuple("Fail").field(status).finish(),
            Self::Hang => f.write_str("Hang"),
        }
    }
}

/// A guest with one disk of `size_bytes`, sda, and one ext4 on the whole of it, mounted at /.
pub fn survey_of_one_disk(size_bytes: u64) -> v1::SurveyReply {
    let disk =
        v1::Device { id: "8:0".into(), name: "sda".into(), kind: 1, size: size_bytes, ..Default::default() };
    let filesystem = v1::Filesystem {
        id: "8:0".into(),
        mount: "/".into(),
        mounts: 1,
        r#type: "ext4".into(),
        device_id: "8:0".into(),
        leaf_ids: vec!["8:0".into()],
        size: Some(size_bytes),
        used: Some(MIB),
        ..Default::default()
    };
    v1::SurveyReply { filesystems: vec![filesystem], devices: vec![disk], ..Default::default() }
}

/// What the agent answers.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// To Hello, and inside of surveys that bring none.
    pub hello: v1::HelloReply,
    /// To Survey: the first call gets the first one, the last one is given for ever.
    pub surveys: Vec<v1::SurveyReply>,
    /// To Trim. After the last step the stream ends as a finished call.
    pub run: Vec<Step>,
    /// Instead of a stream: Trim is refused.
    pub refuse_trim: Option<Status>,
    /// Instead of a survey.
    pub refuse_survey: Option<Status>,
    /// To Probe: the events, at once. Empty: UNIMPLEMENTED.
    pub probe: Vec<v1::probe_event::What>,
    /// To GetRun and Steer; `None`: the end that the last stream said, or NOT_FOUND.
    pub report: Option<v1::RunReport>,
}

impl Script {
    /// An agent of this version that allows everything and has surveyed one thing.
    pub fn new(survey: v1::SurveyReply, run: Vec<Step>) -> Self {
        let hello = v1::HelloReply {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: "6.12.0-fake".to_owned(),
            boot_id: "6f0c4a1e-0000-4000-8000-000000000001".to_owned(),
            features: Vec::new(),
            policy: Some(v1::Policy { host_may_trim: true, ..Default::default() }),
        };
        Self { hello, surveys: vec![survey], run, ..Default::default() }
    }
}

/// A call that came.
#[derive(Clone, PartialEq, Debug)]
pub enum Call {
    /// Hello.
    Hello,
    /// Survey.
    Survey,
    /// Trim.
    Trim(v1::TrimRequest),
    /// Steer.
    Steer(v1::SteerRequest),
    /// GetRun.
    GetRun(String),
    /// Probe.
    Probe(v1::ProbeRequest),
}

#[derive(Debug, Default)]
struct Seen {
    calls: Vec<Call>,
    surveys: usize,
    ended: Option<v1::RunReport>,
}

/// An agent by script. Clones are the same agent.
#[derive(Clone, Debug)]
pub struct FakeAgent {
    script: Arc<Script>,
    seen: Arc<Mutex<Seen>>,
}

impl FakeAgent {
    /// An agent that has not been called yet.
    pub fn new(script: Script) -> Self {
        Self { script: Arc::new(script), seen: Arc::default() }
    }

    /// Answers on the hybrid vsock socket `path` until the result is dropped.
    pub fn serve(&self, path: &Path) -> io::Result<Serving> {
        let agent = self.clone();
        hybrid::serve(path, move |stream| {
            let agent = agent.clone();
            async move {
                if let Some(stream) = accepted(stream).await {
                    agent.answer(stream).await;
                }
            }
        })
    }

    /// Answers a caller until it hangs up.
    pub async fn answer(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = TowerToHyperService::new(AgentServer::new(self));
        let server = http2::Builder::new(TokioExecutor::new());
        // A caller that hangs up is no news.
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    }

    /// The calls that came, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.seen().calls.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, call: Call) {
        self.seen().calls.push(call);
    }

    fn fill(&self, report: &mut v1::RunReport, order: &v1::TrimRequest) {
        if report.run_id.is_empty() {
            report.run_id.clone_from(&order.run_id);
        }
        if report.fence == 0 {
            report.fence = order.fence;
        }
        if report.boot_id.is_empty() {
            report.boot_id.clone_from(&self.script.hello.boot_id);
        }
    }

    fn report(&self) -> Result<Response<v1::RunReport>, Status> {
        let report = self.script.report.clone().or_else(|| self.seen().ended.clone());
        report.map(Response::new).ok_or_else(|| Status::not_found("no such run of this boot"))
    }
}

/// One stream: steps, and what was sent so far.
struct Telling {
    agent: FakeAgent,
    order: v1::TrimRequest,
    steps: std::vec::IntoIter<Step>,
    seq: u64,
}

impl Telling {
    async fn next(&mut self) -> Option<Result<v1::TrimEvent, Status>> {
        loop {
            match self.steps.next()? {
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Do(deed) => deed(),
                Step::Fail(status) => return Some(Err(status)),
                Step::Hang => std::future::pending().await,
                Step::Say(mut what) => {
                    if let What::State(report) | What::End(report) = &mut what {
                        self.agent.fill(report, &self.order);
                    }
                    if let What::End(report) = &what {
                        self.agent.seen().ended = Some(report.clone());
                    }
                    self.seq = self.seq.wrapping_add(1);
                    return Some(Ok(v1::TrimEvent { seq: self.seq, elapsed_ms: self.seq, what: Some(what) }));
                }
            }
        }
    }
}

#[async_trait]
impl Agent for FakeAgent {
    type TrimStream = Pin<Box<dyn Stream<Item = Result<v1::TrimEvent, Status>> + Send>>;

    async fn hello(&self, _: Request<v1::HelloRequest>) -> Result<Response<v1::HelloReply>, Status> {
        self.note(Call::Hello);
        Ok(Response::new(self.script.hello.clone()))
    }

    async fn survey(&self, _: Request<v1::SurveyRequest>) -> Result<Response<v1::SurveyReply>, Status> {
        self.note(Call::Survey);
        if let Some(status) = &self.script.refuse_survey {
            return Err(status.clone());
        }
        let nth = {
            let mut seen = self.seen();
            seen.surveys = seen.surveys.wrapping_add(1);
            seen.surveys.min(self.script.surveys.len()).wrapping_sub(1)
        };
        let mut survey = self.script.surveys.get(nth).cloned().unwrap_or_default();
        survey.agent.get_or_insert_with(|| self.script.hello.clone());
        Ok(Response::new(survey))
    }

    async fn trim(&self, request: Request<v1::TrimRequest>) -> Result<Response<Self::TrimStream>, Status> {
        let order = request.into_inner();
        self.note(Call::Trim(order.clone()));
        if let Some(status) = &self.script.refuse_trim {
            return Err(status.clone());
        }
        let steps = self.script.run.clone().into_iter();
        let telling = Telling { agent: self.clone(), order, steps, seq: 0 };
        let events = futures_util::stream::unfold(telling, |mut telling| async move {
            telling.next().await.map(|event| (event, telling))
        });
        Ok(Response::new(Box::pin(events)))
    }

    async fn steer(&self, request: Request<v1::SteerRequest>) -> Result<Response<v1::RunReport>, Status> {
        self.note(Call::Steer(request.into_inner()));
        self.report()
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Result<Response<v1::RunReport>, Status> {
        self.note(Call::GetRun(request.into_inner().run_id));
        self.report()
    }

    type ProbeStream = Pin<Box<dyn Stream<Item = Result<v1::ProbeEvent, Status>> + Send>>;

    async fn probe(&self, request: Request<v1::ProbeRequest>) -> Result<Response<Self::ProbeStream>, Status> {
        self.note(Call::Probe(request.into_inner()));
        if self.script.probe.is_empty() {
            return Err(Status::unimplemented("probe"));
        }
        let event = |what| Ok(v1::ProbeEvent { elapsed_ms: 1, what: Some(what) });
        let events: Vec<_> = self.script.probe.iter().cloned().map(event).collect();
        Ok(Response::new(Box::pin(futures_util::stream::iter(events))))
    }
}
