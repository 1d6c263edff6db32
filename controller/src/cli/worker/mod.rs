//! `trimtab worker`: a host's part in its campaigns, until SIGTERM. Also what `campaign apply --follow` is where no worker
//! runs.

mod metrics;
mod notify;
mod say;
mod vms;

use std::{future::pending, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    args::{Global, campaign::WorkerArgs},
    campaign::store,
    exit, interrupt,
    output::Output,
};
use crate::{
    campaign::{
        seen::SeenHost,
        store::{Claimant, Store, any::AnyStore, at::At},
        worker::{
            Settings, Worker,
            lock::{Taken, WorkerLock},
            persist::Backoff,
            publish::{Ended, Pace, Publisher},
            said::{Listener, Said},
        },
    },
    config::Config,
    host,
    model::trouble::{Kind, Trouble},
};
use vms::HostVms;

/// A store that does not let a worker in is asked again after this at the latest.
const AGAIN: Duration = Duration::from_secs(30);

pub(super) async fn run(global: &Global, args: &WorkerArgs, output: &Output) -> Result<u8, Trouble> {
    let config = store::config(global, &args.store)?;
    let leave = interrupt::then_leave(notify::stopping)?;
    let lock = config.store.lock();
    if let (At::Database(_), Some(folder)) = (&config.store, lock.parent()) {
        // What is wrong with it is said of the lock.
        let _ = tokio::fs::create_dir_all(folder).await;
    }
    // A file is made before its lock is: that is how it becomes its folder's owner's.
    let opened = match &config.store {
        At::File(_) => Some(store::to_write(&config).await?),
        At::Database(_) => None,
    };
    let _lock = match WorkerLock::take(&lock)? {
        Taken::Ours(lock) => lock,
        Taken::Theirs { who } => {
            let text = format!("a worker carries the campaigns of this host out already ({who})");
            let trouble = Trouble::new(Kind::Busy, text)
                .hint("one is enough; trimtab campaign status shows what it does");
            output.failed("worker", &trouble);
            return Ok(exit::NOT_NOW);
        }
    };
    notify::ready();
    let opened = match opened {
        Some(store) => Some(store),
        None => reached(&config, leave.clone()).await?,
    };
    let Some(store) = opened.map(Arc::new) else { return Ok(exit::OK) };
    let ended = Ended::new(Arc::new(say::Lines));
    let listener: Arc<dyn Listener> = Arc::<Ended>::clone(&ended);
    let worker = worker(global, &config, Arc::clone(&store), listener);
    let publishing = publish(&store, &worker, &config, ended);
    let metrics = metrics::Metrics::new(Arc::clone(&store), worker.claimant.clone(), config.metrics.clone());
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

/// A fleet's store, once it lets this worker in; `None`: it was told to leave before. What is wrong is said once, and tried
/// again: a database that is away, and a role that an operator has still to make.
async fn reached(config: &Config, mut leave: watch::Receiver<bool>) -> Result<Option<AnyStore>, Trouble> {
    let mut backoff = Backoff::up_to(AGAIN);
    let mut said = None;
    loop {
        let trouble = tokio::select! {
            opened = store::to_write(config) => match opened {
                Ok(store) => break Ok(Some(store)),
                Err(trouble) if matches!(trouble.kind, Kind::Store | Kind::NoPermission) => trouble,
                Err(trouble) => break Err(trouble),
            },
            Ok(_) = leave.wait_for(|leave| *leave) => break Ok(None),
        };
        if said.as_ref() != Some(&trouble) {
            say::Lines.say(Said::StoreTrouble(&trouble));
            said = Some(trouble);
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.wait()) => {}
            Ok(_) = leave.wait_for(|leave| *leave) => break Ok(None),
        }
    }
    .inspect(|_| {
        if said.is_some() {
            say::Lines.say(Said::StoreBack);
        }
    })
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
