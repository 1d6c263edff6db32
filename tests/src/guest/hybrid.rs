//! Hybrid vsock from the host's side: a unix socket on which one asks for a port of the guest.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Connects to `port` of the guest behind `socket`, again and again until `limit`: while a guest boots, or before
/// its listener is there, the other side just closes.
pub fn connect(socket: &Path, port: u32, limit: Duration) -> Result<UnixStream> {
    let start = Instant::now();
    loop {
        match try_connect(socket, port) {
            Ok(stream) => return Ok(stream),
            Err(_) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(200)),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("no answer from {} port {port}", socket.display()));
            }
        }
    }
}

fn try_connect(socket: &Path, port: u32) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    stream.write_all(format!("CONNECT {port}\n").as_bytes())?;
    // Byte by byte: what follows the line already belongs to the caller.
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            bail!("closed");
        }
        if byte == *b"\n" {
            break;
        }
        line.extend(byte);
        if line.len() > 32 {
            bail!("not an answer: {}", String::from_utf8_lossy(&line));
        }
    }
    if !line.starts_with(b"OK ") {
        bail!("refused: {}", String::from_utf8_lossy(&line));
    }
    Ok(stream)
}
