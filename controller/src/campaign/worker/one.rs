//! One claimed run: its turn, and what the store is told of it.

use std::{
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{
    ending::{Ending, Over},
    hand::Hand,
    lease::Moment,
    persist::{Persist, chance},
    said::{Listener, Said},
    stop::{Stop, Switch},
    vms::{ReachedBy, Vms},
};
use crate::{
    campaign::{
        plan::assess::known,
        run::{Baseline, Claimed, Counted, DiskResult, Instruction},
        store::Store,
    },
    ledger::verdict::Verdict,
    model::trouble::{Kind, Trouble},
    trim::{
        event::TurnEvent,
        look::Look,
        options::TrimOptions,
        outcome::TurnOutcome,
        resume::{Caller, Ticket, lost},
        turn::turn_for,
        wish::Wish,
    },
};

/// For an agent to notice that nobody listens, and between two looks at whether this process runs.
const MOMENT: Duration = Duration::from_secs(1);

/// A run and all that its turn needs.
pub(super) struct One<S, V> {
    pub(super) claimed: Claimed,
    pub(super) store: Arc<S>,
    pub(super) vms: Arc<V>,
    pub(super) persist: Persist,
    pub(super) listener: Arc<dyn Listener>,
    pub(super) switch: Arc<Switch>,
    pub(super) hand: Arc<Hand>,
}

impl<S: Store, V: Vms> One<S, V> {
    /// Has its turn, and tells the store; returns when the store has taken it.
    pub(super) async fn carry_out(self) {
        self.listener.say(Said::Begins(&self.claimed));
        let began = Instant::now();
        let reached = self.vms.reach(&self.claimed.vm).await;
        let keeper = Keeper { one: &self, kept: Mutex::new(None) };
        let turn = match &reached {
            Ok(reached) => self.turn_within_the_window(&keeper, reached).await,
            Err(trouble) => Err(trouble.clone()),
        };
        self.listener.say(Said::Turned(&self.claimed.vm, &turn));
        let is_unknown =
            turn.as_ref().is_ok_and(|outcome| outcome.run.is_none() && outcome.trouble.is_some());
        if is_unknown {
            // Its guest may go on alone for so long; until then it has its place under every cap.
            tokio::time::sleep(TrimOptions::default().linger.saturating_add(MOMENT)).await;
        }
        let earlier = self.claimed.baseline.clone();
        let baseline = match (is_unknown, &turn) {
            (true, _) => keeper.kept().or(earlier),
            // Nothing was begun by this claim: what is gone since its own baseline others have freed.
            (false, Err(_)) => earlier,
            (false, Ok(_)) => None,
        };
        let lost = match (&reached, baseline) {
            (Ok(reached), Some(baseline)) => self.lost(reached, &baseline).await,
            _ => Vec::new(),
        };
        let over = Over {
            claimed: &self.claimed,
            turn: &turn,
            stop: self.switch.stopped(),
            was_held_up: self.switch.was_held_up(),
            took: began.elapsed(),
            lost,
            lease: self.hand.lease.whole(),
            chance: chance(),
        };
        let ending = over.ending(|datastore| self.vms.identity(datastore));
        self.hand.is_known(self.claimed.run, self.claimed.fence).await;
        self.tell(&ending).await;
    }

    async fn turn_within_the_window(
        &self,
        keeper: &Keeper<'_, S, V>,
        reached: &ReachedBy<V>,
    ) -> Result<TurnOutcome, Trouble> {
        let listener = |event: TurnEvent| {
            if let TurnEvent::Stage(stage) = event {
                self.switch.at(stage.as_str());
            }
        };
        let claimed = &self.claimed;
        let ticket = Ticket {
            run_id: claimed.agent_run_id.clone(),
            fence: claimed.fence,
            baseline: claimed.baseline.clone(),
        };
        let options = TrimOptions {
            pace: claimed.limits.pace,
            deadline: Duration::from_secs(claimed.limits.deadline_secs.max(1)),
            ..TrimOptions::default()
        };
        let parts = reached.parts();
        let turn = turn_for(keeper, ticket, &parts, &options, &listener, self.switch.wishes());
        let mut turn = std::pin::pin!(AssertUnwindSafe(turn).catch_unwind());
        let closes = async {
            match claimed.remaining {
                Some(remaining) => tokio::time::sleep(remaining).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            biased;
            never = self.watch_for_a_hold_up() => never,
            ended = &mut turn => ended,
            () = closes => {
                self.switch.stop(Stop::Window);
                turn.await
            }
        };
        ended.unwrap_or_else(|_| {
            // The panic's own message is already on stderr.
            Err(Trouble::new(Kind::Internal, "this VM's turn ended without a result")
                .hint("this is a defect of trimtab: please report it"))
        })
    }

    /// Notices when this process was stopped, or starved, for longer than an agent waits for its caller. Never ends.
    async fn watch_for_a_hold_up<T>(&self) -> T {
        loop {
            let before = Instant::now();
            tokio::time::sleep(MOMENT).await;
            if before.elapsed() > TrimOptions::default().linger {
                self.switch.has_been_held_up();
            }
        }
    }

    /// What a run whose result cannot be had came to, by the host's own reading.
    async fn lost(&self, reached: &ReachedBy<V>, baseline: &Baseline) -> Vec<DiskResult> {
        let disks = lost(&reached.parts(), baseline).await;
        let result = disks.into_iter().map(|disk| DiskResult {
            name: disk.host.name().to_owned(),
            image: disk.host.image.as_ref().map(|image| image.path.display().to_string()),
            datastore: disk.datastore.as_ref().map(|datastore| self.vms.identity(datastore)),
            verdict: Verdict::Failed,
            freed_bytes: disk.freed_bytes,
            held_bytes: None,
        });
        result.collect()
    }

    async fn tell(&self, ending: &Ending) {
        let claimed = &self.claimed;
        let told = match ending {
            Ending::Drop => Ok(Counted::Fenced),
            _ => self.persist.until_answered(|| tell(&*self.store, claimed, ending)).await,
        };
        if matches!(told, Ok(Counted::Counted | Counted::AlreadyCounted)) {
            self.hand.remember(claimed, ending);
        }
        self.listener.say(match (told, ending) {
            (Ok(Counted::Counted | Counted::AlreadyCounted), Ending::Finish(result)) => {
                Said::Ended(claimed, result)
            }
            (Ok(Counted::Counted | Counted::AlreadyCounted), Ending::Later(later)) => {
                Said::PutBack(claimed, later.why, &later.text)
            }
            _ => Said::Dropped(claimed),
        });
    }
}

/// Tells a store what became of a run.
async fn tell<S: Store>(store: &S, claimed: &Claimed, ending: &Ending) -> Result<Counted, Trouble> {
    match ending {
        // Its fence is no longer the run's, so that the store keeps it as what it is.
        Ending::Finish(result) | Ending::Late(result) => store.finish(claimed, result).await,
        Ending::Later(later) => store.later(claimed, later).await,
        Ending::Drop => Ok(Counted::Fenced),
    }
}

/// Tells it once more to a store that may have lost it.
pub(super) async fn tell_again<S: Store>(
    store: &S,
    claimed: &Claimed,
    ending: &Ending,
) -> Result<Counted, Trouble> {
    match ending {
        Ending::Finish(result) | Ending::Late(result) => store.finish_again(claimed, result).await,
        Ending::Later(later) => store.later_again(claimed, later).await,
        Ending::Drop => Ok(Counted::Fenced),
    }
}

/// Refuses a VM whose images have come to a datastore whose caps it was not admitted under.
fn moved(planned: &[String], now: impl Iterator<Item = String>) -> Result<(), Trouble> {
    let new: BTreeSet<String> = now.filter(|name| !planned.contains(name)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let text = format!(
        "its images lie on {} now, and its plan knows {}",
        new.into_iter().collect::<Vec<_>>().join(", "),
        if planned.is_empty() { "no datastore".to_owned() } else { planned.join(", ") }
    );
    Err(Trouble::new(Kind::Drifted, text).hint("plan anew to have it trimmed there"))
}

/// Refuses a VM one of whose images another host's VM uses by now.
fn shared(users: &str) -> Trouble {
    let text = format!("its image is used by {users} too: a trim could discard what that has written");
    Trouble::new(Kind::Drifted, text).hint("plan anew once only one VM uses it")
}

/// Has the baseline stored before the guest is called.
struct Keeper<'a, S, V> {
    one: &'a One<S, V>,
    kept: Mutex<Option<Baseline>>,
}

impl<S, V> Keeper<'_, S, V> {
    /// The baseline that the store has of this claim.
    fn kept(&self) -> Option<Baseline> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S: Store, V: Vms> Caller for Keeper<'_, S, V> {
    async fn before(&self, look: &Look, baseline: &Baseline) -> Result<(), Trouble> {
        let One { claimed, store, persist, switch, hand, vms, .. } = self.one;
        let now = look.disks.iter().filter_map(|disk| disk.datastore()).map(|store| vms.identity(store));
        moved(&claimed.datastores, now)?;
        let images: Vec<String> = look
            .disks
            .iter()
            .flat_map(|disk| known(&claimed.vm.host, disk, |store| vms.identity(store)))
            .collect();
        let stopped = || Trouble::new(Kind::Interrupted, "not begun: it was to end before it began");
        let mut wishes = switch.wishes();
        // What other hosts have come to use since the plan, this host cannot see.
        let users = tokio::select! {
            biased;
            _ = wishes.wait_for(|wish| *wish == Wish::Cancel) => return Err(stopped()),
            users = persist.until_answered(|| store.used_elsewhere(claimed, &images)) => users?,
        };
        if let Some(users) = users {
            return Err(shared(&users));
        }
        let mut asked = Moment::now();
        let ask = || {
            asked = Moment::now();
            store.baseline(claimed, baseline)
        };
        let instruction = tokio::select! {
            biased;
            _ = wishes.wait_for(|wish| *wish == Wish::Cancel) => return Err(stopped()),
            instruction = persist.until_answered(ask) => instruction?,
        };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(baseline.clone());
        match instruction {
            // It may have been stopped since it asked.
            Instruction::Keep if hand.lease.is_running_out(asked) => switch.stop(Stop::Lost),
            Instruction::Keep => return Ok(()),
            Instruction::Cancel => switch.stop(Stop::Ordered),
            Instruction::Gone => switch.stop(Stop::Gone),
        }
        Err(stopped())
    }

    fn was_alone(&self) -> bool {
        self.one.switch.is_alone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_it_was_planned() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (planned, now, expected) in [
            (names(&["a", "b"]), names(&["b", "a", "a"]), None),
            (names(&["a", "b"]), names(&["a"]), None),
            (names(&["a"]), names(&["a", "c", "c"]), Some("its images lie on c now, and its plan knows a")),
            (names(&[]), names(&["c"]), Some("its images lie on c now, and its plan knows no datastore")),
            (names(&[]), names(&[]), None),
        ] {
            let told = moved(&planned, now.into_iter()).err();
            assert!(told.iter().all(|trouble| trouble.kind == Kind::Drifted));
            assert_eq!(told.map(|trouble| trouble.text).as_deref(), expected);
        }
    }
}
