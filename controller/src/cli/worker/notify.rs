//! What systemd is told (sd_notify(3)): ready, stopping, and that the process is alive. Where nobody asks, nothing is
//! said.

use sd_notify::NotifyState;

/// Says that campaigns are carried out from now on; and, where the unit has a watchdog, that they still are.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("Waiting for campaigns")]);
    let Some(every) = sd_notify::watchdog_enabled().and_then(|limit| limit.checked_div(3)) else { return };
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            tell(&[NotifyState::Watchdog]);
        }
    });
}

/// Says what is being done.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Says that what runs is being cancelled.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("Cancelling what runs, and accounting for it")]);
}

fn tell(state: &[NotifyState<'_>]) {
    // systemd that does not listen keeps nobody from working.
    let _ = sd_notify::notify(state);
}
