//! The monitor's side of hybrid vsock for agents that are no guests: a unix socket whose connections are served by a
//! future each, on a thread of its own, until the [`Serving`] is dropped.

use std::{
    future::Future,
    io,
    os::unix::net::UnixListener as StdListener,
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::oneshot,
    task::JoinSet,
};

/// A served socket. Dropping it ends every connection, joins the thread and removes the socket.
#[derive(Debug)]
pub struct Serving {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The address for an inventory.
    pub fn address(&self) -> String {
        format!("unix:{}", self.path.display())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of a connection was printed already.
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds `path` and serves each connection by the future that `each` makes of it.
pub fn serve<F, T>(path: &Path, each: F) -> io::Result<Serving>
where
    F: Fn(UnixStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = StdListener::bind(path)?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, mut stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("agent".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = UnixListener::from_std(listener) else { return };
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    _ = &mut stopped => break,
                    Some(_) = connections.join_next() => {}
                    Ok((stream, _)) = listener.accept() => { connections.spawn(each(stream)); }
                }
            }
        });
    })?;
    Ok(Serving { path: path.to_owned(), stop: Some(stop), thread: Some(thread) })
}

/// Reads `CONNECT <port>\n`; the answer is the caller's to write. `None` where something else came.
pub async fn asked_port(stream: &mut UnixStream) -> Option<u32> {
    let mut line = Vec::new();
    while line.len() < 32 {
        match stream.read_u8().await {
            Ok(b'\n') => {
                return String::from_utf8(line).ok()?.strip_prefix("CONNECT ")?.parse().ok();
            }
            Ok(byte) => line.push(byte),
            Err(_) => return None,
        }
    }
    None
}

/// The whole handshake of an honest monitor with an agent on the default port. `None`: closed, as a monitor does
/// where nothing listens.
pub async fn accepted(mut stream: UnixStream) -> Option<UnixStream> {
    if asked_port(&mut stream).await? != trimtab_proto::DEFAULT_PORT {
        return None;
    }
    stream.write_all(b"OK 1073741824\n").await.ok()?;
    Some(stream)
}

/// Hands each connection on to another socket that is served so, as a host has a guest's by a path of its own; dropping it
/// breaks them.
pub fn relay(path: &Path, guest: PathBuf) -> io::Result<Serving> {
    serve(path, move |mut stream| {
        let guest = guest.clone();
        async move {
            let Ok(mut guest) = UnixStream::connect(&guest).await else { return };
            // Either side may hang up.
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut guest).await;
        }
    })
}

/// Puts the handshake in front of an agent that listens on the unix socket `agent` (`trimtab-agent serve --listen
/// unix:PATH`), as a monitor does for a guest's port.
pub fn forward(path: &Path, agent: PathBuf) -> io::Result<Serving> {
    serve(path, move |mut stream| {
        let agent = agent.clone();
        async move {
            let Ok(mut agent) = UnixStream::connect(&agent).await else { return };
            if asked_port(&mut stream).await.is_some() && stream.write_all(b"OK 1073741824\n").await.is_ok() {
                // Either side may hang up.
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut agent).await;
            }
        }
    })
}
