//! The worker: carries campaigns out on one host.
//!
//! ```text
//!            ┌──────────────── look every second: an order, a new campaign, an end ───────────────┐
//!  lock ──> recover ──> gates ──> claim ──> one turn, a task of its own ──> finish | later ──> gates …
//!                         │closed              │ stage ──> heartbeat ──> keep | cancel | gone
//!                         └ told, tried again  └ the window's end, an abort, SIGTERM: cancelled, accounted, put back
//! ```
//!
//! `shift` is the loop, `one` a claimed run, `ending` what becomes of it (pure), `lock` sees to one worker per host. The
//! store decides who may run; the worker never counts, and never compares its clock with the store's. A worker that dies
//! leaves runs that `Store::recover` takes back: fence, baseline and the agent's run id are with the store by then.

mod ending;
mod gates;
mod hand;
mod lease;
pub mod lock;
mod one;
pub mod persist;
pub mod publish;
mod pulse;
pub mod said;
mod shift;
mod stop;
pub mod vms;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::store::{Claimant, Order, Store};
use crate::{
    config::{DEFAULT_IO_PRESSURE_PERCENT, gates::Gate},
    model::trouble::Trouble,
};
use said::Listener;
use vms::Vms;

/// How a worker goes about it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Between two heartbeats, where the store has no lease; else a quarter of it.
    pub heartbeat: Duration,
    /// Between two looks for orders.
    pub look: Duration,
    /// How long runs that are cancelled at the end have for their account.
    pub leave_within: Duration,
    /// A gate that has answered is not asked again for so long.
    pub gate_holds: Duration,
    /// What trimtab.toml defines.
    pub gates: Vec<Gate>,
    /// Nothing is begun while some task of this host has waited for I/O for this share of the last ten seconds, in
    /// percent (`some avg10` of /proc/pressure/io); 0: whatever it is.
    pub io_pressure_percent: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(15),
            look: Duration::from_secs(1),
            leave_within: Duration::from_secs(60),
            gate_holds: Duration::from_secs(10),
            gates: Vec::new(),
            io_pressure_percent: DEFAULT_IO_PRESSURE_PERCENT,
        }
    }
}

/// What a worker works with.
pub struct Worker<S, V> {
    /// Where campaigns are.
    pub store: Arc<S>,
    /// The VMs of this host.
    pub vms: Arc<V>,
    /// Who it is.
    pub claimant: Claimant,
    /// How it goes about it.
    pub settings: Settings,
    /// Who is told.
    pub listener: Arc<dyn Listener>,
}

impl<S: Store + 'static, V: Vms> Worker<S, V> {
    /// Carries out every campaign until `leave` becomes true; then what runs is cancelled, accounted for and put back.
    pub async fn work(&self, leave: watch::Receiver<bool>) {
        shift::Shift::new(self, None).work(leave).await;
    }

    /// Carries one campaign out until it is over, paused or stopped. When `leave` becomes true it is paused, in the name of
    /// `who`, and what runs is cancelled, accounted for and put back.
    ///
    /// # Errors
    /// The store does not take the pause: the campaign goes on with the next worker.
    pub async fn carry(&self, campaign: i64, who: &str, leave: watch::Receiver<bool>) -> Result<(), Trouble> {
        let left = leave.clone();
        shift::Shift::new(self, Some(campaign)).work(leave).await;
        if *left.borrow() {
            self.store.order(campaign, &Order::Pause, who).await?;
        }
        Ok(())
    }
}
