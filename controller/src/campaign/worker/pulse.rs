//! The heartbeat, beside all that the loop waits for: it says what runs here, and does what the store says of each. A run
//! that the store has not renewed for two thirds of its lease is cancelled here, before the store gives it to somebody else.

use std::{convert::Infallible, future::pending, sync::Arc};

use super::{
    Worker,
    hand::Hand,
    lease::Moment,
    persist::{Backoff, Persist},
    said::Said,
    vms::Vms,
};
use crate::{campaign::store::Store, model::trouble::Kind};

/// One worker's.
pub(super) struct Pulse<'a, S, V> {
    pub(super) worker: &'a Worker<S, V>,
    pub(super) hand: Arc<Hand>,
    pub(super) persist: Persist,
}

impl<S: Store, V: Vms> Pulse<'_, S, V> {
    /// Beats, and sooner when it is asked to.
    pub(super) async fn beat(&self) -> Infallible {
        let every = self.hand.lease.heartbeat(self.worker.settings.heartbeat);
        let mut backoff = Backoff::up_to(every);
        let mut wait = every;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.hand.beat.notified() => {}
            }
            wait = match !self.hand.stands() || self.once().await {
                true => {
                    backoff = Backoff::up_to(every);
                    every
                }
                false => backoff.wait(),
            };
        }
    }

    /// Whether it was answered.
    pub(super) async fn once(&self) -> bool {
        let (asked, said, held) = (Moment::now(), self.hand.stages(), self.hand.held());
        let Worker { store, claimant, .. } = self.worker;
        match self.persist.write(store.heartbeat(claimant, held.as_deref(), &said)).await {
            Ok(told) => {
                self.hand.obey(&told, &said, asked);
                true
            }
            Err(trouble) if trouble.kind == Kind::Busy => {
                self.hand.step_down();
                true
            }
            Err(_) => false,
        }
    }

    /// Gives up what runs out of its lease.
    pub(super) async fn watch(&self) -> Infallible {
        let Some(every) = self.hand.lease.look() else { return pending().await };
        loop {
            tokio::time::sleep(every).await;
            let lost = self.hand.give_up();
            if lost > 0 {
                self.worker.listener.say(Said::GivenUp(lost));
            }
        }
    }
}
