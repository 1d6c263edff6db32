//! Misdeeds below HTTP/2: bytes of our own.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::UnixStream,
};

use super::{Misdeed, drip, forever};

/// Empty SETTINGS: how every server begins.
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
/// SETTINGS with INITIAL_WINDOW_SIZE (4) 0.
const NO_WINDOW: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
/// The acknowledgement of the caller's SETTINGS.
const SETTINGS_ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0trimtab!";
/// HEADERS of stream 1, neither the end of the headers nor of the stream: ":status: 200".
const HEADERS: &[u8] = b"\0\0\x01\x01\0\0\0\0\x01\x88";
/// CONTINUATION of stream 1 with one literal header "a: b".
const CONTINUATION: &[u8] = b"\0\0\x05\x09\0\0\0\0\x01\0\x01a\x01b";
/// DATA of stream 1 that says to be 64 KiB long where 16 KiB are agreed.
const LONG_DATA: &[u8] = b"\x01\0\0\0\0\0\0\0\x01";

/// Does the misdeed if it is one below HTTP/2.
pub(super) async fn run(stream: &mut UnixStream, misdeed: Misdeed) -> Option<io::Result<()>> {
    Some(match misdeed {
        Misdeed::TurnsAway => Ok(()),
        Misdeed::Silent => swallow(stream).await,
        Misdeed::Http1 => {
            let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            async {
                stream.write_all(answer).await?;
                swallow(stream).await
            }
            .await
        }
        Misdeed::Garbage => forever(stream, b"\x7fELF\x02\x01\x01 what is this").await,
        Misdeed::Drips(pause) => {
            async {
                drip(stream, &[SETTINGS, SETTINGS_ACK].concat(), pause).await?;
                loop {
                    drip(stream, PING, pause).await?;
                }
            }
            .await
        }
        Misdeed::Pings => after(stream, SETTINGS, PING).await,
        Misdeed::EndlessHeaders => after_request(stream, HEADERS, CONTINUATION).await,
        Misdeed::NoWindow => {
            async {
                stream.write_all(NO_WINDOW).await?;
                swallow(stream).await
            }
            .await
        }
        Misdeed::LongFrame => after_request(stream, LONG_DATA, &[0; 4096]).await,
        _ => return None,
    })
}

/// Reads until the other side hangs up.
pub(super) async fn swallow(stream: &mut UnixStream) -> io::Result<()> {
    let mut sink = vec![0; 4096];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

async fn after(stream: &mut UnixStream, first: &[u8], then: &[u8]) -> io::Result<()> {
    stream.write_all(first).await?;
    // Reads meanwhile, or two full buffers would stop both sides and the flood with them.
    let (mut reader, mut writer) = stream.split();
    let flood = async {
        loop {
            writer.write_all(then).await?;
        }
    };
    let drain = async {
        let mut sink = vec![0; 4096];
        while reader.read(&mut sink).await? > 0 {}
        Ok(())
    };
    tokio::select! { outcome = flood => outcome, outcome = drain => outcome }
}

/// The same once a request is there: its stream is open then.
async fn after_request(stream: &mut UnixStream, first: &[u8], then: &[u8]) -> io::Result<()> {
    stream.write_all(SETTINGS).await?;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, ..] = head;
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        stream.read_exact(&mut payload).await?;
        if kind == 1 {
            return after(stream, first, then).await;
        }
    }
}

/// A stream whose first write carries the OK line in front, in one segment.
#[derive(Debug)]
pub(super) struct OkFirst {
    inner: UnixStream,
    said: bool,
}

impl OkFirst {
    pub(super) fn new(inner: UnixStream) -> Self {
        Self { inner, said: false }
    }
}

impl AsyncRead for OkFirst {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for OkFirst {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.said {
            return Pin::new(&mut self.inner).poll_write(cx, buf);
        }
        let both = [b"OK 1073741824\n", buf].concat();
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &both))?;
        assert_eq!(written, both.len(), "an empty socket takes a few hundred bytes at once");
        self.said = true;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
