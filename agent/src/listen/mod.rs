//! Where calls come in, and who may call: accept, check, count, serve, end.
//!
//! It decides by the peer's address, and by the token where there is one; it reads no call and touches no filesystem. An error of accept() never ends
//! it: what passes by itself (too many open files, no memory) is waited for.
//!
//! ```text
//! accept -> may this peer call? -> is there room? -> first bytes within 3 s -> HTTP/2 with keepalive -> closed
//! ```
//!
//! Each connection is served by hyper's HTTP/2 itself. tonic's own server would bring HTTP/1, which nobody speaks
//! here, and an accept loop that retries without a pause.

mod caller;
mod connection;
mod gate;
mod handed;
mod socket;

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::errno::Errno;
use tokio::{sync::watch, time};
use tonic::service::interceptor::InterceptedService;
use trimtab_proto::{
    KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_MESSAGE_BYTES, v1::agent_server::AgentServer,
};

use self::{caller::Caller, connection::Connection};
pub use self::{
    gate::{Callers, Gate},
    handed::Handed,
    socket::{Listener, SocketError},
};
use crate::{notify, service::AgentService, token::Token, trim::Engine};

/// How long the end of a run is waited for when the agent is told to stop: SIGKILL within 100 ms, 3 s for the disks,
/// and some for a kernel that lets its worker go late.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// How long streams have to take their last event.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Between two tries when accept() fails for want of something.
const BACKOFF: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// Calls at a time on one connection; a controller has a stream and one or two short ones.
const MAX_STREAMS: u32 = 16;

/// Bytes of request headers; a call's are a few hundred.
const MAX_HEADER_BYTES: u32 = 8 * 1024;

/// Serves calls until `shutdown` is ready; then the active run is cancelled, reported and kept. Or until nobody has
/// called and nothing has run for `idle_exit`; then not one more call is accepted, so that whoever calls at that moment
/// waits in the socket for the next agent. All of it on the thread that polls this: workers die with it.
pub async fn run(
    listener: Listener,
    gate: Gate,
    token: Option<Token>,
    service: AgentService,
    idle_exit: Option<Duration>,
    shutdown: impl Future<Output = ()>,
) {
    let engine = service.engine.clone();
    let (stop, stopped) = watch::channel(());
    let idle = async {
        match idle_exit {
            Some(limit) => idle(&gate, &engine, limit).await,
            None => std::future::pending().await,
        }
    };
    let mut accepting = pin!(accept(&listener, &gate, token, service, stopped));
    tokio::select! {
        () = &mut accepting => {}
        () = shutdown => tracing::info!("told to stop"),
        () = idle => {
            notify::stopping("Nobody calls");
            tracing::info!("nobody calls; the next call starts this agent again");
            return;
        }
    }
    // Whoever calls until the end is told that the agent is stopping.
    tokio::select! {
        () = &mut accepting => {}
        ended = time::timeout(SHUTDOWN_LIMIT, engine.shut_down()) => if ended.is_err() {
            engine.keep_unfinished();
            tracing::warn!("the kernel holds a worker in FITRIM; the report says what was done before");
        },
    }
    stop.send_replace(());
    // Streams that nobody reads end with the process.
    let _ = time::timeout(DRAIN_LIMIT, gate.wait_until_empty()).await;
}

/// The calls of one caller.
type Calls = InterceptedService<AgentServer<AgentService>, Caller>;

/// Accepts for ever; each connection is a task of its own.
async fn accept(
    listener: &Listener,
    gate: &Gate,
    token: Option<Token>,
    service: AgentService,
    stopped: watch::Receiver<()>,
) {
    let token = token.map(Arc::new);
    let calls = AgentServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let mut failures = 0_usize;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failures = 0;
                if let Some(place) = gate.admit(peer) {
                    let connection = Connection::new(stream, place);
                    let caller = Caller { peer, gate: gate.clone(), token: token.clone() };
                    let calls = InterceptedService::new(calls.clone(), caller);
                    tokio::spawn(serve(connection, calls, stopped.clone()));
                }
            }
            Err(error) => {
                let wait = BACKOFF.get(failures).or(BACKOFF.last()).copied().unwrap_or_default();
                failures = failures.saturating_add(1);
                gate.accept_failed(&error, hint(&error));
                time::sleep(wait).await;
            }
        }
    }
}

/// Serves one connection to its end. When the agent stops, calls that are under way are still answered.
async fn serve(connection: Connection, calls: Calls, mut stopped: watch::Receiver<()>) {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .keep_alive_interval(Some(KEEPALIVE_INTERVAL))
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(Some(MAX_STREAMS))
        .max_header_list_size(MAX_HEADER_BYTES);
    let mut served = pin!(http.serve_connection(TokioIo::new(connection), TowerToHyperService::new(calls)));
    let result = tokio::select! {
        result = &mut served => result,
        // Err: the agent is gone, which is a stop too.
        _ = stopped.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection broke off: {error}");
    }
}

/// Returns when there was neither a connection nor a run for `limit`.
async fn idle(gate: &Gate, engine: &Engine, limit: Duration) {
    loop {
        gate.wait_until_empty().await;
        engine.wait_until_over().await;
        tokio::select! {
            () = gate.wait_for_one() => {}
            () = time::sleep(limit) => if gate.is_empty() && !engine.is_active() {
                return;
            },
        }
    }
}

/// What a person can do about an error of accept().
fn hint(error: &std::io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE) => "; this process may open no more files (LimitNOFILE=)",
        Some(Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => "; the guest is short of memory or files",
        _ => "",
    }
}
