//! An agent that means harm, or is broken beyond use: behind the hybrid handshake it does one misdeed for ever.
//!
//! `raw` works below HTTP/2 with bytes of its own, `grpc` above it with messages that no honest agent sends.

use std::{io, path::Path, time::Duration};

use tokio::{io::AsyncWriteExt, net::UnixStream, time::sleep};

use crate::hybrid::{self, Serving, asked_port};

mod grpc;
mod raw;

/// What it does. Each one is done to every caller, whatever is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misdeed {
    /// Takes the connection and never says a word, not even in the handshake.
    NeverAnswers,
    /// Closes the connection instead of the handshake: nothing listens in the guest.
    NoListener,
    /// Answers the handshake with a line that never ends.
    EndlessOk,
    /// Answers the handshake with something else.
    SaysInstead(&'static str),
    /// Says OK a byte at a time, with this pause in between.
    SlowOk(Duration),
    /// Says OK and hangs up, as an agent does to a caller that it does not know.
    TurnsAway,
    /// Says OK, then nothing.
    Silent,
    /// Says OK, then HTTP/1.
    Http1,
    /// Says OK, then bytes of no protocol for ever.
    Garbage,
    /// HTTP/2, a byte at a time, with this pause in between.
    Drips(Duration),
    /// Pings for ever.
    Pings,
    /// A list of headers that never ends.
    EndlessHeaders,
    /// A window of 0: takes no request.
    NoWindow,
    /// A frame longer than the limit that both sides agreed on.
    LongFrame,
    /// Takes the request and never answers it.
    TakesRequest,
    /// The end of HTTP/2 (GOAWAY) as the answer.
    GoesAway,
    /// HTTP/2, but a web server.
    WebServer,
    /// A message of so many bytes by its head, followed by that many and more.
    Message(u32),
    /// A message compressed with gzip, which nobody asked for.
    Gzip,
    /// The compressed flag without a word on how.
    Compressed,
    /// A message of a megabyte of empty sub-messages.
    Nothings,
    /// A message that is none.
    NoMessage,
    /// A mount point of 900 KiB, in a survey that is good otherwise.
    HugeString,
    /// Terminal escapes in a refusal.
    Escapes,
    /// A refusal whose details are not base64.
    BadDetails,
    /// A refusal with 12 KiB of text.
    LongRefusal,
    /// u64::MAX in every number.
    MaxNumbers,
    /// Every question but Hello is unknown to it.
    AnotherVersion,
    /// A run whose events all move something, as fast as they can be sent.
    Flood,
    /// A run that says the same again and again, with this pause in between.
    StandsStill(Duration),
    /// A run that moves with each event and never ends, with this pause in between.
    NeverEnds(Duration),
    /// A run that says its state and then nothing.
    FallsSilent,
    /// A run whose connection is reset after its first event.
    Resets,
    /// A run whose stream ends as if all were well, without its end.
    EndsEarly,
    /// A run that begins with its end.
    EndsFirst,
    /// A run of another id.
    AnotherRun,
    /// A run that is refused after its first event.
    FailsLate,
    /// Not a misdeed: OK and the first bytes of HTTP/2 in one segment, then an honest Hello.
    SettingsWithOk,
}

/// Serves one misdeed.
#[derive(Clone, Copy, Debug)]
pub struct HostileAgent(pub Misdeed);

impl HostileAgent {
    /// Misbehaves on the hybrid vsock socket `path` until the result is dropped.
    pub fn serve(self, path: &Path) -> io::Result<Serving> {
        hybrid::serve(path, move |stream| async move {
            // That the caller hangs up is what tests want.
            let _ = self.run(stream).await;
        })
    }

    async fn run(self, mut stream: UnixStream) -> io::Result<()> {
        if asked_port(&mut stream).await.is_none() {
            return Ok(());
        }
        match self.0 {
            Misdeed::NeverAnswers => std::future::pending().await,
            Misdeed::NoListener => Ok(()),
            Misdeed::EndlessOk => forever(&mut stream, b"OK 1111111111111111").await,
            Misdeed::SaysInstead(line) => {
                stream.write_all(line.as_bytes()).await?;
                raw::swallow(&mut stream).await
            }
            Misdeed::SlowOk(pause) => {
                drip(&mut stream, b"OK 1073741824\n", pause).await?;
                raw::swallow(&mut stream).await
            }
            // The OK line goes out with the first bytes of HTTP/2.
            misdeed @ Misdeed::SettingsWithOk => grpc::run(raw::OkFirst::new(stream), misdeed).await,
            misdeed => {
                stream.write_all(b"OK 1073741824\n").await?;
                match raw::run(&mut stream, misdeed).await {
                    Some(outcome) => outcome,
                    None => grpc::run(stream, misdeed).await,
                }
            }
        }
    }
}

/// Writes the same bytes until the other side has enough.
async fn forever(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<()> {
    loop {
        stream.write_all(bytes).await?;
    }
}

/// Writes bytes one at a time.
async fn drip(stream: &mut UnixStream, bytes: &[u8], pause: Duration) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        sleep(pause).await;
    }
    Ok(())
}
