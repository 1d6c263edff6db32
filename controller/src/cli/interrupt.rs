//! Ctrl-C and SIGTERM during a trim: the first cancels the runs and waits for the account, the second leaves at once
//! (the agents stop by themselves when nobody listens).

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::exit;
use crate::{
    model::trouble::{Kind, Trouble},
    render::progress::Progress,
};

/// Listens for both signals from now on. The receiver becomes true at the first one.
pub(super) fn listen(progress: Progress) -> Result<watch::Receiver<bool>, Trouble> {
    let failed =
        |error: std::io::Error| Trouble::new(Kind::Internal, format!("cannot listen for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (cancel, cancelled) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        cancel.send_replace(true);
        progress.note("cancelling; what came back is still accounted for (once more to leave at once)");
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        std::process::exit(exit::INTERRUPTED.into());
    });
    Ok(cancelled)
}
