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
