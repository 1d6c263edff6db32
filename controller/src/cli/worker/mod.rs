//! `trimtab worker`: a host's part in its campaigns, until SIGTERM. Also what `campaign apply --follow` is where no worker
//! runs.

mod metrics;
mod notify;
mod say;
mod vms;

use std::{future::pending, sync::Arc};

use super::{
    args::{Global, campaign::WorkerArgs},
    campaign::store,
    exit, interrupt,
    output::Output,
};
use crate::{
    campaign::{
        seen::SeenHost,
        store::{Claimant, Store, any::AnyStore},
        worker::{
            Settings, Worker,
            lock::{Taken, WorkerLock},
            publish::{Ended, Pace, Publisher},
            said::Listener,
        },
    },
    config::Config,
    host,
    model::trouble::{Kind, Trouble},
};
use vms::HostVms;

pub(super) async fn run(global: &Global, args: &WorkerArgs, output: &Output) -> Result<u8, Trouble> {
    let config = store::config(global, &args.store)?;
    let leave = interrupt::then_leave(notify::stopping)?;
    let store = Arc::new(store::to_write(&config).await?);
    let _lock = match WorkerLock::take(&config.store.lock())? {
        Taken::Ours(lock) => lock,
        Taken::Theirs { who } => {
            let text = format!("a worker carries the campaigns of this host out already ({who})");
            let trouble = Trouble::new(Kind::Busy, text)
                .hint("one is enough; trimtab campaign status shows what it does");
            output.failed("worker", &trouble);
            return Ok(exit::NOT_NOW);
        }
    };
    let ended = Ended::new(Arc::new(say::Lines));
    let listener: Arc<dyn Listener> = Arc::<Ended>::clone(&ended);
    let worker = worker(global, &config, Arc::clone(&store), listener);
    notify::ready();
    let publishing = publish(&store, &worker, &config, ended);
    let metrics = metrics::Metrics::new(Arc::clone(&store), config.metrics.clone());
    tokio::select! {
        () = worker.work(leave) => {}
        () = metrics.keep() => {}
        () = publishing => {}
    }
    // What came of those that were cancelled at the end.
    metrics.write().await;
    Ok(exit::OK)
}

/// Keeps what this host has current in a fleet's store; never ends.
async fn publish(store: &AnyStore, worker: &Worker<AnyStore, HostVms>, config: &Config, ended: Arc<Ended>) {
    let (Some(fleet), Some(lease)) = (store.fleet(), store.lease()) else { return pending().await };
    let about = SeenHost {
        name: host::name(),
        gates: config.gates.iter().map(|gate| gate.name.clone()).collect(),
        ..SeenHost::default()
    };
    let (sights, by) = (&*worker.vms, worker.claimant.clone());
    Publisher { fleet, sights, by, about, pace: Pace::within(lease), ended }.keep().await;
}

/// A worker of this host's VMs.
pub(super) fn worker(
    global: &Global,
    config: &Config,
    store: Arc<AnyStore>,
    listener: Arc<dyn Listener>,
) -> Worker<AnyStore, HostVms> {
    Worker {
        store,
        vms: Arc::new(HostVms::new(global.clone(), config.datastores.clone())),
        claimant: Claimant { host: host::id(), worker: uuid::Uuid::new_v4().to_string() },
        settings: Settings {
            gates: config.gates.clone(),
            io_pressure_percent: config.io_pressure_percent,
            ..Settings::default()
        },
        listener,
    }
}
