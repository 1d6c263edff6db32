//! One connection: bytes, its place, and a limit for its first bytes.
//!
//! HTTP/2's keepalive begins only after the client's preface. A peer that connects and says nothing would keep its
//! place for ever.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{gate::Place, socket::Stream};

/// The client's preface and its SETTINGS frame's header (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24 + 9;

/// How long they may take.
const PREFACE_LIMIT: Duration = Duration::from_secs(3);

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    waiting: Option<Preface>,
    _place: Place,
}

#[derive(Debug)]
struct Preface {
    seen: usize,
    limit: Pin<Box<Sleep>>,
}

impl Connection {
    pub(super) fn new(stream: Stream, place: Place) -> Self {
        let waiting = Some(Preface { seen: 0, limit: Box::pin(sleep(PREFACE_LIMIT)) });
        Self { stream, waiting, _place: place }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = self.stream.poll_read(cx, buf);
        if let Some(preface) = &mut self.waiting {
            preface.seen = preface.seen.saturating_add(buf.filled().len().saturating_sub(before));
            if preface.seen >= PREFACE_BYTES {
                self.waiting = None;
            } else if read.is_pending() && preface.limit.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }
}
