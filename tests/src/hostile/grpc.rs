//! Misdeeds above HTTP/2: messages that no honest agent sends, by hand, since a gRPC server would not send them.

use std::{io, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{
    SendStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, Request, Response};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};
use trimtab_proto::v1::{self, trim_event::What};

use super::Misdeed;

const DETAILS: &str = "grpc-status-details-bin";

/// Answers each request of a connection with the misdeed.
pub(super) async fn run<S>(stream: S, misdeed: Misdeed) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connection = server::handshake(stream).await.map_err(io::Error::other)?;
    let mut answers = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            request = connection.accept() => match request {
                Some(Ok((request, respond))) => {
                    if misdeed == Misdeed::GoesAway {
                        connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                        continue;
                    }
                    answers.spawn(answer(request, respond, misdeed));
                }
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(()),
            },
            // The reset: the connection is dropped with what the caller sent unread.
            Some(Ok(Some(Hang::Up))) = answers.join_next() => return Ok(()),
        }
    }
}

/// What is left to do after an answer.
enum Hang {
    Up,
}

async fn answer(
    request: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
    misdeed: Misdeed,
) -> Option<Hang> {
    // The caller hangs up on most of these.
    misbehave(request, respond, misdeed).await.ok().flatten()
}

async fn misbehave(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    misdeed: Misdeed,
) -> Result<Option<Hang>, h2::Error> {
    let hello = request.uri().path().ends_with("/Hello");
    let ok = |name: &'static str, value: &'static str| {
        Response::builder()
            .header("content-type", "application/grpc")
            .header(name, value)
            .body(())
            .unwrap_or_default()
    };
    match misdeed {
        Misdeed::TakesRequest => std::future::pending::<()>().await,
        Misdeed::WebServer => {
            let page = Response::builder().status(404).header("content-type", "text/html").body(());
            let mut body = respond.send_response(page.unwrap_or_default(), false)?;
            body.send_data(Bytes::from_static(b"<h1>Not found</h1>"), true)?;
        }
        Misdeed::Escapes => refuse(&mut respond, "9", "%1B[31mred%1B]0;owned%07%0Aroot#", None)?,
        Misdeed::BadDetails => refuse(&mut respond, "9", "busy", Some("!not base64!"))?,
        Misdeed::LongRefusal => refuse(&mut respond, "9", &"x".repeat(12 * 1024), None)?,
        Misdeed::AnotherVersion if hello => {
            let reply = v1::HelloReply {
                agent_version: "99.1.0".to_owned(),
                kernel: "6.12".to_owned(),
                boot_id: "b".to_owned(),
                policy: Some(v1::Policy::default()),
                ..Default::default()
            };
            say(&mut respond, ok("x", "y"), reply.encode_to_vec(), 0).await?;
        }
        Misdeed::AnotherVersion => refuse(&mut respond, "12", "", None)?,
        Misdeed::SettingsWithOk => {
            let reply = v1::HelloReply {
                agent_version: "0.1.0".to_owned(),
                kernel: "6.12".to_owned(),
                boot_id: "b".to_owned(),
                policy: Some(v1::Policy::default()),
                ..Default::default()
            };
            say(&mut respond, ok("x", "y"), reply.encode_to_vec(), 0).await?;
        }
        Misdeed::Message(length) => {
            let mut body = respond.send_response(ok("x", "y"), false)?;
            let mut head = BytesMut::new();
            head.put_u8(0);
            head.put_u32(length);
            send(&mut body, head.freeze()).await?;
            loop {
                send(&mut body, Bytes::from_static(&[0; 8192])).await?;
            }
        }
        Misdeed::Gzip => say(&mut respond, ok("grpc-encoding", "gzip"), vec![0; 1000], 1).await?,
        Misdeed::Compressed => say(&mut respond, ok("x", "y"), vec![0; 1000], 1).await?,
        // Field 3 of a survey, a device, and of an event, a state: 0 bytes each.
        Misdeed::Nothings => say(&mut respond, ok("x", "y"), [0x1a, 0].repeat(500_000), 0).await?,
        Misdeed::NoMessage => say(&mut respond, ok("x", "y"), vec![0xff; 100], 0).await?,
        Misdeed::HugeString => {
            let mount = format!("/{}", "x".repeat(900 * 1024));
            let fs = v1::Filesystem {
                id: "8:1".to_owned(),
                mount,
                r#type: "ext4".to_owned(),
                ..Default::default()
            };
            say(&mut respond, ok("x", "y"), survey(fs).encode_to_vec(), 0).await?;
        }
        Misdeed::MaxNumbers if request.uri().path().ends_with("/Survey") => {
            let max = Some(u64::MAX);
            let fs = v1::Filesystem {
                id: "8:1".to_owned(),
                mount: "/".to_owned(),
                r#type: "ext4".to_owned(),
                size: max,
                used: max,
                free: max,
                ..Default::default()
            };
            say(&mut respond, ok("x", "y"), survey(fs).encode_to_vec(), 0).await?;
        }
        probe if request.uri().path().ends_with("/Probe") => {
            probe_events(respond.send_response(ok("x", "y"), false)?, probe).await?;
        }
        run => return self::run_events(request, respond.send_response(ok("x", "y"), false)?, run).await,
    }
    Ok(None)
}

/// The streams of Trim.
async fn run_events(
    mut request: Request<h2::RecvStream>,
    mut body: SendStream<Bytes>,
    misdeed: Misdeed,
) -> Result<Option<Hang>, h2::Error> {
    let order = match request.body_mut().data().await {
        Some(Ok(data)) => v1::TrimRequest::decode(data.slice(data.len().min(5)..)).unwrap_or_default(),
        _ => return Ok(None),
    };
    let run_id = if misdeed == Misdeed::AnotherRun { "another".to_owned() } else { order.run_id };
    let report = v1::RunReport { run_id, boot_id: "b".to_owned(), state: 1, ..Default::default() };
    if misdeed == Misdeed::EndsFirst {
        let end = v1::RunReport { state: 5, stop: 1, ..report };
        tell(&mut body, 1, What::End(end)).await?;
        std::future::pending::<()>().await;
        return Ok(None);
    }
    tell(&mut body, 1, What::State(report)).await?;
    let mut trailers = HeaderMap::new();
    match misdeed {
        Misdeed::Resets => {
            sleep(Duration::from_millis(50)).await;
            return Ok(Some(Hang::Up));
        }
        Misdeed::EndsEarly => {
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            body.send_trailers(trailers)?;
        }
        Misdeed::FailsLate => {
            trailers.insert("grpc-status", http::HeaderValue::from_static("13"));
            trailers.insert("grpc-message", http::HeaderValue::from_static("out of%0Amemory"));
            trailers.insert(DETAILS, http::HeaderValue::from_static("!not base64!"));
            body.send_trailers(trailers)?;
        }
        Misdeed::FallsSilent => std::future::pending::<()>().await,
        _ => {
            for seq in 2.. {
                tell(&mut body, seq, progress(misdeed, seq)).await?;
                if let Misdeed::StandsStill(pause) | Misdeed::NeverEnds(pause) = misdeed {
                    sleep(pause).await;
                }
            }
        }
    }
    Ok(None)
}

/// The streams of Probe; the caller asks for 16 MiB.
async fn probe_events(mut body: SendStream<Bytes>, misdeed: Misdeed) -> Result<(), h2::Error> {
    use v1::probe_event::What;
    let file: u64 = 16 << 20;
    let written = |bytes| What::Written(v1::ProbeWritten { bytes, ..Default::default() });
    let max = v1::Sent { device_id: "8:0".to_owned(), bytes: Some(u64::MAX), written: None };
    let trimmed = v1::ProbeTrimmed { claimed: 1, claim: 1, range: file, settled: true, ..Default::default() };
    let says = match misdeed {
        Misdeed::EndsFirst => vec![What::Trimmed(trimmed)],
        // Of another size than was ordered.
        Misdeed::AnotherRun => vec![written(1 << 20)],
        Misdeed::MaxNumbers => {
            vec![written(file), What::Trimmed(v1::ProbeTrimmed { sent: vec![max], ..trimmed })]
        }
        // It ends before it begins to end.
        Misdeed::FailsLate => {
            vec![written(file), What::Trimmed(v1::ProbeTrimmed { given_up_ms: 99, ..trimmed })]
        }
        Misdeed::StandsStill(_) => vec![written(file), written(file)],
        _ => vec![written(file)],
    };
    for what in says {
        let event = v1::ProbeEvent { elapsed_ms: 7, what: Some(what) };
        send(&mut body, framed(&event.encode_to_vec(), 0)).await?;
    }
    match misdeed {
        Misdeed::EndsEarly => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            body.send_trailers(trailers)
        }
        _ => {
            std::future::pending::<()>().await;
            Ok(())
        }
    }
}

fn progress(misdeed: Misdeed, seq: u64) -> What {
    let bytes = match misdeed {
        Misdeed::StandsStill(_) => 4096,
        Misdeed::MaxNumbers => u64::MAX,
        _ => seq,
    };
    let sent = v1::Sent { device_id: "8:1".to_owned(), bytes: Some(bytes), written: None };
    What::Progress(v1::Progress {
        filesystem_id: "8:1".to_owned(),
        passed: None,
        of: 1 << 30,
        sent: vec![sent],
    })
}

fn survey(fs: v1::Filesystem) -> v1::SurveyReply {
    let agent = v1::HelloReply {
        agent_version: "0.1.0".to_owned(),
        kernel: "6.12".to_owned(),
        boot_id: "b".to_owned(),
        policy: Some(v1::Policy::default()),
        ..Default::default()
    };
    v1::SurveyReply { agent: Some(agent), filesystems: vec![fs], ..Default::default() }
}

async fn tell(body: &mut SendStream<Bytes>, seq: u64, what: What) -> Result<(), h2::Error> {
    let event = v1::TrimEvent { seq, elapsed_ms: seq, what: Some(what) };
    send(body, framed(&event.encode_to_vec(), 0)).await
}

/// A whole unary answer.
async fn say(
    respond: &mut SendResponse<Bytes>,
    head: Response<()>,
    message: Vec<u8>,
    flag: u8,
) -> Result<(), h2::Error> {
    let mut body = respond.send_response(head, false)?;
    send(&mut body, framed(&message, flag)).await?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    body.send_trailers(trailers)
}

/// A refusal in the headers alone.
fn refuse(
    respond: &mut SendResponse<Bytes>,
    status: &str,
    message: &str,
    details: Option<&str>,
) -> Result<(), h2::Error> {
    let mut head = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", status)
        .header("grpc-message", message);
    if let Some(details) = details {
        head = head.header(DETAILS, details);
    }
    respond.send_response(head.body(()).unwrap_or_default(), true).map(drop)
}

/// gRPC's prefix of a message: a flag and a length.
fn framed(message: &[u8], flag: u8) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(flag);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// Sends as the other side makes room, so that a flood costs us no memory.
async fn send(body: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        body.reserve_capacity(bytes.len());
        let room = match std::future::poll_fn(|cx| body.poll_capacity(cx)).await {
            Some(room) => room?,
            None => return Err(h2::Reason::CANCEL.into()),
        };
        let part = bytes.split_to(room.min(bytes.len()));
        body.send_data(part, false)?;
    }
    Ok(())
}
