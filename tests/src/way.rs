//! A way to a test's PostgreSQL that reads along, and holds a worker's call up at its moment.
//!
//! ```text
//! trimtab ──TCP──> Way ──socket──> tests/postgres
//!            call ──┤ Before: the store has not seen it
//!                   ├────────────────> it is done, or refused
//!                   │ After: it is done ── answer
//! ```

mod wire;

use std::{
    collections::VecDeque,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
};

use self::wire::{Client, Cutter, Means, calls};
use crate::{
    hold::{Held, Holds},
    postgres::Postgres,
};

/// Where a call is held up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// It is on its way, and the store has seen nothing of it.
    Before,
    /// The store has done it, and its answer is on its way. A call that was refused goes by.
    After,
}

/// A call of a function of the store's.
type Call = (&'static str, When);

/// A way to a database over TCP.
#[derive(Debug)]
pub struct Way {
    address: SocketAddr,
    holds: Holds<Call>,
    task: JoinHandle<()>,
}

impl Way {
    /// One on this machine.
    ///
    /// # Errors
    /// No port is free.
    pub fn to(postgres: &Postgres) -> Result<Self> {
        Self::over(StdListener::bind("127.0.0.1:0")?, postgres)
    }

    /// One that begins here.
    ///
    /// # Errors
    /// It cannot be listened to.
    pub fn over(listener: StdListener, postgres: &Postgres) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let (address, holds) = (listener.local_addr()?, Holds::default());
        let (at, socket) = (Holds::clone(&holds), postgres.socket());
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(join(near, socket.clone(), Holds::clone(&at)));
            }
        });
        Ok(Self { address, holds, task })
    }

    /// The database's URL over it.
    pub fn url(&self, role: &str) -> String {
        format!("postgres://{role}@{}/postgres?sslmode=disable", self.address)
    }

    /// Holds the next call of this function up, whoever makes it.
    pub fn hold(&self, function: &'static str, when: When) -> Held {
        self.holds.hold((function, when))
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answers that are due, oldest first, each with the SQL that it is to.
type Due = Arc<Mutex<VecDeque<Option<String>>>>;

fn due(due: &Due) -> MutexGuard<'_, VecDeque<Option<String>>> {
    due.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A side that ends is told to the other one, which may still have something to do: a server carries out what it has read.
async fn join(near: TcpStream, socket: PathBuf, holds: Holds<Call>) {
    // A server that is down hangs up, as its kernel would.
    let Ok(far) = UnixStream::connect(socket).await else { return };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let asked = Due::default();
    // The end of a connection is no news.
    let _ = tokio::join!(there(near_in, far_out, &asked, &holds), back(far_in, near_out, &asked, &holds));
}

/// Passes on what the client says; dropping `far` is its end.
async fn there(
    mut near: impl AsyncRead + Unpin,
    mut far: impl AsyncWrite + Unpin,
    asked: &Due,
    holds: &Holds<Call>,
) -> io::Result<()> {
    let (mut cutter, mut client, mut runs) = (Cutter::of_client(), Client::default(), None);
    while near.read_buf(cutter.room()).await? > 0 {
        while let Some(message) = cutter.next()? {
            let is_asked = match client.says(&message) {
                Means::Runs(sql) => {
                    holds.at(|(function, when)| *when == When::Before && calls(&sql, function)).await;
                    runs = Some(sql);
                    message.kind == Some(b'Q')
                }
                Means::Answer => true,
                Means::Nothing => false,
            };
            if is_asked {
                due(asked).push_back(runs.take());
            }
            far.write_all(&message.bytes).await?;
        }
    }
    Ok(())
}

/// Passes on what the server says. An answer that is to be held up is held up whole.
async fn back(
    mut far: impl AsyncRead + Unpin,
    mut near: impl AsyncWrite + Unpin,
    asked: &Due,
    holds: &Holds<Call>,
) -> io::Result<()> {
    let (mut cutter, mut kept, mut is_refused) = (Cutter::of_server(), Vec::new(), false);
    while far.read_buf(cutter.room()).await? > 0 {
        while let Some(message) = cutter.next()? {
            kept.extend_from_slice(&message.bytes);
            is_refused |= message.kind == Some(b'E');
            let sql = due(asked).front().cloned().flatten().unwrap_or_default();
            let is_it = |(function, when): &Call| *when == When::After && calls(&sql, function);
            match message.kind {
                // ReadyForQuery: what was asked is committed, or refused.
                Some(b'Z') => {
                    due(asked).pop_front();
                    if !std::mem::take(&mut is_refused) {
                        holds.at(is_it).await;
                    }
                }
                _ if holds.wants(is_it) => continue,
                _ => {}
            }
            near.write_all(&kept).await?;
            kept.clear();
        }
    }
    near.write_all(&kept).await
}
