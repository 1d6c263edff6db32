//! A caller over a unix socket.

use std::{path::Path, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time};
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;
use trimtab_proto::{
    v1::{self, agent_client::AgentClient, trim_event::What},
    words::{Refusal, RunState, StopReason, Wire},
};

pub(crate) async fn connect(socket: &Path) -> AgentClient<Channel> {
    let socket = socket.to_owned();
    let channel = Endpoint::from_static("http://unix.invalid")
        .connect_with_connector(tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        }))
        .await
        .unwrap();
    AgentClient::new(channel)
}

/// Makes a run id of a small number.
pub(crate) fn run_id(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// A request for these filesystems, with a minute's time.
pub(crate) fn request(n: u32, filesystems: &[&str]) -> v1::TrimRequest {
    v1::TrimRequest {
        run_id: run_id(n),
        fence: 1,
        targets: filesystems
            .iter()
            .map(|id| v1::Target { filesystem_id: (*id).to_owned(), min_extent: 0 })
            .collect(),
        pace: v1::Pace::Full.into(),
        deadline_secs: 60,
        linger_secs: 5,
        ..Default::default()
    }
}

/// The same at a gentle pace.
pub(crate) fn slow(n: u32, filesystems: &[&str]) -> v1::TrimRequest {
    v1::TrimRequest { pace: v1::Pace::Gentle.into(), ..request(n, filesystems) }
}

pub(crate) async fn next(stream: &mut Streaming<v1::TrimEvent>) -> Option<v1::TrimEvent> {
    let message = time::timeout(Duration::from_secs(20), stream.message());
    message.await.expect("an event within 20 s").expect("no status after the first event")
}

/// Reads a stream to its end.
pub(crate) async fn all(mut stream: Streaming<v1::TrimEvent>) -> Vec<v1::TrimEvent> {
    let mut events = Vec::new();
    while let Some(event) = next(&mut stream).await {
        events.push(event);
    }
    events
}

/// The last event's report.
pub(crate) fn end(events: &[v1::TrimEvent]) -> v1::RunReport {
    match events.last().and_then(|event| event.what.clone()) {
        Some(What::End(report)) => report,
        other => panic!("the stream ended with {other:?}"),
    }
}

/// Reads until a range is done.
pub(crate) async fn until_progress(stream: &mut Streaming<v1::TrimEvent>) -> v1::Progress {
    loop {
        let event = next(stream).await.expect("the run goes on");
        if let Some(What::Progress(progress)) = event.what
            && progress.passed > Some(0)
        {
            return progress;
        }
    }
}

/// Starts a run and reads until a range is done.
pub(crate) async fn under_way(
    client: &mut AgentClient<Channel>,
    asked: v1::TrimRequest,
) -> Streaming<v1::TrimEvent> {
    let mut stream = client.trim(asked).await.unwrap().into_inner();
    until_progress(&mut stream).await;
    stream
}

pub(crate) fn state(report: &v1::RunReport) -> RunState {
    Wire::read(report.state).known().unwrap()
}

pub(crate) fn stop(report: &v1::RunReport) -> Option<StopReason> {
    Wire::read(report.stop).known()
}

/// Why a call was refused, by ErrorInfo.
pub(crate) fn refusal(status: &Status) -> Option<Refusal> {
    let info = status.get_details_error_info()?;
    assert_eq!(info.domain, trimtab_proto::ERROR_DOMAIN);
    Refusal::parse(&info.reason)
}
