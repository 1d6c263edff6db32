//! One simulated VM: what it is scripted to do, and what its storage has come to. Pure arithmetic over tokio's clock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use trimtab_proto::words::StopReason;

use super::{
    log::{Entry, Log},
    run::{Active, Ended},
};

/// What a VM does when it is to be trimmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behaviour {
    /// It trims.
    Well,
    /// Its drive ignores discards, which its hypervisor says.
    Cut,
    /// It is off.
    Off,
    /// Nobody answers in it.
    NoAgent,
    /// Its agent takes calls and answers none, for so many of them.
    Silent(u32),
    /// It stops in the middle and says nothing more, for so many runs; what was done until then is done.
    Hangs(u32),
    /// FITRIM fails, for so many runs.
    Fails(u32),
    /// The connection breaks once in each run, and its agent goes on.
    Breaks,
    /// QEMU stops it on an I/O error in the middle of a trim.
    IoError,
    /// A backup holds it back for so long.
    Guarded(Duration),
    /// Its filesystem is found damaged.
    Damaged,
}

/// How a VM is made.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Unique.
    pub name: String,
    /// One disk on each.
    pub datastores: Vec<String>,
    /// What a trim frees, over all of its disks, in bytes.
    pub garbage_bytes: u64,
    /// What a trim's whole length writes meanwhile, in bytes.
    pub growth_bytes: u64,
    /// How long a whole trim takes.
    pub takes: Duration,
    /// How long each call to its agent takes.
    pub latency: Duration,
    /// What it does.
    pub behaviour: Behaviour,
    /// Nobody has trimmed it before.
    pub is_first: bool,
}

/// What each disk holds before the first trim, beside what a trim frees.
pub const KEPT_BYTES: u64 = 8 << 30;

/// A simulated VM.
#[derive(Debug)]
pub struct SimVm {
    /// How it was made.
    pub spec: Spec,
    pub(super) born: Instant,
    pub(super) changed: Notify,
    log: Arc<Log>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    /// What is there to free, and how far growth has eaten into what was freed.
    pub(super) garbage_bytes: u64,
    pub(super) freed_bytes: i64,
    pub(super) active: Option<Active>,
    pub(super) ended: HashMap<String, Ended>,
    pub(super) runs: u32,
    pub(super) calls: u32,
    pub(super) is_stopped: bool,
}

impl SimVm {
    /// One that has not been called yet.
    pub fn new(spec: Spec, log: Arc<Log>) -> Self {
        let state = State {
            garbage_bytes: spec.garbage_bytes,
            freed_bytes: 0,
            active: None,
            ended: HashMap::new(),
            runs: 0,
            calls: 0,
            is_stopped: false,
        };
        Self { spec, born: Instant::now(), changed: Notify::new(), log, state: Mutex::new(state) }
    }

    /// What came free since the beginning; growth is against it.
    pub fn freed_bytes(&self) -> i64 {
        self.now().freed()
    }

    /// How often its agent began to trim.
    pub fn runs(&self) -> u32 {
        self.now().runs
    }

    /// The state of this moment: what should have ended by now has.
    pub(super) fn now(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((at, why)) = state.active.as_ref().and_then(|run| run.over_at(now)) {
            self.close(&mut state, at, why);
        }
        state
    }

    /// Ends what runs, at this time and for this reason.
    pub(super) fn close(&self, state: &mut State, at: Instant, why: StopReason) {
        let Some(run) = state.active.take() else { return };
        let share = run.share(at);
        let (freed, grown) = (share.of(run.garbage_bytes), share.of(self.spec.growth_bytes));
        state.garbage_bytes = state.garbage_bytes.saturating_sub(freed);
        state.freed_bytes += signed(freed) - signed(grown);
        self.log.note(Entry {
            vm: self.spec.name.clone(),
            datastores: self.spec.datastores.clone(),
            began: run.began,
            ended: at,
            is_first: self.spec.is_first && state.runs == 1,
        });
        state.ended.insert(run.id.clone(), Ended { stop: why, sent_bytes: freed, took: at - run.began });
        self.changed.notify_waiters();
    }
}

impl State {
    /// What came free until this moment.
    pub(super) fn freed(&self) -> i64 {
        let now = self.active.as_ref().map_or(0, |run| {
            let share = run.share(Instant::now());
            signed(share.of(run.garbage_bytes)) - signed(share.of(run.growth_bytes))
        });
        self.freed_bytes + now
    }
}

pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
