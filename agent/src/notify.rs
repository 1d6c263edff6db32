//! What systemd is told (sd_notify(3)): ready, what is being done, stopping. Where nobody asks, nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::trim::Engine;

/// Says that calls are answered from now on, and follows what is being done. It never returns.
pub async fn ready_and_follow(engine: &Engine, idle_exit: Option<Duration>) {
    let mut active = engine.activity();
    tell(&[NotifyState::Ready]);
    loop {
        let status = status(*active.borrow_and_update(), idle_exit);
        tell(&[NotifyState::Status(&status)]);
        // Told to stop, the status says that, and not that the next call is waited for.
        if active.changed().await.is_err() || engine.is_stopping() {
            return std::future::pending().await;
        }
    }
}

fn status(at_work: bool, idle_exit: Option<Duration>) -> String {
    match (at_work, idle_exit) {
        (true, _) => "A trim or a probe is under way".to_owned(),
        (false, Some(limit)) => {
            format!("Waiting for calls of the host; ends after {} s without one", limit.as_secs())
        }
        (false, None) => "Waiting for calls of the host".to_owned(),
    }
}

/// Says that this process is about to end, and why.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Says why it could not start; `systemctl status` shows the line.
pub fn failed(error: &str) {
    // A status is one line.
    tell(&[NotifyState::Status(&error.replace('\n', " "))]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot tell systemd: {error}");
    }
}
