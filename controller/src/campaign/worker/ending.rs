//! What becomes of a claimed run when its turn is over. Pure.
//!
//! ```text
//! another's now ──> told, for the history alone       ended by itself ──> as classify and retry say
//! cancelled by the window, an order or the worker's end ──> back to wait; what it did counts now
//! nobody knows what the guest did ──> back to wait with its baseline, so that its result is fetched
//! ```

use std::time::Duration;

use trimtab_proto::words::StopReason;

use super::stop::Stop;
use crate::{
    campaign::{
        classify::{Classified, Outlook, classify},
        retry::{self, Next, Tries},
        run::{Claimed, Class, Did, DiskResult, Later, RunResult, Wait},
    },
    model::{
        image::Datastore,
        trouble::{Kind, Trouble},
    },
    trim::outcome::{DiskOutcome, TurnOutcome},
};

/// What the store is told.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Ending {
    /// The run is over.
    Finish(RunResult),
    /// It goes back to wait.
    Later(Later),
    /// It is not ours any more: what it did until then is for the history, where it comes too late for the sums.
    Late(RunResult),
    /// Nothing: it is not ours, and it did nothing that is known.
    Drop,
}

/// A turn that is over.
pub(super) struct Over<'a> {
    pub(super) claimed: &'a Claimed,
    pub(super) turn: &'a Result<TurnOutcome, Trouble>,
    /// Why it was cancelled, if it was.
    pub(super) stop: Option<Stop>,
    /// The worker itself did not run for a while.
    pub(super) was_held_up: bool,
    pub(super) took: Duration,
    /// What a lost run's disks came to by the host's own reading, where the turn could not say or its guest went on after it.
    pub(super) lost: Vec<DiskResult>,
    /// Of the store's: so long after it has left this host a VM is another one's.
    pub(super) lease: Option<Duration>,
    /// Any number.
    pub(super) chance: u32,
}

impl Over<'_> {
    /// What becomes of the run.
    pub(super) fn ending(&self, identity: impl Fn(&Datastore) -> String) -> Ending {
        let classified = classify(self.turn);
        let result = |class| self.result(class, &classified, &identity);
        let outlook = self.outlook(&classified);
        if self.stop == Some(Stop::Gone) {
            return match self.did(outlook, || result(class_of(outlook))) {
                Did::This(result) => Ending::Late(result),
                Did::Nothing | Did::Unknown => Ending::Drop,
            };
        }
        if let Some(after) = self.may_migrate(&classified) {
            return Ending::Later(Later {
                after,
                why: Wait::Guard,
                text: format!(
                    "{}; if it has migrated, it has its turn there",
                    classified.text.as_deref().unwrap_or_default()
                ),
                did: self.did(outlook, || result(class_of(outlook))),
            });
        }
        match (outlook, self.stop) {
            (Outlook::Over(class), _) => Ending::Finish(result(class)),
            (Outlook::Partial(class), why) => Ending::Later(Later {
                after: Duration::ZERO,
                why: waits_for(why),
                text: stopped_text(why).to_owned(),
                did: Did::This(result(class)),
            }),
            // Cancelled before it was at its end, whatever the turn says of that.
            (outlook, Some(why)) => Ending::Later(Later {
                after: Duration::ZERO,
                why: waits_for(Some(why)),
                text: stopped_text(Some(why)).to_owned(),
                did: self.did(outlook, || result(class_of(outlook))),
            }),
            // What its agent, or its own clock, held against it meanwhile is no failure of the VM.
            (Outlook::Again(_) | Outlook::Fetch(_), None) if self.was_given_up(&classified) => {
                Ending::Later(Later {
                    after: Duration::ZERO,
                    why: Wait::Room,
                    text: "the worker was held up for a while".to_owned(),
                    did: self.did(outlook, || result(class_of(outlook))),
                })
            }
            (outlook, None) => {
                match retry::next(outlook, self.tries(), self.claimed.limits.retries, self.chance) {
                    Next::Finish(class) => Ending::Finish(result(class)),
                    Next::Later { why, after, new_agent_run } => Ending::Later(Later {
                        after,
                        why,
                        text: classified.text.clone().unwrap_or_else(|| "it is tried again".to_owned()),
                        did: match new_agent_run {
                            true => self.did(outlook, || result(class_of(outlook))),
                            false => Did::Unknown,
                        },
                    }),
                }
            }
        }
    }

    /// How long to wait for another host to have this VM, where it is not on this one, for the first time, and may be on its
    /// way.
    fn may_migrate(&self, classified: &Classified) -> Option<Duration> {
        let is_gone = self.turn.is_err() && matches!(classified.kind, Some(Kind::UnknownVm | Kind::VmOff));
        self.lease.filter(|_| is_gone && self.claimed.vm.uuid.is_some() && self.claimed.put_off == 0)
    }

    fn tries(&self) -> Tries {
        Tries { attempt: self.claimed.attempt, put_off: self.claimed.put_off.saturating_add(1) }
    }

    /// Whether this worker was held up, and its agent waited for it or it for its agent for too long.
    fn was_given_up(&self, classified: &Classified) -> bool {
        let silence = matches!(classified.kind, Some(Kind::AgentSilent | Kind::AgentLost));
        self.was_held_up && (silence || self.left_alone())
    }

    fn left_alone(&self) -> bool {
        let report = self.turn.as_ref().ok().and_then(|outcome| outcome.run.as_ref());
        report
            .and_then(|report| report.stop)
            .is_some_and(|stop| stop.is(StopReason::CallerGone) || stop.is(StopReason::Cancelled))
    }

    /// An agent that stopped since its caller had gone is no failure where that caller was a worker before this one.
    fn outlook(&self, classified: &Classified) -> Outlook {
        match classified.outlook {
            Outlook::Again(class) if self.claimed.baseline.is_some() && self.left_alone() => {
                Outlook::Partial(class)
            }
            outlook => outlook,
        }
    }

    /// What the turn did, where its agent's run may have a known end, so that its account can be closed.
    fn did(&self, outlook: Outlook, result: impl FnOnce() -> RunResult) -> Did {
        match self.turn {
            // There will be no one to fetch for whom a person has sent away.
            Ok(_) if !matches!(outlook, Outlook::Fetch(_)) || self.stop == Some(Stop::Ordered) => {
                Did::This(result())
            }
            // It could not even look, or was refused before anything began.
            Err(_) if self.claimed.baseline.is_none() => Did::Nothing,
            // That says nothing of an earlier call.
            Ok(_) | Err(_) => Did::Unknown,
        }
    }

    fn result(
        &self,
        class: Class,
        classified: &Classified,
        identity: &impl Fn(&Datastore) -> String,
    ) -> RunResult {
        let disks = match self.turn {
            Ok(outcome) if self.lost.is_empty() => {
                outcome.disks.iter().map(|disk| disk_result(disk, identity)).collect()
            }
            _ => self.lost.clone(),
        };
        RunResult {
            class,
            disks,
            text: classified.text.clone(),
            kind: classified.kind,
            layer: classified.layer,
            duration_ms: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn class_of(outlook: Outlook) -> Class {
    match outlook {
        Outlook::Over(class)
        | Outlook::NotNow(class)
        | Outlook::Again(class)
        | Outlook::Fetch(class)
        | Outlook::Partial(class) => class,
    }
}

fn waits_for(stop: Option<Stop>) -> Wait {
    match stop {
        Some(Stop::Window) => Wait::Window,
        Some(Stop::Ordered) => Wait::Campaign,
        Some(Stop::Leaving | Stop::Lost | Stop::Gone) | None => Wait::Room,
    }
}

fn stopped_text(stop: Option<Stop>) -> &'static str {
    match stop {
        Some(Stop::Window) => "its window closed",
        Some(Stop::Ordered) => "the campaign was stopped",
        Some(Stop::Leaving) => "its worker ended",
        Some(Stop::Lost) => "its worker did not reach the store",
        Some(Stop::Gone) | None => "it was cancelled on the way",
    }
}

fn disk_result(disk: &DiskOutcome, identity: &impl Fn(&Datastore) -> String) -> DiskResult {
    let held = disk.findings.iter().filter_map(|finding| finding.held_bytes).max();
    DiskResult {
        name: disk.guest_disk.clone().unwrap_or_else(|| disk.host.name().to_owned()),
        image: disk.host.image.as_ref().map(|image| image.path.display().to_string()),
        datastore: disk.datastore.as_ref().map(identity),
        verdict: disk.ruling.verdict,
        freed_bytes: disk.ledger.freed_bytes,
        held_bytes: held,
    }
}

#[cfg(test)]
pub(super) mod tests;
