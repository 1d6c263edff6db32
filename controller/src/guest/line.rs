//! The one connection of an operation: counts what the guest sends, looks at how it begins, and can be hung up at
//! any time, so that no task keeps a hostile guest's socket open after its caller has gone.
//!
//! ```text
//! open ──┬─> quiet      nothing came for as long as a ping's answer may take; open again with the next byte
//!        ├─> closed     the guest's end: EOF or a reset
//!        ├─> unheard    the same, before the guest had said a single byte
//!        ├─> flood      more bytes than the budget allows
//!        ├─> not_http2  the first frame is not SETTINGS (RFC 9113, 3.4)
//!        └─> hung_up    our end: the `Line` was dropped
//! ```

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::limits::Budget;

/// A frame's head: 24 bits of length, type, flags, 31 bits of stream.
const FRAME_HEAD_BYTES: usize = 9;
/// What is kept of a beginning that is not HTTP/2, to show it.
const SHOWN_BYTES: usize = 24;

/// How a connection ended; the first reason wins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// It has not.
    Open,
    /// It has not, but nothing came for so long that a ping must have been in vain.
    Quiet,
    /// The guest's end closed it or reset it.
    Closed,
    /// It did so before it had said anything: HTTP/2's server speaks first, so it did not mean to talk.
    Unheard,
    /// So many bytes came, and so many are allowed by then.
    Flood { came: u64, allowed: u64 },
    /// What came first is not the beginning of HTTP/2: its first bytes.
    NotHttp2(Vec<u8>),
    /// We hung up.
    HungUp,
}

#[derive(Debug)]
struct Shared {
    ending: Mutex<Ending>,
    last_byte: Mutex<Instant>,
    quiet_after: Duration,
    reader: AtomicWaker,
}

impl Shared {
    fn ending(&self) -> Ending {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_quiet(&self) -> bool {
        self.last_byte.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= self.quiet_after
    }

    fn heard(&self) {
        *self.last_byte.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn end(&self, ending: Ending) {
        let mut now = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == Ending::Open {
            *now = ending;
        }
    }

    fn still_up(&self) -> io::Result<()> {
        match self.ending() {
            Ending::Open | Ending::Quiet | Ending::Closed | Ending::Unheard => Ok(()),
            ending => Err(io::Error::new(io::ErrorKind::ConnectionAborted, format!("{ending:?}"))),
        }
    }
}

/// The caller's end: dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Line {
    shared: Arc<Shared>,
}

impl Line {
    /// How the connection ended, if it has.
    pub(super) fn ending(&self) -> Ending {
        match self.shared.ending() {
            Ending::Open if self.shared.is_quiet() => Ending::Quiet,
            ending => ending,
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.end(Ending::HungUp);
        self.shared.reader.wake();
    }
}

/// The transport's end.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    inner: S,
    budget: Budget,
    since: Instant,
    came: u64,
    beginning: Vec<u8>,
    shared: Arc<Shared>,
}

/// Puts a connection under guard. `quiet_after` is how long a ping's answer may take.
pub(super) fn guard<S>(inner: S, budget: Budget, quiet_after: Duration) -> (Guarded<S>, Line) {
    let shared = Arc::new(Shared {
        ending: Mutex::new(Ending::Open),
        last_byte: Mutex::new(Instant::now()),
        quiet_after,
        reader: AtomicWaker::new(),
    });
    let guarded = Guarded {
        inner,
        budget,
        since: Instant::now(),
        came: 0,
        beginning: Vec::with_capacity(SHOWN_BYTES),
        shared: Arc::clone(&shared),
    };
    (guarded, Line { shared })
}

impl<S> Guarded<S> {
    /// How the guest's end closed it.
    fn closed(&self) -> Ending {
        if self.came == 0 { Ending::Unheard } else { Ending::Closed }
    }

    fn judge(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            self.shared.end(self.closed());
            return Ok(());
        }
        self.shared.heard();
        self.came = self.came.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let allowed = self.budget.after(self.since.elapsed());
        if self.came > allowed {
            self.shared.end(Ending::Flood { came: self.came, allowed });
        }
        if self.beginning.len() < FRAME_HEAD_BYTES {
            let missing = SHOWN_BYTES.saturating_sub(self.beginning.len());
            self.beginning.extend(bytes.iter().take(missing));
            if !may_begin_http2(&self.beginning) {
                self.shared.end(Ending::NotHttp2(self.beginning.clone()));
            }
        }
        self.shared.still_up()
    }
}

/// Whether these bytes may be the beginning of a server's HTTP/2: a SETTINGS frame that is no acknowledgement, on
/// stream 0, below 64 KiB.
fn may_begin_http2(bytes: &[u8]) -> bool {
    // What each byte of the head is under the mask; the lower two bytes of the length and most flags are free.
    const HEAD: [(u8, u8); FRAME_HEAD_BYTES] =
        [(0xff, 0), (0, 0), (0, 0), (0xff, 4), (1, 0), (0x7f, 0), (0xff, 0), (0xff, 0), (0xff, 0)];
    bytes.iter().zip(HEAD).all(|(byte, (mask, expected))| byte & mask == expected)
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.shared.reader.register(cx.waker());
        self.shared.still_up()?;
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                let new = buf.filled().get(before..).unwrap_or_default();
                Poll::Ready(self.judge(new))
            }
            Poll::Ready(Err(error)) => {
                self.shared.end(self.closed());
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.still_up()?;
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        if matches!(outcome, Poll::Ready(Err(_))) {
            self.shared.end(self.closed());
        }
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.still_up()?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const NEVER: Duration = Duration::MAX;
    const PLENTY: Budget = Budget { burst: 1000, per_sec: 0 };

    #[test]
    fn how_http2_begins() {
        for (name, bytes, fits) in [
            ("nothing yet", b"".as_slice(), true),
            ("settings", b"\0\0\x12\x04\0\0\0\0\0more", true),
            ("half of it", b"\0\0\x12\x04", true),
            ("a ping", b"\0\0\x08\x06\0\0\0\0\0", false),
            ("an acknowledgement", b"\0\0\0\x04\x01\0\0\0\0", false),
            ("on a stream", b"\0\0\0\x04\0\0\0\0\x01", false),
            ("16 MiB of settings", b"\xff\xff\xff\x04\0\0\0\0\0", false),
            ("HTTP/1", b"HTTP/1.1 400 Bad Request", false),
            ("HTTP/1, one byte", b"H", false),
        ] {
            assert_eq!(may_begin_http2(bytes), fits, "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_not_http2_ends_it() {
        let (ours, mut theirs) = duplex(4096);
        let (mut guarded, line) = guard(ours, PLENTY, NEVER);
        theirs.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        guarded.read(&mut [0; 100]).await.unwrap_err();
        assert_eq!(line.ending(), Ending::NotHttp2(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_grows_with_time() {
        let (ours, mut theirs) = duplex(4096);
        let (mut guarded, line) = guard(ours, Budget { burst: 10, per_sec: 5 }, NEVER);
        theirs.write_all(b"\0\0\0\x04\0\0\0\0\0x").await.unwrap();
        guarded.read_exact(&mut [0; 10]).await.unwrap();
        tokio::time::advance(Duration::from_secs(2)).await;
        theirs.write_all(&[0; 10]).await.unwrap();
        guarded.read_exact(&mut [0; 10]).await.unwrap();
        theirs.write_all(&[0; 1]).await.unwrap();
        guarded.read_u8().await.unwrap_err();
        assert_eq!(line.ending(), Ending::Flood { came: 21, allowed: 20 });
    }

    #[tokio::test]
    async fn hanging_up_wakes_a_reader() {
        let (ours, _theirs) = duplex(4096);
        let (mut guarded, line) = guard(ours, PLENTY, NEVER);
        let reader = tokio::spawn(async move { guarded.read_u8().await });
        tokio::task::yield_now().await;
        drop(line);
        let error = tokio::time::timeout(Duration::from_secs(5), reader).await.unwrap().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn the_end_is_noticed() {
        let (ours, theirs) = duplex(4096);
        let (mut guarded, line) = guard(ours, PLENTY, NEVER);
        drop(theirs);
        guarded.read_u8().await.unwrap_err();
        assert_eq!(line.ending(), Ending::Unheard);

        let (ours, mut theirs) = duplex(4096);
        let (mut guarded, line) = guard(ours, PLENTY, NEVER);
        theirs.write_all(b"\0").await.unwrap();
        drop(theirs);
        guarded.read_u8().await.unwrap();
        guarded.read_u8().await.unwrap_err();
        assert_eq!(line.ending(), Ending::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_until_the_next_byte() {
        let (ours, mut theirs) = duplex(4096);
        let (mut guarded, line) = guard(ours, PLENTY, Duration::from_secs(20));
        tokio::time::advance(Duration::from_secs(19)).await;
        assert_eq!(line.ending(), Ending::Open);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(line.ending(), Ending::Quiet);
        theirs.write_all(b"\0").await.unwrap();
        guarded.read_u8().await.unwrap();
        assert_eq!(line.ending(), Ending::Open);
    }
}
