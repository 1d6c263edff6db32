//! Plays campaigns: the worker's own code over a simulated host and a real store in a real file, under tokio's clock.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use trimtab_controller::{
    campaign::{
        account::CampaignState,
        run::{Class, Wait},
        store::{Claimant, NewCampaign, Store, sqlite::SqliteStore},
        worker::{
            Settings, Worker,
            said::{Listener, Said},
        },
    },
    model::trouble::Trouble,
};

use super::{HOST, SimVms, World, frozen::Frozen};

/// The store of a simulation.
pub type SimStore = Frozen<SqliteStore>;

/// When the simulated night begins: 2026-01-05T22:00:00Z, a Monday, in microseconds since 1970.
pub const NIGHT: i64 = 1_767_650_400_000_000;

/// A turn as the worker told of it.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Whose.
    pub vm: String,
    /// Claimed.
    pub began: Instant,
    /// Handed in; `None` while it goes on.
    pub ended: Option<Instant>,
    /// How.
    pub how: Option<How>,
}

/// How a turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// The run is over.
    Ended(Class),
    /// It waits again.
    PutBack(Wait),
    /// It was another's.
    Dropped,
}

/// What the worker said.
#[derive(Debug, Default)]
pub struct Ear {
    turns: Mutex<Vec<Turn>>,
    words: Mutex<Vec<String>>,
}

impl Ear {
    /// Each turn, in the order of its begin.
    pub fn turns(&self) -> Vec<Turn> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything else.
    pub fn words(&self) -> Vec<String> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ended(&self, vm: &str, how: How) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.iter_mut().rev().find(|turn| turn.vm == vm && turn.ended.is_none()) {
            turn.ended = Some(Instant::now());
            turn.how = Some(how);
        }
    }
}

impl Listener for Ear {
    fn say(&self, said: Said<'_>) {
        match said {
            Said::Begins(claimed) => {
                let turn =
                    Turn { vm: claimed.vm.name.clone(), began: Instant::now(), ended: None, how: None };
                self.turns.lock().unwrap_or_else(PoisonError::into_inner).push(turn);
            }
            Said::Ended(claimed, result) => self.ended(&claimed.vm.name, How::Ended(result.class)),
            Said::PutBack(claimed, why, _) => self.ended(&claimed.vm.name, How::PutBack(why)),
            Said::Dropped(claimed) => self.ended(&claimed.vm.name, How::Dropped),
            Said::Turned(..) => {}
            other => self.words.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{other:?}")),
        }
    }
}

/// A simulated host with a store.
pub struct Play {
    /// Its VMs.
    pub world: Arc<World>,
    /// Its campaigns.
    pub store: Arc<SimStore>,
    /// What was said.
    pub ear: Arc<Ear>,
    workers: AtomicU32,
}

impl Play {
    /// A new store in this folder, whose clock is tokio's.
    ///
    /// # Errors
    /// The store cannot be made.
    pub async fn new(world: World, folder: &Path) -> Result<Self, Trouble> {
        let began = Instant::now();
        let clock =
            Arc::new(move || NIGHT + i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX - NIGHT));
        let store = SqliteStore::with_clock(&folder.join("trimtab.db"), clock).await?;
        Ok(Self {
            world: Arc::new(world),
            store: Arc::new(Frozen(Arc::new(store))),
            ear: Arc::new(Ear::default()),
            workers: AtomicU32::new(1),
        })
    }

    /// The worker of this host; each is a process of its own to the store.
    pub fn worker(&self) -> Worker<SimStore, SimVms> {
        Worker {
            store: Arc::clone(&self.store),
            vms: Arc::new(SimVms(Arc::clone(&self.world))),
            claimant: Claimant {
                host: HOST.to_owned(),
                worker: format!("worker {}", self.workers.fetch_add(1, Ordering::Relaxed)),
            },
            settings: Settings { io_pressure_percent: 0, ..Settings::default() },
            listener: self.ear.clone(),
        }
    }

    /// Starts a worker for all campaigns.
    pub fn start(&self) -> (JoinHandle<()>, watch::Sender<bool>) {
        let worker = self.worker();
        let (leave, leaves) = watch::channel(false);
        (tokio::spawn(async move { worker.work(leaves).await }), leave)
    }

    /// Applies a campaign and carries it out until it admits nothing any more; gives its number and how long it took.
    ///
    /// # Errors
    /// The store's.
    pub async fn carry(&self, campaign: &NewCampaign) -> Result<(i64, Duration), Trouble> {
        let id = self.store.apply(campaign).await?;
        let began = Instant::now();
        let (_keep, leaves) = watch::channel(false);
        self.worker().carry(id, "test", leaves).await?;
        Ok((id, began.elapsed()))
    }

    /// Waits until a campaign is in one of these states.
    ///
    /// # Errors
    /// The store's.
    pub async fn until(&self, campaign: i64, states: &[CampaignState]) -> Result<(), Trouble> {
        while !states.contains(&self.store.status(campaign).await?.summary.state) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }
}
