//! The rules of a run's stream beyond its single messages: what comes first, what rises, what may be said how often,
//! and whether anything moves. Pure.

use std::{collections::HashMap, time::Duration};

use trimtab_proto::{
    v1,
    words::{ClaimKind, FilesystemState, RunState, StopReason, Wire},
};

use super::{
    check::{self, MAX_DEVICES, MAX_FILESYSTEMS, Nonsense},
    limits::Budget,
};
use crate::model::run::{FilesystemRun, Progress, RunEvent, RunReport, Sent};

/// What a filesystem's part of an event says, as far as it can move.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct FilesystemMark {
    state: Option<Wire<FilesystemState>>,
    claimed: Option<u64>,
    claim: Option<Wire<ClaimKind>>,
    passes: u32,
    passed: Option<u64>,
}

/// Where a stream is.
#[derive(Debug)]
pub(super) struct Contract {
    run_id: String,
    budget: Budget,
    events: u64,
    last_seq: u64,
    state: Option<Wire<RunState>>,
    stop: Option<Wire<StopReason>>,
    settled: bool,
    filesystems: HashMap<String, FilesystemMark>,
    disks: HashMap<String, (Option<u64>, Option<u64>)>,
}

impl Contract {
    /// For the stream of one run.
    pub(super) fn new(run_id: String, budget: Budget) -> Self {
        Self {
            run_id,
            budget,
            events: 0,
            last_seq: 0,
            state: None,
            stop: None,
            settled: false,
            filesystems: HashMap::new(),
            disks: HashMap::new(),
        }
    }

    /// Whether the agent says that the run is paused: then nothing has to move.
    pub(super) fn paused(&self) -> bool {
        self.state.is_some_and(|state| state.is(RunState::Paused))
    }

    /// Takes the next event, `open` after the stream began. Says whether it moved anything.
    pub(super) fn take(
        &mut self,
        event: v1::TrimEvent,
        open: Duration,
    ) -> Result<(RunEvent, bool), Nonsense> {
        self.events = self.events.saturating_add(1);
        let allowed = self.budget.after(open);
        if self.events > allowed {
            return Err(Nonsense::new("", format!("{} events, {allowed} are allowed by then", self.events)));
        }
        let event = check::event(event)?;
        if event.seq <= self.last_seq {
            return Err(Nonsense::new("seq", format!("{} after {}", event.seq, self.last_seq)));
        }
        self.last_seq = event.seq;
        if self.state.is_none() && !matches!(event.what, RunEvent::State(_)) {
            return Err(Nonsense::new("what", "the first event is not the run's state"));
        }
        let moved = match &event.what {
            RunEvent::State(report) | RunEvent::End(report) => self.report(report)?,
            RunEvent::Filesystem(fs) => self.filesystem(fs)?,
            RunEvent::Progress(progress) => self.progress(progress)?,
        };
        Ok((event.what, moved))
    }

    fn report(&mut self, report: &RunReport) -> Result<bool, Nonsense> {
        if report.run_id != self.run_id {
            return Err(Nonsense::new("run_id", "of another run than the one that was asked for"));
        }
        let mut moved = self.state.replace(report.state) != Some(report.state);
        moved |= std::mem::replace(&mut self.stop, report.stop) != report.stop;
        moved |= std::mem::replace(&mut self.settled, report.settled) != report.settled;
        for fs in &report.filesystems {
            moved |= self.filesystem(fs)?;
        }
        Ok(self.sent(&report.sent)? || moved)
    }

    fn filesystem(&mut self, fs: &FilesystemRun) -> Result<bool, Nonsense> {
        let now = FilesystemMark {
            state: Some(fs.state),
            claimed: fs.claimed_bytes,
            claim: fs.claim,
            passes: fs.passes,
            passed: Some(fs.passed_bytes),
        };
        remember(&mut self.filesystems, &fs.filesystem_id, now, MAX_FILESYSTEMS)
    }

    fn progress(&mut self, progress: &Progress) -> Result<bool, Nonsense> {
        let mut now = self.filesystems.get(&progress.filesystem_id).copied().unwrap_or_default();
        if progress.passed_bytes.is_some() {
            now.passed = progress.passed_bytes;
        }
        let moved = remember(&mut self.filesystems, &progress.filesystem_id, now, MAX_FILESYSTEMS)?;
        Ok(self.sent(&progress.sent)? || moved)
    }

    fn sent(&mut self, sent: &[Sent]) -> Result<bool, Nonsense> {
        let mut moved = false;
        for disk in sent {
            let now = (disk.discarded_bytes, disk.written_bytes);
            moved |= remember(&mut self.disks, &disk.device_id, now, MAX_DEVICES)?;
        }
        Ok(moved)
    }
}

/// Whether `now` differs from what was known under `id`. The memory is as bounded as one message is, however many
/// events name new ids.
fn remember<T: PartialEq>(
    known: &mut HashMap<String, T>,
    id: &str,
    now: T,
    max: usize,
) -> Result<bool, Nonsense> {
    if let Some(before) = known.get_mut(id) {
        return Ok(std::mem::replace(before, now) != *before);
    }
    if known.len() >= max {
        return Err(Nonsense::new("", format!("more than {max} filesystems or disks in one run")));
    }
    known.insert(id.to_owned(), now);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use v1::trim_event::What;

    use super::*;

    const GENEROUS: Budget = Budget { burst: 1 << 40, per_sec: 0 };

    fn stream(budget: Budget) -> Contract {
        Contract::new("r".into(), budget)
    }

    fn state(state: RunState) -> What {
        What::State(v1::RunReport {
            run_id: "r".into(),
            boot_id: "b".into(),
            state: state.into(),
            ..Default::default()
        })
    }

    fn progress(id: u32, passed: Option<u64>, bytes: u64, written: u64) -> What {
        let sent = v1::Sent { device_id: format!("8:{id}"), bytes: Some(bytes), written: Some(written) };
        What::Progress(v1::Progress { filesystem_id: "8:1".into(), passed, of: 1 << 30, sent: vec![sent] })
    }

    fn take(contract: &mut Contract, seq: u64, what: What) -> Result<bool, String> {
        let event = v1::TrimEvent { seq, elapsed_ms: seq, what: Some(what) };
        contract.take(event, Duration::ZERO).map(|(_, moved)| moved).map_err(|error| error.to_string())
    }

    #[test]
    fn what_moves() {
        let mut contract = stream(GENEROUS);
        let fs = |state, claimed, duration_ms| {
            What::Filesystem(v1::FilesystemRun {
                filesystem_id: "8:1".into(),
                state,
                claimed,
                duration_ms,
                passed: 10,
                ..Default::default()
            })
        };
        for (seq, (name, what, moves)) in [
            ("the first state", state(RunState::Running), true),
            ("the same state", state(RunState::Running), false),
            ("a disk is named", progress(0, None, 0, 0), true),
            ("the same again", progress(0, None, 0, 0), false),
            ("a first range", progress(0, Some(5), 0, 0), true),
            ("the same range", progress(0, Some(5), 0, 0), false),
            ("no word on ranges", progress(0, None, 0, 0), false),
            ("bytes were sent", progress(0, Some(5), 1, 0), true),
            ("bytes were written", progress(0, Some(5), 1, 1), true),
            ("another disk", progress(7, Some(5), 1, 1), true),
            ("the filesystem runs", fs(2, None, 1), true),
            ("time passes", fs(2, None, 2), false),
            ("it claims", fs(2, Some(1), 2), true),
            ("it is done", fs(4, Some(1), 2), true),
            ("paused", state(RunState::Paused), true),
            ("paused again", state(RunState::Paused), false),
        ]
        .into_iter()
        .enumerate()
        {
            let seq = u64::try_from(seq).unwrap() + 1;
            assert_eq!(take(&mut contract, seq, what), Ok(moves), "{name}");
        }
        assert!(contract.paused());
    }

    #[test]
    fn what_breaks_it() {
        let begun = || {
            let mut contract = stream(GENEROUS);
            take(&mut contract, 5, state(RunState::Running)).unwrap();
            contract
        };
        let error = take(&mut stream(GENEROUS), 1, progress(0, None, 0, 0)).unwrap_err();
        assert_eq!(error, "what: the first event is not the run's state");
        assert_eq!(take(&mut begun(), 5, state(RunState::Running)).unwrap_err(), "seq: 5 after 5");
        assert_eq!(take(&mut stream(GENEROUS), 0, state(RunState::Running)).unwrap_err(), "seq: 0 after 0");
        let mut other = Contract::new("q".into(), GENEROUS);
        let error = take(&mut other, 1, state(RunState::Running)).unwrap_err();
        assert_eq!(error, "run_id: of another run than the one that was asked for");
    }

    #[test]
    fn events_are_counted_against_time() {
        let mut contract = stream(Budget { burst: 2, per_sec: 1 });
        let mut at = |seq, secs| {
            let event = v1::TrimEvent { seq, elapsed_ms: 0, what: Some(state(RunState::Running)) };
            contract.take(event, Duration::from_secs(secs)).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!((at(1, 0), at(2, 0), at(3, 1)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(at(4, 1).unwrap_err(), "4 events, 3 are allowed by then");
    }

    #[test]
    fn ever_new_names_are_not_remembered() {
        let mut contract = stream(GENEROUS);
        take(&mut contract, 1, state(RunState::Running)).unwrap();
        let error =
            (0..).zip(2..).find_map(|(id, seq)| take(&mut contract, seq, progress(id, None, 0, 0)).err());
        assert_eq!(error.unwrap(), "more than 4096 filesystems or disks in one run");
        assert_eq!(contract.disks.len(), MAX_DEVICES);
    }
}
