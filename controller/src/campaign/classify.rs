//! What a turn's end means for its run: over, not now, once more, or to be fetched. Pure; how often and when stands in
//! [`super::retry`].
//!
//! ```text
//! the host saw harm ──> over: harmed              the guest told something alarming ──> over: set aside
//! nothing was begun, and it passes by itself ──> not now, no attempt is spent
//! begun, and nobody knows what became of it ──> fetch: the same run id with a new fence
//! begun, and it failed ──> again                  cancelled on the way ──> partial: the rest has a turn of its own
//! anything else ──> over, by the verdicts of its disks
//! ```

use trimtab_proto::words::{FailureKind, FilesystemState, StopReason, Wire};

use super::run::Class;
use crate::{
    layers::{self, Layer, State},
    ledger::verdict::Verdict,
    model::{
        run::{Failure, RunReport},
        trouble::{Kind, Trouble},
    },
    trim::outcome::{DiskOutcome, TurnOutcome},
};

/// Where a run stands after a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outlook {
    /// It is over.
    Over(Class),
    /// Nothing was begun, for a reason that passes by itself: no attempt is spent. Over in this way where it never passes.
    NotNow(Class),
    /// It failed, and the agent's run is over: another one may do better. Over in this way after the last attempt.
    Again(Class),
    /// It began, and its end is not known: to be asked for by the same run id. Over in this way after the last attempt.
    Fetch(Class),
    /// It was cancelled on the way. What it did counts, as this, and the rest is another turn's.
    Partial(Class),
}

/// A turn's end in few words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Classified {
    /// Where its run stands.
    pub outlook: Outlook,
    /// Of a failure.
    pub kind: Option<Kind>,
    /// Which layer cuts or holds.
    pub layer: Option<Layer>,
    /// Why, in one line, where it is not plain. May hold a guest's text.
    pub text: Option<String>,
}

impl Classified {
    fn new(outlook: Outlook) -> Self {
        Self { outlook, kind: None, layer: None, text: None }
    }

    fn because(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }
}

/// Classifies a turn.
pub fn classify(turn: &Result<TurnOutcome, Trouble>) -> Classified {
    match turn {
        Err(trouble) => of_trouble(trouble, not_begun(trouble.kind)),
        Ok(outcome) => match &outcome.trouble {
            Some(trouble) => of_trouble(trouble, begun(trouble.kind)),
            None => of_outcome(outcome),
        },
    }
}

fn of_trouble(trouble: &Trouble, outlook: Outlook) -> Classified {
    Classified { kind: Some(trouble.kind), ..Classified::new(outlook).because(&trouble.text) }
}

/// A VM that could not be looked at, or whose agent refused.
fn not_begun(kind: Kind) -> Outlook {
    match kind {
        // An inventory file's VM that is off has no monitor: what else that is shows with the attempts.
        Kind::VmOff | Kind::NoLink | Kind::NoAgent | Kind::UnknownVm => Outlook::Over(Class::Away),
        Kind::NoQmp => Outlook::Again(Class::Away),
        Kind::VmPaused | Kind::Busy | Kind::TooSoon | Kind::Interrupted => Outlook::NotNow(Class::NotRun),
        Kind::Vetoed | Kind::Drifted => Outlook::Over(Class::NotRun),
        Kind::VmIoError | Kind::StorageWorse => Outlook::Over(Class::Harmed),
        Kind::AgentSilent
        | Kind::AgentLost
        | Kind::AgentRefused
        | Kind::GuestRebooted
        | Kind::NoLibvirt
        | Kind::LibvirtRefused
        | Kind::Image
        | Kind::Store => Outlook::Again(Class::Failed),
        // Nothing of this mends itself in a night.
        Kind::Usage
        | Kind::Config
        | Kind::NoPermission
        | Kind::AgentVersion
        | Kind::AgentNonsense
        | Kind::QmpNonsense
        | Kind::UnknownCampaign
        | Kind::Internal => Outlook::Over(Class::Failed),
    }
}

/// A run that the agent may have begun, and that has no report.
fn begun(kind: Kind) -> Outlook {
    match kind {
        Kind::VmIoError | Kind::StorageWorse => Outlook::Over(Class::Harmed),
        // With the boot the run is gone: there is nothing to fetch.
        Kind::GuestRebooted => Outlook::Again(Class::Failed),
        Kind::VmOff => Outlook::Again(Class::Away),
        Kind::AgentNonsense | Kind::QmpNonsense | Kind::Internal => Outlook::Over(Class::Failed),
        // Somebody paused it: no failure, and the agent keeps the run's end.
        Kind::VmPaused => Outlook::Fetch(Class::NotRun),
        _ => Outlook::Fetch(Class::Failed),
    }
}

fn of_outcome(outcome: &TurnOutcome) -> Classified {
    let report = outcome.run.as_ref();
    if let Some((mount, failure)) = alarming(outcome) {
        let text = format!("its guest says of {mount}: {}", failure.text);
        return Classified::new(Outlook::Over(Class::SetAside)).because(text);
    }
    let cut_short = report.and_then(|report| cut_short(report, outcome));
    let blocks = outcome.disks.iter().find_map(blocking_layer);
    match cut_short {
        Some(classified) => Classified { layer: blocks, ..classified },
        None => Classified { layer: blocks, ..by_disks(outcome) },
    }
}

/// What only the guest says, and no trim should go on after: EIO, or a filesystem that needs fsck.
fn alarming(outcome: &TurnOutcome) -> Option<(&str, &Failure)> {
    failures(outcome)
        .find(|(_, failure)| matches!(failure.kind, Wire::Known(FailureKind::Damaged | FailureKind::Io)))
}

fn failures(outcome: &TurnOutcome) -> impl Iterator<Item = (&str, &Failure)> {
    outcome
        .filesystems
        .iter()
        .filter_map(|fs| Some((fs.filesystem.mount.as_str(), fs.run.as_ref()?.failure.as_ref()?)))
}

/// A run that ended before its filesystems did.
fn cut_short(report: &RunReport, outcome: &TurnOutcome) -> Option<Classified> {
    let is_over = |state: Wire<FilesystemState>| {
        [FilesystemState::Done, FilesystemState::Skipped, FilesystemState::Failed]
            .into_iter()
            .any(|over| state.is(over))
    };
    if report.filesystems.iter().all(|fs| is_over(fs.state)) {
        return None;
    }
    let again = |why: &str| Some(Classified::new(Outlook::Again(Class::Failed)).because(why));
    match report.stop? {
        Wire::Known(StopReason::Done) => None,
        Wire::Known(StopReason::Cancelled) => Some(Classified::new(Outlook::Partial(so_far(outcome)))),
        // A newer stream has it; the agent replays its end.
        Wire::Known(StopReason::Superseded) => {
            let classified = Classified::new(Outlook::Fetch(Class::Failed));
            Some(classified.because("another caller took this run over"))
        }
        Wire::Known(StopReason::Deadline) => again("the trim took longer than its deadline"),
        Wire::Known(StopReason::CallerGone) => again("the agent heard nothing of the host and stopped"),
        Wire::Known(StopReason::Shutdown) => again("the agent was stopped in the middle"),
        Wire::Unknown(_) => again("the agent stopped for a reason that only a newer trimtab knows"),
    }
}

/// What a run that was cancelled came to.
fn so_far(outcome: &TurnOutcome) -> Class {
    let freed = outcome.disks.iter().filter_map(|disk| disk.ledger.freed_bytes).any(|bytes| bytes > 0);
    if freed { Class::Reclaimed } else { Class::AlreadyCompact }
}

/// A run that went its whole way, or none that was needed: the verdicts of its disks, the gravest first, where nothing
/// came back.
fn by_disks(outcome: &TurnOutcome) -> Classified {
    let disk = |is: fn(&DiskOutcome) -> bool| outcome.disks.iter().find(|disk| is(disk));
    let of = |outlook: Outlook, disk: &DiskOutcome| {
        Classified::new(outlook).because(format!("{}: {}", name(disk), disk.ruling.because))
    };
    if let Some(failed) = disk(|disk| disk.ruling.verdict == Verdict::Failed) {
        return of(failed_outlook(outcome), failed);
    }
    let returned =
        |disk: &DiskOutcome| matches!(disk.ruling.verdict, Verdict::Reclaimed | Verdict::PartlyReclaimed);
    if disk(returned).is_some() {
        return Classified::new(Outlook::Over(Class::Reclaimed));
    }
    let gravest = outcome.disks.iter().filter_map(|disk| Some((gravity(disk)?, disk)));
    if let Some(((_, outlook), disk)) = gravest.min_by_key(|((rank, _), _)| *rank) {
        return of(outlook, disk);
    }
    match outcome.disks.is_empty() {
        true => Classified::new(Outlook::Over(Class::NotRun)).because("it has no disk to trim"),
        false => Classified::new(Outlook::Over(Class::AlreadyCompact)),
    }
}

/// What a disk from which nothing came back makes of its VM, the gravest as 0; `None` where all is well.
fn gravity(disk: &DiskOutcome) -> Option<(u8, Outlook)> {
    match disk.ruling.verdict {
        _ if disk.passes_by_itself => Some((0, Outlook::NotNow(Class::NotRun))),
        Verdict::CutInVmm | Verdict::CutInGuest => Some((1, Outlook::Over(Class::Cut))),
        Verdict::HeldOnHost => Some((2, Outlook::Over(Class::Held))),
        Verdict::NotMeasurable => Some((3, Outlook::Over(Class::NotMeasurable))),
        Verdict::NotRun => Some((4, Outlook::Over(Class::NotRun))),
        Verdict::Reclaimed | Verdict::PartlyReclaimed | Verdict::AlreadyCompact | Verdict::Failed => None,
    }
}

/// Whether another attempt may do better than FITRIM did.
fn failed_outlook(outcome: &TurnOutcome) -> Outlook {
    let passes = |failure: &Failure| {
        matches!(failure.kind, Wire::Known(FailureKind::Stuck | FailureKind::Worker | FailureKind::Gone))
    };
    let mut failures = failures(outcome).peekable();
    // Without a failure of the guest's an image could not be read, which a host mends.
    match failures.peek().is_none() || failures.any(|(_, failure)| passes(failure)) {
        true => Outlook::Again(Class::Failed),
        false => Outlook::Over(Class::Failed),
    }
}

/// Which layer keeps a disk's space, where one does.
fn blocking_layer(disk: &DiskOutcome) -> Option<Layer> {
    let cut = || layers::known_cut(&disk.findings).map(|finding| finding.layer);
    let holder = || {
        let holders = disk.findings.iter().filter(|finding| finding.state == State::Holds);
        holders.max_by_key(|finding| finding.held_bytes).map(|finding| finding.layer)
    };
    match disk.ruling.verdict {
        // Found by its counters, where no finding tells.
        Verdict::CutInVmm => cut().or(Some(Layer::Drive)),
        Verdict::CutInGuest => cut().or(Some(Layer::Filesystem)),
        Verdict::HeldOnHost => cut().or_else(holder).or(Some(Layer::HostFilesystem)),
        _ => None,
    }
}

fn name(disk: &DiskOutcome) -> &str {
    disk.guest_disk.as_deref().unwrap_or(disk.host.name())
}

#[cfg(test)]
mod tests;
