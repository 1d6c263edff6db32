//! What a worker that is gone has left behind, where no other one takes it up: only an abort cares.

use std::{convert::Infallible, time::Duration};

use super::steer::who;
use crate::{
    campaign::{
        account::CampaignState,
        store::{Claimant, Order, Store, any::AnyStore, at::At},
        worker::lock::{Taken, WorkerLock},
    },
    cli::output::Output,
    config::Config,
    host,
    model::trouble::Trouble,
};

/// An agent that nobody listens to stops: 30 s until it notices a connection that does not break, 5 s of linger, and a
/// moment.
const AGENTS_STOP: Duration = Duration::from_secs(36);

/// Between two looks at leases.
const LEASES: Duration = Duration::from_secs(5);

/// Where runs have leases, has the store take those back whose workers are gone, which it does with any change. Never
/// ends.
pub(super) async fn expire(store: &AnyStore, campaign: i64) -> Infallible {
    loop {
        tokio::time::sleep(LEASES).await;
        if store.lease().is_some() {
            // Said once more it changes nothing else; who follows is told when the store does not answer.
            drop(store.order(campaign, &Order::Abort, &who()).await);
        }
    }
}

/// Takes back what the store has as running on this host while no worker is there, once the agents must have stopped.
/// Holds the worker's lock meanwhile, so that none begins.
pub(super) async fn take_back(
    store: &AnyStore,
    campaign: i64,
    config: &Config,
    output: Output,
) -> Result<(), Trouble> {
    let summary = store.status(campaign).await?.summary;
    if summary.state != CampaignState::Aborting || summary.running == 0 {
        return Ok(());
    }
    if let At::Database(_) = config.store {
        return Ok(());
    }
    if let Taken::Ours(_lock) = WorkerLock::take(&config.store.lock())? {
        output.note("no worker runs on this host: waiting for 36 s until the agents must have stopped");
        tokio::time::sleep(AGENTS_STOP).await;
        let by = Claimant { host: host::id(), worker: format!("abort by {}", who()) };
        store.recover(&by).await?;
    }
    Ok(())
}
