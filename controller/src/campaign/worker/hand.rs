//! What a worker has in hand: its runs, how long ago the store has renewed each, and whether it stands for its host. Shared
//! by the loop that claims, the heartbeat and the runs themselves; no lock is held over a wait.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, watch},
    task::Id,
};

use super::{
    ending::Ending,
    lease::{Lease, Moment},
    stop::{Stop, Switch},
};
use crate::campaign::run::{Claimed, Instruction};

/// Answers that are remembered, in case the store forgets them: those of the last minutes.
const REMEMBERED: usize = 256;

/// One worker's.
pub(super) struct Hand {
    pub(super) lease: Lease,
    state: Mutex<State>,
    /// A heartbeat is wanted now.
    pub(super) beat: Notify,
    /// Changes with each heartbeat that was answered.
    answered: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    stands: bool,
    held: Option<String>,
    running: HashMap<i64, Running>,
    told: VecDeque<(Claimed, Ending)>,
}

struct Running {
    fence: u64,
    switch: Arc<Switch>,
    task: Option<Id>,
    renewed: Moment,
}

impl Hand {
    pub(super) fn new(lease: Lease) -> Self {
        Self { lease, state: Mutex::default(), beat: Notify::new(), answered: watch::Sender::new(()) }
    }

    /// Whether the store has taken this worker for its host's.
    pub(super) fn stands(&self) -> bool {
        self.state().stands
    }

    /// It does from now on.
    pub(super) fn stand(&self) {
        self.state().stands = true;
        self.beat.notify_one();
    }

    /// It does no more: another one has all that it had.
    pub(super) fn step_down(&self) {
        let mut state = self.state();
        state.stands = false;
        state.running.values().for_each(|one| one.switch.stop(Stop::Gone));
        drop(state);
        self.answered.send_replace(());
    }

    /// What keeps it from admitting.
    pub(super) fn held(&self) -> Option<String> {
        self.state().held.clone()
    }

    /// Whether that is something else than before.
    pub(super) fn hold(&self, held: Option<&str>) -> bool {
        let mut state = self.state();
        let is_news = state.held.as_deref() != held;
        state.held = held.map(str::to_owned);
        is_news
    }

    /// Takes a run on that was claimed after `asked`.
    pub(super) fn take(&self, claimed: &Claimed, asked: Moment) -> Arc<Switch> {
        let switch = Arc::new(Switch::new());
        let mut state = self.state();
        if !state.running.is_empty() {
            switch.has_company();
        }
        state.running.values().for_each(|other| other.switch.has_company());
        let running =
            Running { fence: claimed.fence, switch: Arc::clone(&switch), task: None, renewed: asked };
        // The store took it back meanwhile, and has handed it out anew: its former turn here is over.
        if let Some(former) = state.running.insert(claimed.run, running) {
            former.switch.stop(Stop::Gone);
        }
        switch
    }

    /// Which task carries a run out.
    pub(super) fn carries(&self, run: i64, fence: u64, task: Id) {
        let mut state = self.state();
        if let Some(running) = state.running.get_mut(&run).filter(|running| running.fence == fence) {
            running.task = Some(task);
        }
    }

    /// That task is over.
    pub(super) fn over(&self, task: Id) {
        self.state().running.retain(|_, running| running.task != Some(task));
    }

    /// What a heartbeat says.
    pub(super) fn stages(&self) -> Vec<(i64, u64, String)> {
        let state = self.state();
        state.running.iter().map(|(run, one)| (*run, one.fence, one.switch.stage())).collect()
    }

    /// Does what the store answered to a heartbeat that began at `asked`.
    pub(super) fn obey(&self, told: &[(i64, Instruction)], said: &[(i64, u64, String)], asked: Moment) {
        let mut state = self.state();
        for (run, instruction) in told {
            let fence = said.iter().find(|(number, ..)| number == run).map(|(_, fence, _)| *fence);
            let Some(one) = state.running.get_mut(run).filter(|one| Some(one.fence) == fence) else {
                continue;
            };
            match instruction {
                Instruction::Keep => one.renewed = asked,
                Instruction::Cancel => {
                    one.renewed = asked;
                    one.switch.stop(Stop::Ordered);
                }
                Instruction::Gone => one.switch.stop(Stop::Gone),
            }
        }
        drop(state);
        self.answered.send_replace(());
    }

    /// Cancels all.
    pub(super) fn stop(&self, why: Stop) {
        self.state().running.values().for_each(|one| one.switch.stop(why));
    }

    /// Cancels what was not renewed for too long; says how many those are.
    pub(super) fn give_up(&self) -> usize {
        let state = self.state();
        let lost = state.running.values().filter(|one| self.lease.is_running_out(one.renewed));
        let lost = lost.filter(|one| one.switch.stopped() < Some(Stop::Lost));
        lost.map(|one| one.switch.stop(Stop::Lost)).count()
    }

    /// Waits until the store has said since this run's lease was over whose it is.
    pub(super) async fn is_known(&self, run: i64, fence: u64) {
        let mut answered = self.answered.subscribe();
        loop {
            let is_known = {
                let state = self.state();
                let one = state.running.get(&run).filter(|one| one.fence == fence);
                one.is_none_or(|one| {
                    one.switch.stopped() == Some(Stop::Gone) || !self.lease.is_over(one.renewed)
                })
            };
            // The sender lives as long as this.
            if is_known || answered.changed().await.is_err() {
                return;
            }
        }
    }

    /// Remembers what the store has taken.
    pub(super) fn remember(&self, claimed: &Claimed, ending: &Ending) {
        if self.lease == Lease::new(None) {
            return;
        }
        let mut state = self.state();
        state.told.push_back((claimed.clone(), ending.clone()));
        if state.told.len() > REMEMBERED {
            state.told.pop_front();
        }
    }

    /// What the store has taken.
    pub(super) fn told(&self) -> Vec<(Claimed, Ending)> {
        self.state().told.iter().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
