//! A guest without a guest: an agent by the contract over hybrid vsock, whose trims punch holes into a real file of the
//! host. It outlives whoever calls it, so a worker can be killed at any step and what it left be looked at.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::fcntl::{FallocateFlags, fallocate};
use tokio::time::{Instant, sleep};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, async_trait};
use trimtab_proto::v1::{
    self, FilesystemState, RunState, StopReason,
    agent_server::{Agent, AgentServer},
    trim_event::What,
};

use crate::{
    MIB,
    fake_agent::survey_of_one_disk,
    hold::Holds,
    hybrid::{self, Serving, accepted},
};

/// How long each image is: longer than what is in it, or it would count as preallocated.
const DISK_BYTES: u64 = 96 * MIB;
/// What of it is allocated before the first trim.
const IMAGE_BYTES: u64 = 48 * MIB;
/// What stays of that.
pub const KEPT_BYTES: u64 = 8 * MIB;
const PIECE_BYTES: u64 = 4 * MIB;
const HALF: u64 = KEPT_BYTES + (IMAGE_BYTES - KEPT_BYTES) / 2;
const BOOT_ID: &str = "6f0c4a1e-0000-4000-8000-000000000002";
/// Shorter than a real agent's, so that a test that kills workers does not wait for it.
const LINGER: Duration = Duration::from_millis(400);
/// Who rests sees in this time that it is to end.
const MOMENT: Duration = Duration::from_millis(20);

/// A VM with one disk that is a file of the host.
#[derive(Clone, Debug)]
pub struct PunchingVm {
    name: String,
    image: PathBuf,
    /// Between two pieces, in milliseconds.
    pause: Arc<AtomicU64>,
    /// A caller that answers no ping for so long has gone.
    keepalive: Option<Duration>,
    holds: Holds<Moment>,
    state: Arc<Mutex<State>>,
}

/// Where a trim is held up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// The agent is asked to trim, and nothing has begun.
    Asked,
    /// It has begun, and its caller has not heard so.
    Begun,
    /// Half of it is done.
    Midst,
    /// It is over, and its caller has not heard so.
    Over,
}

#[derive(Debug, Default)]
struct State {
    report: Option<v1::RunReport>,
    ended: Vec<v1::RunReport>,
    listeners: u32,
    alone_since: Option<Instant>,
    cancelled: bool,
    trims: u32,
    busy: u32,
    /// When each trim began and ended.
    turns: Vec<(Instant, Instant)>,
}

impl PunchingVm {
    /// A VM in this folder, with an image that a trim makes smaller.
    ///
    /// # Errors
    /// The image cannot be made.
    pub fn new(folder: &Path, name: &str, pause: Duration) -> io::Result<Self> {
        let image = folder.join(format!("{name}.img"));
        let file = File::create(&image)?;
        file.set_len(DISK_BYTES)?;
        fallocate(&file, FallocateFlags::empty(), 0, offset(IMAGE_BYTES)).map_err(io::Error::from)?;
        let (holds, state) = (Holds::default(), Arc::default());
        let vm = Self { name: name.to_owned(), image, pause: Arc::default(), keepalive: None, holds, state };
        vm.rest(pause);
        Ok(vm)
    }

    /// From now on its trims rest for so long between two pieces.
    pub fn rest(&self, pause: Duration) {
        self.pause.store(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// One whose trims are held up where these say.
    #[must_use]
    pub fn held_up(self, holds: &Holds<Moment>) -> Self {
        Self { holds: Holds::clone(holds), ..self }
    }

    /// Pings its callers, as a real agent does, and takes one for gone that is silent for so long.
    #[must_use]
    pub fn attentive(self, keepalive: Duration) -> Self {
        Self { keepalive: Some(keepalive), ..self }
    }

    /// Answers until the result is dropped.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub fn serve(&self) -> io::Result<Serving> {
        let agent = self.clone();
        hybrid::serve(&self.socket(), move |stream| {
            let service = TowerToHyperService::new(AgentServer::new(agent.clone()));
            let keepalive = agent.keepalive;
            async move {
                if let Some(stream) = accepted(stream).await {
                    let mut server = http2::Builder::new(TokioExecutor::new());
                    if let Some(keepalive) = keepalive {
                        server.timer(TokioTimer::new()).keep_alive_interval(keepalive / 2);
                        server.keep_alive_timeout(keepalive / 2);
                    }
                    // A caller that hangs up is no news.
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                }
            }
        })
    }

    /// Its lines of an inventory.
    pub fn inventory(&self) -> String {
        self.inventory_by(&self.socket(), "")
    }

    /// Its lines of the inventory of a host that reaches it by this socket, with this line added.
    pub fn inventory_by(&self, socket: &Path, line: &str) -> String {
        format!(
            "[[vm]]\nname = \"{}\"\n{line}\nagent = \"unix:{}\"\n[[vm.disk]]\nimage = \"{}\"\nformat = \"raw\"\nguest = \"sda\"\n",
            self.name,
            socket.display(),
            self.image.display()
        )
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its image occupies.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(std::fs::metadata(&self.image)?.blocks().saturating_mul(512))
    }

    /// Gives its image all of its room, as preallocation does; gives what it occupies then.
    ///
    /// # Errors
    /// There is none.
    pub fn fill(&self) -> io::Result<u64> {
        let file = OpenOptions::new().write(true).open(&self.image)?;
        fallocate(&file, FallocateFlags::empty(), 0, offset(DISK_BYTES)).map_err(io::Error::from)?;
        self.allocated_bytes()
    }

    /// How often it began to trim, and how often it was called while it was at it for another run.
    pub fn trims(&self) -> (u32, u32) {
        let state = self.lock();
        (state.trims, state.busy)
    }

    /// Whether it is at it.
    pub fn is_trimming(&self) -> bool {
        self.lock().report.is_some()
    }

    /// When its trims that are over began and ended.
    pub fn turns(&self) -> Vec<(Instant, Instant)> {
        self.lock().turns.clone()
    }

    /// Where it answers.
    pub fn socket(&self) -> PathBuf {
        self.image.with_extension("vsock")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Punches piece by piece until it is done, cancelled or left alone.
    async fn punch(self) {
        let began = Instant::now();
        let (mut at, mut rested) = (KEPT_BYTES, began);
        let stop = loop {
            {
                let state = self.lock();
                if state.cancelled {
                    break StopReason::Cancelled;
                }
                if state.alone_since.is_some_and(|since| since.elapsed() > LINGER) {
                    break StopReason::CallerGone;
                }
            }
            if at >= IMAGE_BYTES {
                break StopReason::Done;
            }
            let pause = Duration::from_millis(self.pause.load(Ordering::Relaxed));
            let rest = pause.saturating_sub(rested.elapsed());
            if at > KEPT_BYTES && !rest.is_zero() {
                sleep(rest.min(MOMENT)).await;
                continue;
            }
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let file = OpenOptions::new().write(true).open(&self.image);
            // What is not punched shows in what the image occupies.
            let _ = file.map(|file| fallocate(&file, flags, offset(at), offset(PIECE_BYTES)));
            at += PIECE_BYTES;
            if at >= HALF {
                self.holds.at(|moment| *moment == Moment::Midst).await;
            }
            rested = Instant::now();
        };
        let mut state = self.lock();
        if let Some(mut report) = state.report.take() {
            let is_whole = stop == StopReason::Done;
            report.state = RunState::Ended.into();
            report.stop = stop.into();
            for fs in &mut report.filesystems {
                let over = if is_whole { FilesystemState::Done } else { FilesystemState::Partial };
                fs.state = over.into();
                fs.claimed = Some(at - KEPT_BYTES);
                fs.passed = at;
            }
            report.sent =
                vec![v1::Sent { device_id: "8:0".into(), bytes: Some(at - KEPT_BYTES), written: Some(0) }];
            state.ended.push(report);
            state.turns.push((began, Instant::now()));
        }
    }

    /// A run goes by the highest fence that it was called with, as a real agent's does.
    #[allow(clippy::result_large_err, reason = "tonic's")]
    fn raise(&self, run_id: &str, fence: u64) -> Result<(), Status> {
        let mut state = self.lock();
        let State { report, ended, .. } = &mut *state;
        let Some(report) = report.iter_mut().chain(ended).find(|report| report.run_id == run_id) else {
            return Ok(());
        };
        if fence < report.fence {
            return Err(Status::failed_precondition("a higher fence has this run"));
        }
        report.fence = fence;
        Ok(())
    }

    fn known(&self, run_id: &str) -> Option<v1::RunReport> {
        let state = self.lock();
        let all = state.report.iter().chain(&state.ended);
        all.into_iter().find(|report| report.run_id == run_id).cloned()
    }
}

fn offset(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn begun(order: &v1::TrimRequest) -> v1::RunReport {
    v1::RunReport {
        run_id: order.run_id.clone(),
        fence: order.fence,
        boot_id: BOOT_ID.into(),
        state: RunState::Running.into(),
        filesystems: vec![v1::FilesystemRun {
            filesystem_id: "8:0".into(),
            state: FilesystemState::Running.into(),
            claim: v1::ClaimKind::Submitted.into(),
            passes: 1,
            ..Default::default()
        }],
        settled: true,
        ..Default::default()
    }
}

/// Counts who listens to a run.
struct Listening(PunchingVm);

impl Listening {
    fn new(vm: &PunchingVm) -> Self {
        let mut state = vm.lock();
        state.listeners += 1;
        state.alone_since = None;
        drop(state);
        Self(vm.clone())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.listeners -= 1;
        if state.listeners == 0 {
            state.alone_since = Some(Instant::now());
        }
    }
}

/// One stream: its state first, its end last.
struct Telling {
    listening: Listening,
    run_id: String,
    seq: u64,
    is_over: bool,
}

impl Telling {
    async fn next(mut self) -> Option<(Result<v1::TrimEvent, Status>, Self)> {
        if self.is_over {
            return None;
        }
        let what = loop {
            let report = self.listening.0.known(&self.run_id)?;
            let has_ended = report.state == i32::from(RunState::Ended);
            if self.seq == 0 {
                break What::State(report);
            }
            if has_ended {
                self.is_over = true;
                self.listening.0.holds.at(|moment| *moment == Moment::Over).await;
                break What::End(report);
            }
            sleep(Duration::from_millis(10)).await;
        };
        self.seq += 1;
        let event = v1::TrimEvent { seq: self.seq, elapsed_ms: self.seq, what: Some(what) };
        Some((Ok(event), self))
    }
}

#[async_trait]
impl Agent for PunchingVm {
    type TrimStream = Pin<Box<dyn Stream<Item = Result<v1::TrimEvent, Status>> + Send>>;
    type ProbeStream = Pin<Box<dyn Stream<Item = Result<v1::ProbeEvent, Status>> + Send>>;

    async fn hello(&self, _: Request<v1::HelloRequest>) -> Result<Response<v1::HelloReply>, Status> {
        Ok(Response::new(v1::HelloReply {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: "6.12.0-fake".to_owned(),
            boot_id: BOOT_ID.to_owned(),
            features: Vec::new(),
            policy: Some(v1::Policy { host_may_trim: true, ..Default::default() }),
        }))
    }

    async fn survey(&self, request: Request<v1::SurveyRequest>) -> Result<Response<v1::SurveyReply>, Status> {
        drop(request);
        let hello = self.hello(Request::new(v1::HelloRequest::default())).await?.into_inner();
        Ok(Response::new(v1::SurveyReply { agent: Some(hello), ..survey_of_one_disk(DISK_BYTES) }))
    }

    async fn trim(&self, request: Request<v1::TrimRequest>) -> Result<Response<Self::TrimStream>, Status> {
        let order = request.into_inner();
        self.holds.at(|moment| *moment == Moment::Asked).await;
        self.raise(&order.run_id, order.fence)?;
        if self.known(&order.run_id).is_none() {
            let mut state = self.lock();
            if state.report.is_some() {
                state.busy += 1;
                return Err(Status::aborted("busy"));
            }
            state.trims += 1;
            state.cancelled = false;
            state.report = Some(begun(&order));
            drop(state);
            // The run is the agent's and not the caller's.
            tokio::spawn(self.clone().punch());
        }
        let listening = Listening::new(self);
        self.holds.at(|moment| *moment == Moment::Begun).await;
        let telling = Telling { listening, run_id: order.run_id, seq: 0, is_over: false };
        Ok(Response::new(Box::pin(futures_util::stream::unfold(telling, Telling::next))))
    }

    async fn steer(&self, request: Request<v1::SteerRequest>) -> Result<Response<v1::RunReport>, Status> {
        let order = request.into_inner();
        self.raise(&order.run_id, order.fence)?;
        self.lock().cancelled = true;
        self.known(&order.run_id).map(Response::new).ok_or_else(|| Status::not_found("no such run"))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Result<Response<v1::RunReport>, Status> {
        let run_id = request.into_inner().run_id;
        self.known(&run_id).map(Response::new).ok_or_else(|| Status::not_found("no such run"))
    }

    async fn probe(&self, _: Request<v1::ProbeRequest>) -> Result<Response<Self::ProbeStream>, Status> {
        Err(Status::unimplemented("probe"))
    }
}
