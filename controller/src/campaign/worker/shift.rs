//! The loop of a worker: it claims while there is room, and otherwise sleeps until something ends, an order comes, a
//! heartbeat is due, a time is reached or it is to leave.

use std::{collections::HashMap, future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};

use super::{
    Worker,
    gates::{Answer, Gates},
    one::One,
    persist::Persist,
    said::Said,
    stop::{Stop, Switch},
    vms::Vms,
};
use crate::campaign::{
    run::{Claimed, Instruction},
    store::{Active, Claim, Store},
};

/// A closed gate is asked again after this; so is a store that did not answer.
const AGAIN: Duration = Duration::from_secs(10);

/// A time that the store said to wait for is the store's: its clock may be set meanwhile, so it is asked again after this.
const CLOCKS_ARE_SET: Duration = Duration::from_secs(30);

/// Told at its end, so that nobody waits for it.
const ENDED: &str = "its worker has ended: systemctl start trimtab-worker";

/// What a worker has in hand.
pub(super) struct Shift<'a, S, V> {
    worker: &'a Worker<S, V>,
    /// Only this campaign.
    only: Option<i64>,
    persist: Persist,
    gates: Gates,
    /// What runs, by the store's number.
    running: HashMap<i64, Running>,
    tasks: JoinSet<()>,
    /// What keeps it from admitting.
    held: Option<String>,
    /// The newest line of the history that it has acted on.
    seen: Option<i64>,
    /// When to claim again at the latest.
    next: Option<Instant>,
}

/// A run in hand.
struct Running {
    fence: u64,
    switch: Arc<Switch>,
    task: Id,
}

/// What a look at the campaigns found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Something is active, or may be again.
    Work,
    /// The one campaign that is carried out admits nothing any more.
    NoMore,
}

impl<'a, S: Store + 'static, V: Vms> Shift<'a, S, V> {
    pub(super) fn new(worker: &'a Worker<S, V>, only: Option<i64>) -> Self {
        Self {
            worker,
            only,
            persist: Persist::new(Arc::clone(&worker.listener)),
            gates: Gates::new(worker.settings.clone()),
            running: HashMap::new(),
            tasks: JoinSet::new(),
            held: None,
            seen: None,
            next: None,
        }
    }

    /// Works until `leave` becomes true; where one campaign alone is carried out, until that is over.
    pub(super) async fn work(mut self, mut leave: watch::Receiver<bool>) {
        let Worker { store, claimant, settings, listener, .. } = self.worker;
        let recovered = tokio::select! {
            recovered = self.persist.until_answered(|| store.recover(claimant)) => recovered,
            () = becomes_true(&mut leave) => return,
        };
        if let Ok(runs @ 1..) = recovered {
            listener.say(Said::Recovered(runs));
        }
        let mut heartbeat = ticks(settings.heartbeat);
        let mut look = ticks(settings.look);
        let mut found = self.admit(&leave).await;
        self.beat().await;
        while found == Found::Work || !self.tasks.is_empty() {
            let next = self.next;
            tokio::select! {
                () = becomes_true(&mut leave) => return self.leave().await,
                Some(ended) = self.tasks.join_next_with_id() => {
                    self.over(ended);
                    found = self.admit(&leave).await;
                }
                _ = heartbeat.tick() => self.beat().await,
                _ = look.tick() => if self.is_news().await {
                    self.beat().await;
                    found = self.admit(&leave).await;
                },
                () = self.gates.answered() => found = self.admit(&leave).await,
                () = reached(next) => found = self.admit(&leave).await,
            }
        }
    }

    /// Claims as long as there is room.
    async fn admit(&mut self, leave: &watch::Receiver<bool>) -> Found {
        self.next = None;
        let worker = self.worker;
        let Ok(mut active) = self.persist.read(worker.store.active(&worker.claimant)).await else {
            self.again_after(AGAIN);
            return Found::Work;
        };
        active.retain(|one| self.only.is_none_or(|only| one.campaign == only));
        let found = if self.only.is_some() && active.is_empty() { Found::NoMore } else { Found::Work };
        let mut held = None;
        for Active { campaign, gates, .. } in active.into_iter().filter(|one| one.has_waiting) {
            while !*leave.borrow() {
                match self.gates.answer(&gates) {
                    Answer::Open => {}
                    Answer::Asked => {
                        held = held.or(self.held.clone());
                        break;
                    }
                    Answer::Closed(why) => {
                        held = held.or(Some(why));
                        self.again_after(AGAIN);
                        break;
                    }
                }
                let claim = worker.store.claim(campaign, &worker.claimant);
                match self.persist.write_if(claim, |claim| matches!(claim, Claim::Run(_))).await {
                    Ok(Claim::Run(claimed)) => self.begin(*claimed),
                    Ok(Claim::Nothing { next, .. }) => {
                        if let Some(next) = next {
                            self.again_after(next.min(CLOCKS_ARE_SET));
                        }
                        break;
                    }
                    Ok(Claim::Empty) => break,
                    Err(_) => {
                        self.again_after(AGAIN);
                        break;
                    }
                }
            }
        }
        self.hold(held);
        // What was written meanwhile, by this worker too, was acted on.
        if let Ok(newest) = self.persist.read(worker.store.newest()).await {
            self.seen = Some(newest);
        }
        found
    }

    fn begin(&mut self, claimed: Claimed) {
        let switch = Arc::new(Switch::new());
        if !self.running.is_empty() {
            switch.has_company();
        }
        self.running.values().for_each(|other| other.switch.has_company());
        let (run, fence) = (claimed.run, claimed.fence);
        let Worker { store, vms, listener, .. } = self.worker;
        let one = One {
            claimed,
            store: Arc::clone(store),
            vms: Arc::clone(vms),
            persist: self.persist.clone(),
            listener: Arc::clone(listener),
            switch: Arc::clone(&switch),
        };
        let task = self.tasks.spawn(one.carry_out()).id();
        self.running.insert(run, Running { fence, switch, task });
    }

    /// One that panicked beside its turn has left its run to the store, as a worker does that dies: the next one recovers
    /// it.
    fn over(&mut self, ended: Result<(Id, ()), JoinError>) {
        let task = ended.map_or_else(|error| error.id(), |(task, ())| task);
        self.running.retain(|_, running| running.task != task);
    }

    /// Says what runs here, and does what the store says of each.
    async fn beat(&mut self) {
        let stages: Vec<(i64, u64, String)> =
            self.running.iter().map(|(run, one)| (*run, one.fence, one.switch.stage())).collect();
        let Worker { store, claimant, .. } = self.worker;
        let told = self.persist.write(store.heartbeat(claimant, self.held.as_deref(), &stages)).await;
        for (run, instruction) in told.unwrap_or_default() {
            let Some(Running { switch, .. }) = self.running.get(&run) else { continue };
            match instruction {
                Instruction::Keep => {}
                Instruction::Cancel => switch.stop(Stop::Ordered),
                Instruction::Gone => switch.stop(Stop::Gone),
            }
        }
    }

    /// Whether somebody has ordered or applied anything since.
    async fn is_news(&mut self) -> bool {
        match self.persist.read(self.worker.store.newest()).await {
            Ok(newest) => self.seen != Some(newest),
            Err(_) => false,
        }
    }

    /// Cancels what runs, and waits for its account.
    async fn leave(mut self) {
        self.running.values().for_each(|one| one.switch.stop(Stop::Leaving));
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // What is not done by then is recovered by the next worker: the agents stop when nobody listens.
        drop(timeout(self.worker.settings.leave_within, all).await);
        let Worker { store, claimant, .. } = self.worker;
        // Who is not told sees it by its silence.
        drop(self.persist.write(store.heartbeat(claimant, Some(ENDED), &[])).await);
    }

    fn hold(&mut self, held: Option<String>) {
        if self.held == held {
            return;
        }
        match &held {
            Some(why) => self.worker.listener.say(Said::Held(why)),
            None => self.worker.listener.say(Said::Free),
        }
        self.held = held;
    }

    fn again_after(&mut self, wait: Duration) {
        let at = Instant::now().checked_add(wait);
        self.next = [self.next, at].into_iter().flatten().min();
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let first = Instant::now().checked_add(every).unwrap_or_else(Instant::now);
    let mut ticks = interval_at(first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Ends when it is to leave; never, when who may say so has gone.
async fn becomes_true(leave: &mut watch::Receiver<bool>) {
    if leave.wait_for(|leave| *leave).await.is_err() {
        pending::<()>().await;
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
