//! Ctrl-C and SIGTERM, for every command that can be ended before its end.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use super::exit;
use crate::{
    model::trouble::{Kind, Trouble},
    trim::wish::Wish,
};

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

/// What a person wants of trims: Ctrl-Z pauses them and lets them go on, so does `kill -TSTP`; `kill -CONT` lets them go on;
/// Ctrl-C and SIGTERM as in [`then_leave`]. This process does not stop at Ctrl-Z: agents that nobody listens to would end
/// their runs. `said` is told each wish.
pub(super) fn steers(said: impl Fn(Wish) + Send + 'static) -> Result<watch::Receiver<Wish>, Trouble> {
    let mut signals = Signals::listen()?;
    let mut put_away = caught(SignalKind::from_raw(nix::libc::SIGTSTP))?;
    let mut brought_back = caught(SignalKind::from_raw(nix::libc::SIGCONT))?;
    let (wish, wishes) = watch::channel(Wish::Go);
    tokio::spawn(async move {
        loop {
            let now = *wish.borrow();
            let next = tokio::select! {
                () = signals.next() => Wish::Cancel,
                _ = put_away.recv() => if now == Wish::Go { Wish::Pause } else { Wish::Go },
                _ = brought_back.recv() => Wish::Go,
            };
            if next == now {
                continue;
            }
            said(next);
            wish.send_replace(next);
            if next == Wish::Cancel {
                break;
            }
        }
        signals.next().await;
        std::process::exit(exit::INTERRUPTED.into());
    });
    Ok(wishes)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Both are caught from now on.
    fn listen() -> Result<Self, Trouble> {
        Ok(Self { interrupt: caught(SignalKind::interrupt())?, terminate: caught(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {} }
    }
}

fn caught(kind: SignalKind) -> Result<Signal, Trouble> {
    signal(kind).map_err(|error| Trouble::new(Kind::Internal, format!("cannot listen for signals: {error}")))
}
