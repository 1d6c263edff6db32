//! A client of QMP over its unix socket, for queries only: connect, greet, ask, close.
//!
//! QMP serves one client at a time: a second one is connected by the kernel and hears nothing until the first has
//! gone. So a session is as short as it can be, and silence has an error of its own. Whatever is at the other end, a
//! session ends within [`LIMIT`] and holds no more than [`MAX_LINE_BYTES`].

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{Instant, timeout_at},
};

use super::protocol::{self, Line, Refused};
use crate::model::trouble::{Kind, Trouble};

/// A whole session: connecting, greeting, all its commands.
const LIMIT: Duration = Duration::from_secs(5);

/// The longest answer is query-named-block-nodes: about 1.5 KB a node.
const MAX_LINE_BYTES: usize = 8 << 20;

/// A connection whose greeting is done.
pub(super) struct Session {
    socket: PathBuf,
    stream: UnixStream,
    /// What was read beyond the last line.
    pending: Vec<u8>,
    ends: Instant,
    greeted: bool,
}

impl Session {
    /// Connects and leaves QMP's negotiation mode.
    ///
    /// # Errors
    /// `vm_off` where nothing listens, `no_permission`, `no_qmp` where nothing greets, `qmp_nonsense`.
    pub(super) async fn open(socket: &Path) -> Result<Self, Trouble> {
        let ends = Instant::now().checked_add(LIMIT).unwrap_or_else(Instant::now);
        let stream = match timeout_at(ends, UnixStream::connect(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(cannot_connect(socket, &error)),
            Err(_) => {
                return Err(Trouble::new(
                    Kind::NoQmp,
                    format!("QMP socket {} takes no connection", socket.display()),
                ));
            }
        };
        let mut session =
            Self { socket: socket.to_owned(), stream, pending: Vec::new(), ends, greeted: false };
        match session.line().await? {
            Line::Greeting => session.greeted = true,
            _ => return Err(session.nonsense("something else than QMP's greeting")),
        }
        session.ask_raw("qmp_capabilities", &Value::Null).await?.map_err(|refused| {
            session.nonsense(&format!("to qmp_capabilities that it refuses it: {refused}"))
        })?;
        Ok(session)
    }

    /// The process that called listen() on the socket (unix(7), SO_PEERCRED): QEMU, or whoever made the socket for
    /// it. `None` where it is outside of this pid namespace.
    pub(super) fn peer_pid(&self) -> Option<u32> {
        let pid = self.stream.peer_cred().ok()?.pid()?;
        u32::try_from(pid).ok().filter(|&pid| pid > 0)
    }

    /// A command that QEMU must answer, and its answer read.
    pub(super) async fn ask<T: DeserializeOwned>(
        &mut self,
        command: &str,
        arguments: &Value,
    ) -> Result<T, Trouble> {
        let value = self.ask_raw(command, arguments).await?.map_err(|refused| {
            Trouble::new(
                Kind::QmpNonsense,
                format!("QMP socket {}: {command} is refused: {refused}", self.socket.display()),
            )
            .hint("trimtab needs QEMU 5.0 or newer")
        })?;
        serde_json::from_value(value)
            .map_err(|error| self.nonsense(&format!("to {command} what it should not: {error}")))
    }

    /// A command that QEMU may refuse.
    pub(super) async fn ask_raw(
        &mut self,
        command: &str,
        arguments: &Value,
    ) -> Result<Result<Value, Refused>, Trouble> {
        let line = protocol::command(command, arguments);
        match timeout_at(self.ends, self.stream.write_all(&line)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.broken(&error)),
            Err(_) => return Err(self.silent()),
        }
        loop {
            match self.line().await? {
                Line::Return(value) => return Ok(Ok(value)),
                Line::Error(refused) => return Ok(Err(refused)),
                Line::Event => {}
                Line::Greeting => return Err(self.nonsense("with a second greeting")),
            }
        }
    }

    /// The next line, without its end.
    async fn line(&mut self) -> Result<Line, Trouble> {
        let mut searched = 0;
        loop {
            let found =
                self.pending.get(searched..).and_then(|rest| rest.iter().position(|&byte| byte == b'\n'));
            if let Some(end) = found.map(|at| at.saturating_add(searched)) {
                let rest = self.pending.split_off(end.saturating_add(1));
                let line = std::mem::replace(&mut self.pending, rest);
                return protocol::parse(&line).map_err(|what| self.nonsense(&what));
            }
            searched = self.pending.len();
            if searched > MAX_LINE_BYTES {
                return Err(self.nonsense(&format!("a line of more than {} MiB", MAX_LINE_BYTES >> 20)));
            }
            match timeout_at(self.ends, self.stream.read_buf(&mut self.pending)).await {
                Ok(Ok(0)) => return Err(self.broken(&io::ErrorKind::UnexpectedEof.into())),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(self.broken(&error)),
                Err(_) => return Err(self.silent()),
            }
        }
    }

    fn nonsense(&self, what: &str) -> Trouble {
        Trouble::new(Kind::QmpNonsense, format!("QMP socket {} answered {what}", self.socket.display()))
            .hint("is this the QMP socket of a QEMU? (-qmp unix:PATH,server=on,wait=off)")
    }

    fn broken(&self, error: &io::Error) -> Trouble {
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "closed the connection".to_owned(),
            _ => format!("broke the connection: {error}"),
        };
        Trouble::new(Kind::NoQmp, format!("QMP socket {} {why}", self.socket.display()))
            .hint("the VM may have ended just now; try again")
    }

    fn silent(&self) -> Trouble {
        let (socket, secs) = (self.socket.display(), LIMIT.as_secs());
        if self.greeted {
            Trouble::new(Kind::NoQmp, format!("QMP socket {socket} did not answer within {secs} s"))
                .hint("QEMU is busy or stopped; try again")
        } else {
            Trouble::new(
                Kind::NoQmp,
                format!("QMP socket {socket} connects but does not greet within {secs} s"),
            )
            .hint("another client holds it: QMP serves one at a time; give QEMU a second -qmp socket for trimtab")
        }
    }
}

fn cannot_connect(socket: &Path, error: &io::Error) -> Trouble {
    let path = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound => Trouble::new(Kind::VmOff, format!("QMP socket {path} does not exist"))
            .hint("the VM is off, or `qmp` in the inventory names another path than QEMU's -qmp"),
        io::ErrorKind::ConnectionRefused => {
            Trouble::new(Kind::VmOff, format!("nothing listens on QMP socket {path}"))
                .hint("the VM is off: its QEMU has ended and left the socket behind")
        }
        io::ErrorKind::PermissionDenied => {
            Trouble::new(Kind::NoPermission, format!("no permission to connect to QMP socket {path}"))
                .hint("run as root, or as the user that QEMU runs as")
        }
        io::ErrorKind::WouldBlock => {
            Trouble::new(Kind::NoQmp, format!("QMP socket {path} has its queue of connections full"))
                .hint("another client holds it: QMP serves one at a time")
        }
        _ => Trouble::new(Kind::NoQmp, format!("cannot connect to QMP socket {path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_is_no_connection() {
        let cases = [
            ("not there", io::ErrorKind::NotFound, Kind::VmOff),
            ("nobody listens", io::ErrorKind::ConnectionRefused, Kind::VmOff),
            ("another user's", io::ErrorKind::PermissionDenied, Kind::NoPermission),
            ("its queue is full", io::ErrorKind::WouldBlock, Kind::NoQmp),
            ("no such luck", io::ErrorKind::Other, Kind::NoQmp),
        ];
        for (name, error, expected) in cases {
            let trouble = cannot_connect(Path::new("/run/vm.qmp"), &error.into());
            assert_eq!(trouble.kind, expected, "{name}");
            assert!(trouble.text.contains("/run/vm.qmp"), "{name}: {trouble}");
        }
    }
}
