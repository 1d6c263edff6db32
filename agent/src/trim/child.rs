//! The parent's side of a worker: start it, give it an order, hear its answer, kill it, reap it.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{net, process::ExitStatusExt},
    },
    path::Path,
    process::{ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
};

use crate::worker::{Answer, Order};

/// A worker process. Killed when dropped, and when the thread that started it ends.
pub(crate) struct Worker {
    child: Child,
    orders: OwnedWriteHalf,
    answers: BufReader<OwnedReadHalf>,
    line: String,
}

impl Worker {
    /// Starts `program worker PID` with `filesystem` as its descriptor 0. To be called on the main thread: the
    /// kernel kills the worker when the *thread* that started it ends (prctl(2), PR_SET_PDEATHSIG).
    pub(crate) fn start(program: &Path, filesystem: OwnedFd) -> io::Result<Self> {
        let (ours, theirs) = net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let child = Command::new(program)
            .arg0("trimtab-agent")
            .arg("worker")
            .arg(std::process::id().to_string())
            .env_clear()
            // Ctrl-C in a terminal is for the parent, which then kills the worker and still reports.
            .process_group(0)
            .stdin(Stdio::from(filesystem))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (answers, orders) = UnixStream::from_std(ours)?.into_split();
        Ok(Self { child, orders, answers: BufReader::new(answers), line: String::new() })
    }

    /// Gives an order.
    pub(crate) async fn order(&mut self, order: &Order) -> io::Result<()> {
        self.orders.write_all(order.line().as_bytes()).await
    }

    /// The next answer. An error when the worker has died or says nonsense.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        self.line.clear();
        if self.answers.read_line(&mut self.line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Answer::parse(&self.line).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Sends SIGKILL. It is not waited for.
    pub(crate) fn kill(&mut self) {
        // An error means that it has gone by itself.
        let _ = self.child.start_kill();
    }

    /// Waits until it is gone, which a kill or the end of its orders brings about.
    pub(crate) async fn gone(&mut self) {
        // An error means that it has been waited for.
        let _ = self.child.wait().await;
    }

    /// Closes the socket, which ends a worker that waits for an order, and waits until it is gone.
    pub(crate) async fn reap(mut self) -> io::Result<ExitStatus> {
        drop((self.orders, self.answers));
        self.child.wait().await
    }
}

/// How a worker ended, for a person.
pub(crate) fn describe(status: &io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("was killed by signal {signal}"),
            (None, Some(code)) => format!("ended with exit code {code}"),
            (None, None) => "ended".to_owned(),
        },
        Err(source) => format!("cannot be waited for: {source}"),
    }
}
