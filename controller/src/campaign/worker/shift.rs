//! The loop of a worker: it claims while there is room, and otherwise sleeps until something ends, an order comes, a
//! heartbeat is due, a time is reached or it is to leave.

use std::{collections::BTreeMap, future::pending, mem, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Settings, Worker,
    gates::{Answer, Gates},
    hand::Hand,
    lease::{Lease, Moment},
    one::{One, tell_again},
    persist::{Backoff, Persist, is_of_the_store},
    pulse::Pulse,
    said::Said,
    stop::Stop,
    vms::Vms,
};
use crate::{
    campaign::{
        run::{Claimed, Counted},
        store::{Active, Claim, Latest, Store},
    },
    model::trouble::Kind,
};

/// Of a second, for each look of any worker: a hundred a second are what a database answers in passing.
const LOOK: Duration = Duration::from_millis(10);

/// A closed gate is asked again after this; so is a store that did not answer.
const AGAIN: Duration = Duration::from_secs(10);

/// A time that the store said to wait for is the store's: its clock may be set meanwhile, so it is asked again after this.
const CLOCKS_ARE_SET: Duration = Duration::from_secs(30);

/// Told at its end, so that nobody waits for it.
const ENDED: &str = "its worker has ended: systemctl start trimtab-worker";

/// Where another worker stands for this host, this one waits until it has gone.
const ONE_EACH: &str = "another worker stands for this host in the store; this one waits until it has ended";

/// The loop and what it goes by.
pub(super) struct Shift<'a, S, V> {
    worker: &'a Worker<S, V>,
    /// Only this campaign.
    only: Option<i64>,
    persist: Persist,
    gates: Gates,
    hand: Arc<Hand>,
    tasks: JoinSet<()>,
    /// What the last look found. All that it tells of was acted on.
    seen: Option<Latest>,
    /// The campaigns of which a free place is left to other hosts, and until when.
    yielded: BTreeMap<i64, Instant>,
    /// When to claim again at the latest.
    next: Option<Instant>,
    /// Of the store that knows all that it was told.
    epoch: u64,
    /// Until it stands for its host.
    patience: Backoff,
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
            hand: Arc::new(Hand::new(Lease::new(worker.store.lease()))),
            tasks: JoinSet::new(),
            seen: None,
            yielded: BTreeMap::new(),
            next: None,
            epoch: worker.store.epoch(),
            patience: Backoff::up_to(AGAIN),
        }
    }

    /// Works until `leave` becomes true; where one campaign alone is carried out, until that is over.
    pub(super) async fn work(mut self, mut leave: watch::Receiver<bool>) {
        let Worker { store, claimant, .. } = self.worker;
        let (persist, hand) = (self.persist.clone(), Arc::clone(&self.hand));
        let pulse = self.pulse();
        let left = tokio::select! {
            left = self.until_it_leaves(&mut leave) => left,
            never = pulse.beat() => match never {},
            never = pulse.watch() => match never {},
        };
        if left && hand.stands() {
            // Who is not told sees it by its silence.
            drop(persist.write(store.heartbeat(claimant, Some(ENDED), &[])).await);
            drop(persist.write(store.leave(claimant)).await);
        }
    }

    fn pulse(&self) -> Pulse<'a, S, V> {
        Pulse { worker: self.worker, hand: Arc::clone(&self.hand), persist: self.persist.clone() }
    }

    /// Says whether it was told to leave, and not at its end.
    async fn until_it_leaves(&mut self, leave: &mut watch::Receiver<bool>) -> bool {
        let mut look = after(self.worker.settings.look);
        let mut found = self.admit(leave).await;
        self.hand.beat.notify_one();
        while found == Found::Work || !self.tasks.is_empty() {
            let next = self.next;
            tokio::select! {
                () = becomes_true(leave) => {
                    self.end_what_runs().await;
                    return true;
                }
                Some(ended) = self.tasks.join_next_with_id() => {
                    self.over(ended);
                    found = self.admit(leave).await;
                }
                () = reached(look) => {
                    if self.is_news().await {
                        found = self.admit(leave).await;
                    }
                    look = after(self.look_every());
                }
                () = self.gates.answered() => found = self.admit(leave).await,
                () = reached(next) => found = self.admit(leave).await,
            }
        }
        false
    }

    /// Has the store take this worker for its host's, with all that those before it have left.
    async fn stand(&mut self) -> bool {
        let Worker { store, claimant, listener, .. } = self.worker;
        match self.persist.write(store.recover(claimant)).await {
            Ok(runs) => {
                if runs > 0 {
                    listener.say(Said::Recovered(runs));
                }
                self.patience = Backoff::up_to(AGAIN);
                self.hand.stand();
                return true;
            }
            Err(trouble) if trouble.kind == Kind::Busy => self.hold(Some(ONE_EACH)),
            Err(_) => {}
        }
        let wait = self.patience.wait();
        self.again_after(wait);
        false
    }

    /// Claims as long as there is room.
    async fn admit(&mut self, leave: &watch::Receiver<bool>) -> Found {
        self.next = None;
        if !self.hand.stands() && !self.stand().await {
            return Found::Work;
        }
        let worker = self.worker;
        let Ok(mut active) = self.persist.read(worker.store.active(&worker.claimant)).await else {
            self.again_after(AGAIN);
            return Found::Work;
        };
        active.retain(|one| self.only.is_none_or(|only| one.campaign == only));
        if active.iter().any(|one| one.cancels) {
            self.hand.beat.notify_one();
        }
        let found = if self.only.is_some() && active.is_empty() { Found::NoMore } else { Found::Work };
        let mut held = None;
        let yielded = mem::take(&mut self.yielded);
        for Active { campaign, is_full, yields, gates, .. } in
            active.into_iter().filter(|one| one.has_waiting)
        {
            while !*leave.borrow() {
                match self.gates.answer(&gates) {
                    Answer::Open => {}
                    Answer::Asked => {
                        held = held.or(self.hand.held());
                        break;
                    }
                    Answer::Closed(why) => {
                        held = held.or(Some(why));
                        self.again_after(AGAIN);
                        break;
                    }
                }
                if is_full || (yields && self.leaves_a_place(campaign, yielded.get(&campaign).copied())) {
                    break;
                }
                let asked = Moment::now();
                let claim = worker.store.claim(campaign, &worker.claimant);
                match self.persist.write_if(claim, |claim| matches!(claim, Claim::Run(_))).await {
                    Ok(Claim::Run(claimed)) => {
                        self.begin(*claimed, asked);
                        if yields {
                            break;
                        }
                    }
                    Ok(Claim::Nothing { next, .. }) => {
                        if let Some(next) = next {
                            self.again_after(next.min(CLOCKS_ARE_SET));
                        }
                        break;
                    }
                    Ok(Claim::Empty) => break,
                    Err(trouble) if trouble.kind == Kind::Busy => {
                        self.hand.step_down();
                        self.again_after(AGAIN);
                        break;
                    }
                    Err(_) => {
                        self.again_after(AGAIN);
                        break;
                    }
                }
            }
        }
        self.hold(held.as_deref());
        found
    }

    /// Whether a place that is free is other hosts' still: until the look after the one that found it so first.
    fn leaves_a_place(&mut self, campaign: i64, until: Option<Instant>) -> bool {
        let Some(until) = until.or_else(|| after(self.look_every())) else { return false };
        if until <= Instant::now() {
            return false;
        }
        self.yielded.insert(campaign, until);
        self.again_at(until);
        true
    }

    fn begin(&mut self, claimed: Claimed, asked: Moment) {
        let (run, fence) = (claimed.run, claimed.fence);
        let Worker { store, vms, listener, .. } = self.worker;
        let one = One {
            switch: self.hand.take(&claimed, asked),
            claimed,
            store: Arc::clone(store),
            vms: Arc::clone(vms),
            persist: self.persist.clone(),
            listener: Arc::clone(listener),
            hand: Arc::clone(&self.hand),
        };
        let task = self.tasks.spawn(one.carry_out()).id();
        self.hand.carries(run, fence, task);
    }

    /// One that panicked beside its turn has left its run to the store, as a worker does that dies: the next one recovers
    /// it.
    fn over(&self, ended: Result<(Id, ()), JoinError>) {
        self.hand.over(ended.map_or_else(|error| error.id(), |(task, ())| task));
    }

    /// Whether anything was ordered, applied or ended since the last look, by this worker too.
    async fn is_news(&mut self) -> bool {
        let Ok(latest) = self.persist.read(self.worker.store.latest()).await else { return false };
        let is_other = self.seen.replace(latest).is_none_or(|seen| seen.newest != latest.newest);
        self.tell_again().await || is_other
    }

    /// The more workers there are, the less often each looks; at least as often as its heart beats.
    fn look_every(&self) -> Duration {
        let Settings { look, heartbeat, .. } = self.worker.settings;
        let workers = self.seen.map_or(1, |seen| seen.workers);
        LOOK.saturating_mul(workers).min(self.hand.lease.heartbeat(heartbeat)).max(look)
    }

    /// Where the store may have been put back to an earlier state, it is told once more what it took from this worker, the
    /// oldest first; what it still knows it does not count again. Whether that was so.
    async fn tell_again(&mut self) -> bool {
        let epoch = self.worker.store.epoch();
        if epoch == self.epoch {
            return false;
        }
        let mut again = 0_usize;
        for (claimed, ending) in self.hand.told() {
            let told = self.persist.write(tell_again(&*self.worker.store, &claimed, &ending)).await;
            if told.as_ref().is_err_and(is_of_the_store) {
                // With the next look.
                return false;
            }
            again = again.saturating_add(usize::from(told == Ok(Counted::Counted)));
        }
        if again > 0 {
            self.worker.listener.say(Said::ToldAgain(again));
        }
        self.worker.store.is_told(epoch);
        self.epoch = epoch;
        // What runs here waits there, and would be claimed a second time.
        self.pulse().once().await;
        true
    }

    /// Cancels what runs, and waits for its account.
    async fn end_what_runs(&mut self) {
        self.hand.stop(Stop::Leaving);
        let within = self.worker.settings.leave_within;
        let look = self.worker.settings.look;
        let all = async {
            while !self.tasks.is_empty() {
                tokio::select! {
                    Some(ended) = self.tasks.join_next_with_id() => self.over(ended),
                    // A store that was started anew takes nothing before.
                    () = sleep(look) => { self.tell_again().await; }
                }
            }
        };
        // What is not done by then is recovered by the next worker: the agents stop when nobody listens.
        drop(timeout(within, all).await);
    }

    fn hold(&self, held: Option<&str>) {
        if self.hand.hold(held) {
            self.worker.listener.say(held.map_or(Said::Free, Said::Held));
        }
    }

    fn again_after(&mut self, wait: Duration) {
        if let Some(at) = after(wait) {
            self.again_at(at);
        }
    }

    fn again_at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

fn after(wait: Duration) -> Option<Instant> {
    Instant::now().checked_add(wait)
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
