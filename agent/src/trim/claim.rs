//! The guest's disks, for somebody who is no run: a probe. As long as a [`Claim`] is held no run begins, in this agent or
//! beside it, the agent does not exit for idleness, and its end is told.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Engine, Refused, turn::House};
use crate::lock::TrimLock;

/// Held disks; dropping it lets the next one begin.
#[derive(Debug)]
pub struct Claim {
    lock: Option<TrimLock>,
    active: watch::Sender<bool>,
    stop: watch::Receiver<bool>,
    house: Arc<House>,
}

impl Engine {
    /// Claims the guest's disks without waiting.
    ///
    /// # Errors
    /// `NotPrivileged`, `Busy`, `Lock`, `Stopping`.
    pub fn claim(&self) -> Result<Claim, Refused> {
        let state = self.state();
        if state.stopping {
            return Err(Refused::Stopping);
        }
        if let Some(active) = &state.active {
            return Err(Refused::Busy { since_unix_secs: Some(active.since_unix_secs) });
        }
        let lock = self.admit()?;
        self.inner.active.send_replace(true);
        Ok(Claim {
            lock: Some(lock),
            active: self.inner.active.clone(),
            stop: self.inner.stop.subscribe(),
            house: self.inner.house.clone(),
        })
    }
}

impl Claim {
    /// Ready when the agent is told to end.
    pub async fn stopping(&self) {
        // An error would mean that the engine is gone, and the agent with it.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// What is the same for all who trim here.
    pub(crate) fn house(&self) -> &Arc<House> {
        &self.house
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Whoever hears that nothing is active may take the lock at once.
        self.lock = None;
        self.active.send_replace(false);
    }
}
