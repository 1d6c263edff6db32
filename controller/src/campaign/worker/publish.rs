//! Publishing: a worker of a fleet keeps what its host has current in the store, so that whoever plans sees it, and so that
//! a VM that came to this host brings its runs along.
//!
//! ```text
//! list ──every few seconds, no guest is asked──> roster ──what is different──> store
//! look ──each VM every half hour, and after its run; a few at a time──┘
//! ```
//!
//! It never takes part in a run, and nothing waits for it: a store that does not answer is told again later.

mod roster;

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use self::roster::Roster;
use super::said::{Listener, Said};
use crate::{
    campaign::{
        plan::assess::assess,
        seen::SeenHost,
        store::{
            Claimant,
            fleet::{Fleet, News},
        },
    },
    config::datastores::DatastoreNames,
    model::{trouble::Trouble, vm::Vm},
    trim::look::Look,
};

/// A hypervisor that does not list its VMs in this time is asked again.
const LIST_WITHIN: Duration = Duration::from_secs(30);

/// How a host publishes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two words to the store: well within a lease.
    pub every: Duration,
    /// A VM is looked at anew after this.
    pub look_after: Duration,
    /// Guests that are asked at a time.
    pub at_once: usize,
}

impl Pace {
    /// For a store with this lease: four words in each, a look every half hour.
    pub fn within(lease: Duration) -> Self {
        let quarter = lease.checked_div(4).unwrap_or_default();
        Self {
            every: quarter.clamp(Duration::from_millis(250), Duration::from_secs(15)),
            look_after: Duration::from_secs(1800),
            at_once: 4,
        }
    }
}

/// How a host sees its VMs.
pub trait Sights: Send + Sync {
    /// All that are known; no guest is asked.
    fn list(&self) -> impl Future<Output = Result<Vec<Vm>, Trouble>> + Send;
    /// A look at one, as a survey's.
    fn look(&self, vm: &Vm) -> impl Future<Output = Result<Look, Trouble>> + Send;
    /// What datastores are called.
    fn names(&self) -> &DatastoreNames;
}

/// VMs whose runs have ended, and whether the store answers the worker: hears what that says, and hands it on.
pub struct Ended {
    listener: Arc<dyn Listener>,
    names: Mutex<BTreeSet<String>>,
    news: Notify,
    answers: AtomicU64,
}

impl Ended {
    /// Hands on to `listener`.
    pub fn new(listener: Arc<dyn Listener>) -> Arc<Self> {
        Arc::new(Self { listener, names: Mutex::default(), news: Notify::new(), answers: AtomicU64::new(0) })
    }

    fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Listener for Ended {
    fn say(&self, said: Said<'_>) {
        if let Said::Ended(claimed, _) = &said {
            self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(claimed.vm.name.clone());
            self.news.notify_one();
        }
        self.listener.say(said);
    }

    fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.listener.answered();
    }
}

/// What is said of words that the store does not take. That it does not answer at all is the worker's to say: only what it
/// refuses while it answers that is said here.
#[derive(Default)]
struct Complaint {
    /// The answers that the worker had had when the store failed first.
    failed_at: Option<u64>,
    said: Option<String>,
}

impl Complaint {
    /// What is to be said now, after this word. `before`, `after`: the answers that the worker had had then.
    fn about<'a>(&mut self, told: &'a Result<(), Trouble>, before: u64, after: u64) -> Option<Said<'a>> {
        match told {
            Ok(()) => {
                self.failed_at = None;
                self.said.take().map(|_| Said::Published)
            }
            Err(trouble) => {
                let failed_at = *self.failed_at.get_or_insert(after);
                // The store has answered since, and even so takes no word that was begun after that.
                let is_news = before > failed_at && self.said.as_ref() != Some(&trouble.text);
                is_news.then(|| {
                    self.said = Some(trouble.text.clone());
                    Said::Unpublished(trouble)
                })
            }
        }
    }
}

/// Keeps what this host has current.
pub struct Publisher<'a, F, S> {
    /// Where.
    pub fleet: &'a F,
    /// The host's VMs.
    pub sights: &'a S,
    /// Who publishes.
    pub by: Claimant,
    /// What the host is called, and its gates.
    pub about: SeenHost,
    /// How often.
    pub pace: Pace,
    /// Whose runs have ended; who is told of trouble.
    pub ended: Arc<Ended>,
}

impl<F: Fleet, S: Sights> Publisher<'_, F, S> {
    /// Publishes for as long as it is polled.
    pub async fn keep(&self) {
        let mut roster = Roster::new(self.about.clone());
        let mut listed: Option<Instant> = None;
        let mut complaint = Complaint::default();
        loop {
            if listed.is_none_or(|at| at.elapsed() >= self.pace.every) {
                listed = Some(Instant::now());
                // What cannot be listed now is as it was.
                if let Ok(Ok(vms)) = timeout(LIST_WITHIN, self.sights.list()).await {
                    roster.list(vms);
                }
            }
            let before = self.ended.answers.load(Ordering::Relaxed);
            let told = self.tell(&mut roster).await;
            let after = self.ended.answers.load(Ordering::Relaxed);
            if let Some(said) = complaint.about(&told, before, after) {
                self.ended.listener.say(said);
            }
            self.ended.take().iter().for_each(|name| roster.changed(name));
            if !self.look(&mut roster).await {
                let rest = self.pace.every.saturating_sub(listed.map_or(Duration::ZERO, |at| at.elapsed()));
                // At its end, or when a run has ended.
                drop(timeout(rest, self.ended.news.notified()).await);
            }
        }
    }

    /// Tells the store what is different; where that has something else, all.
    async fn tell(&self, roster: &mut Roster) -> Result<(), Trouble> {
        for _ in 0..2 {
            let news: News = roster.news();
            match self.fleet.publish(&self.by, &news).await {
                Ok(Some(revision)) => {
                    roster.told(news, revision);
                    return Ok(());
                }
                Ok(None) => roster.forget_told(),
                Err(trouble) => {
                    // It may have been kept, and its answer lost.
                    roster.forget_told();
                    return Err(trouble);
                }
            }
        }
        Ok(())
    }

    /// Looks at a few VMs whose turn it is; whether there were any.
    async fn look(&self, roster: &mut Roster) -> bool {
        let due = roster.due(self.pace.at_once, self.pace.look_after, Instant::now());
        let looks = due.iter().map(|vm| async move {
            assess(&self.by.host, vm, &self.sights.look(vm).await, self.sights.names())
        });
        let seen = futures_util::future::join_all(looks).await;
        for (vm, datastores) in seen {
            roster.seen(vm, datastores, Instant::now());
        }
        !due.is_empty()
    }
}

#[cfg(test)]
mod tests;
