//! One filesystem of a run, as the run sees it: its plan, its report so far, the line to its turn.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use trimtab_proto::words::FilesystemState;

use super::{
    plan::Planned,
    report::{FilesystemRun, Progress, Sent},
    run::millis,
    turn::{Control, Ended},
};
use crate::schedule::{Entry, Stage};

/// No answer from a worker and no counter that moved: nothing will.
const STUCK_AFTER: Duration = Duration::from_secs(300);

/// A filesystem of the run.
pub(super) struct Slot {
    pub(super) planned: Planned,
    control: Option<watch::Sender<Control>>,
    pub(super) began: Option<Instant>,
    /// `None` until its worker is ready.
    pub(super) heard: Option<Instant>,
    /// What its ranges cover; `None` where one call does it all.
    pub(super) total: Option<u64>,
}

impl Slot {
    pub(super) fn new(planned: Planned) -> Self {
        Self { planned, control: None, began: None, heard: None, total: None }
    }

    /// Its turn begins; the other end is the turn's.
    pub(super) fn begin(&mut self, now: Instant) -> watch::Receiver<Control> {
        let (sender, control) = watch::channel(Control::Go);
        self.control = Some(sender);
        self.began = Some(now);
        self.planned.run.state = FilesystemState::Running;
        control
    }

    /// Tells its turn, where it has one.
    pub(super) fn tell(&self, control: Control) {
        if let Some(sender) = &self.control {
            sender.send_replace(control);
        }
    }

    /// A range is done.
    pub(super) fn passed(&mut self, bytes: u64, claimed: u64, took: Duration) {
        let run = &mut self.planned.run;
        run.calls = run.calls.saturating_add(1);
        run.longest_call_ms = run.longest_call_ms.max(millis(took));
        run.passed = run.passed.saturating_add(bytes);
        run.claimed = Some(run.claimed.unwrap_or(0).saturating_add(claimed));
    }

    /// No range is handed out at present, so none can be waited for.
    pub(super) fn is_withheld(&mut self, now: Instant) {
        self.heard = self.heard.map(|_| now);
    }

    /// Whether neither its worker nor, since `moved`, its disks have given a sign of life for too long.
    pub(super) fn is_stuck(&self, moved: Option<Instant>, now: Instant) -> bool {
        let last = self.heard.map(|heard| moved.map_or(heard, |moved| moved.max(heard)));
        self.control.is_some() && last.is_some_and(|last| now.saturating_duration_since(last) >= STUCK_AFTER)
    }

    /// How far it is.
    pub(super) fn progress(&self, sent: Vec<Sent>) -> Progress {
        let run = &self.planned.run;
        Progress {
            filesystem_id: run.filesystem_id,
            passed: self.total.map(|total| run.passed.min(total)),
            of: self.total.or(self.planned.job.as_ref().map(|job| job.size)).unwrap_or(0),
            sent,
        }
    }

    pub(super) fn entry(&self) -> Entry {
        let stage = match (self.planned.run.state, self.control.is_some()) {
            (FilesystemState::Waiting, _) => Stage::Waiting,
            (_, true) => Stage::Held,
            (_, false) => Stage::Over,
        };
        let Planned { disks, inside, run, .. } = &self.planned;
        Entry { id: run.filesystem_id, disks: disks.clone(), inside: inside.clone(), stage }
    }

    pub(super) fn finish(&mut self, ended: Ended, now: Instant) {
        self.control = None;
        let run = &mut self.planned.run;
        run.duration_ms = self.began.map_or(0, |began| millis(now.saturating_duration_since(began)));
        match ended {
            Ended::Done => {
                run.state = FilesystemState::Done;
                run.passes = 1;
            }
            Ended::Partial => run.state = FilesystemState::Partial,
            Ended::Failed(failure) => {
                run.state = FilesystemState::Failed;
                run.failure = Some(failure);
            }
        }
        // A call over 0..u64::MAX passes over what is there; how much that is may not be known.
        let size = self.planned.job.as_ref().map_or(0, |job| job.size);
        run.passed = run.passed.min(self.total.unwrap_or(size));
    }

    pub(super) fn report(&self, now: Instant) -> FilesystemRun {
        let mut run = self.planned.run.clone();
        if let (Some(began), false) = (self.began, run.is_over()) {
            run.duration_ms = millis(now.saturating_duration_since(began));
        }
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::DevNum, trim::report::FilesystemRun};

    fn slot() -> Slot {
        let run = FilesystemRun {
            filesystem_id: DevNum { major: 8, minor: 1 },
            state: FilesystemState::Waiting,
            claimed: None,
            claim: None,
            passes: 0,
            calls: 0,
            longest_call_ms: 0,
            passed: 0,
            min_extent: 0,
            duration_ms: 0,
            skip: None,
            failure: None,
        };
        Slot::new(Planned { run, job: None, disks: vec![], inside: vec![] })
    }

    #[test]
    fn stuck() {
        let began = Instant::now();
        let at = |secs| began.checked_add(Duration::from_secs(secs)).unwrap();
        let mut slot = slot();
        let _control = slot.begin(began);
        assert!(!slot.is_stuck(None, at(9999)), "syncing may take long; the deadline bounds it");
        slot.heard = Some(began);
        for (name, moved, now, stuck) in [
            ("just begun", None, 10, false),
            ("silent", None, 300, true),
            ("its disks move", Some(at(200)), 300, false),
            ("they moved before", Some(at(10)), 311, true),
        ] {
            assert_eq!(slot.is_stuck(moved, at(now)), stuck, "{name}");
        }
        slot.is_withheld(at(1000));
        assert!(!slot.is_stuck(None, at(1299)), "paused until then");
        slot.finish(Ended::Done, at(2000));
        assert!(!slot.is_stuck(None, at(9999)), "over");
    }

    #[test]
    fn one_call_over_everything_passes_what_is_there() {
        let mut slot = slot();
        let _control = slot.begin(Instant::now());
        slot.passed(u64::MAX, 7, Duration::from_millis(9));
        slot.finish(Ended::Done, Instant::now());
        assert_eq!(
            (slot.planned.run.passed, slot.planned.run.claimed),
            (0, Some(7)),
            "its size is not known"
        );
    }

    #[test]
    fn the_longest_call_stands_whatever_comes_after_it() {
        let mut slot = slot();
        for millis in [3, 40, 8] {
            slot.passed(1 << 20, 1, Duration::from_millis(millis));
        }
        assert_eq!((slot.planned.run.calls, slot.planned.run.longest_call_ms), (3, 40));
    }
}
