//! The hybrid vsock handshake: how a unix socket of the VM monitor becomes a connection to a port of the guest.
//!
//! ```text
//! connect(PATH) ── "CONNECT 874\n" ──> monitor ──> guest, port 874
//!               <── "OK 1073741824\n" ─── then the guest's bytes
//! ```
//!
//! The answer is read byte by byte: the guest's HTTP/2 server speaks first, and its bytes may be in the same segment
//! as the line. The end of the connection instead of a line means that nothing in the guest listens on the port.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::model::endpoint::Port;

/// The longest answer: "OK ", ten digits and a line end make 14.
const MAX_LINE_BYTES: usize = 32;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum MuxError {
    /// The monitor closed the connection: no listener on the port, or the guest has not booted that far.
    #[error("nothing listens on the port")]
    NoListener,
    /// Something else than "OK n": what came.
    #[error("the answer is not \"OK <number>\"")]
    NotOk(Vec<u8>),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Asks for `port`. On success the next byte read from `stream` is the guest's first one. Has no deadline of its
/// own.
pub(super) async fn handshake<S>(stream: &mut S, port: Port) -> Result<(), MuxError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // One write: some monitors parse what the first read gives them.
    if let Err(error) = stream.write_all(format!("CONNECT {}\n", port.0).as_bytes()).await {
        return Err(gone(error));
    }
    let mut line = Vec::with_capacity(MAX_LINE_BYTES);
    loop {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(0) if line.is_empty() => return Err(MuxError::NoListener),
            Ok(0) => return Err(MuxError::NotOk(line)),
            Ok(_) => {}
            Err(error) => return Err(gone(error)),
        }
        if byte == *b"\n" {
            return if is_ok(&line) { Ok(()) } else { Err(MuxError::NotOk(line)) };
        }
        line.extend_from_slice(&byte);
        if line.len() >= MAX_LINE_BYTES {
            return Err(MuxError::NotOk(line));
        }
    }
}

/// Some monitors close with unread bytes, which the other end sees as a reset.
fn gone(error: io::Error) -> MuxError {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => MuxError::NoListener,
        _ => MuxError::Io(error),
    }
}

fn is_ok(line: &[u8]) -> bool {
    line.strip_prefix(b"OK ").is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    async fn ask(answer: &[u8], close: bool) -> (Result<(), MuxError>, Vec<u8>) {
        let (mut ours, mut monitors) = duplex(4096);
        monitors.write_all(answer).await.unwrap();
        if close {
            monitors.shutdown().await.unwrap();
        }
        let outcome = handshake(&mut ours, Port(874)).await;
        let mut asked = vec![0; 12];
        monitors.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, b"CONNECT 874\n");
        drop(monitors);
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).await.unwrap();
        (outcome, rest)
    }

    #[tokio::test]
    async fn ok_leaves_the_guests_bytes() {
        let settings = b"\0\0\0\x04\0\0\0\0\0";
        let (outcome, rest) = ask(&[b"OK 1073741824\n".as_slice(), settings].concat(), false).await;
        outcome.unwrap();
        assert_eq!(rest, settings);
    }

    #[tokio::test]
    async fn what_is_no_ok() {
        for answer in [
            "OK\n",
            "OK \n",
            "OK x\n",
            "ok 7\n",
            "OK 7\r\n",
            "\n",
            "ERR no such port\n",
            "OK 11111111111111111111111111111111111111111111\n",
            "{\"QMP\": {\"version\": {\"qemu\": {}}}}\n",
            "OK 10",
        ] {
            let (outcome, _) = ask(answer.as_bytes(), true).await;
            assert!(matches!(outcome, Err(MuxError::NotOk(_))), "{answer:?}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn the_end_is_no_listener() {
        let (outcome, _) = ask(b"", true).await;
        assert!(matches!(outcome, Err(MuxError::NoListener)), "{outcome:?}");
    }
}
