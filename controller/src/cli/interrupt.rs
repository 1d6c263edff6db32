//! Ctrl-C and SIGTERM, for every command that can be ended before its end.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use super::exit;
use crate::model::trouble::{Kind, Trouble};

/// The receiver becomes true at the first of both signals, when `at_first` has been called; at the second this process
/// leaves at once (the agents stop by themselves when nobody listens).
pub(super) fn then_leave(at_first: impl FnOnce() + Send + 'static) -> Result<watch::Receiver<bool>, Trouble> {
    let mut signals = Signals::listen()?;
    let (told, tells) = watch::channel(false);
    tokio::spawn(async move {
        signals.next().await;
        at_first();
        told.send_replace(true);
        signals.next().await;
        std::process::exit(exit::INTERRUPTED.into());
    });
    Ok(tells)
}

/// The receiver becomes true at the first of both signals, and nothing else comes of them.
pub(super) fn once() -> Result<watch::Receiver<bool>, Trouble> {
    let mut signals = Signals::listen()?;
    let (told, tells) = watch::channel(false);
    tokio::spawn(async move {
        signals.next().await;
        told.send_replace(true);
    });
    Ok(tells)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Both are caught from now on.
    fn listen() -> Result<Self, Trouble> {
        let failed = |error: std::io::Error| {
            Trouble::new(Kind::Internal, format!("cannot listen for signals: {error}"))
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {} }
    }
}
