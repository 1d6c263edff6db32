//! A way to a test's PostgreSQL that swallows what is sent: connections stay open, and nothing comes back.
//!
//! ```text
//! trimtab ──TCP──> Way ──socket──> tests/postgres
//! ```

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

use crate::postgres::Postgres;

/// A way to a database over TCP.
#[derive(Debug)]
pub struct Way {
    address: SocketAddr,
    is_open: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

impl Way {
    /// An open one.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to(postgres: &Postgres) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let is_open = Arc::new(watch::Sender::new(true));
        let (opens, socket) = (Arc::clone(&is_open), postgres.socket());
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (opens, socket) = (Arc::clone(&opens), socket.clone());
                tokio::spawn(async move {
                    opened(&opens).await;
                    // A server that is down hangs up, as its kernel would.
                    if let Ok(far) = UnixStream::connect(socket).await {
                        join(near, far, &opens).await;
                    }
                });
            }
        });
        Ok(Self { address, is_open, task })
    }

    /// The database's URL over it.
    pub fn url(&self, role: &str) -> String {
        format!("postgres://{role}@{}/postgres?sslmode=disable", self.address)
    }

    /// From now on nothing passes, in either direction; no connection breaks, and new ones get no answer.
    pub fn cut(&self) {
        self.is_open.send_replace(false);
    }

    /// All passes again, also what was sent meanwhile.
    pub fn mend(&self) {
        self.is_open.send_replace(true);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn join(near: TcpStream, far: UnixStream, opens: &watch::Sender<bool>) {
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = pass(near_in, far_out, opens) => {}
        () = pass(far_in, near_out, opens) => {}
    }
}

async fn opened(opens: &watch::Sender<bool>) {
    // The sender lives as long as this.
    let _ = opens.subscribe().wait_for(|open| *open).await;
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    opens: &watch::Sender<bool>,
) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(many @ 1..) = from.read(&mut bytes).await {
        opened(opens).await;
        if to.write_all(bytes.get(..many).unwrap_or_default()).await.is_err() {
            return;
        }
    }
    // The end of a connection is news too.
    opened(opens).await;
}
