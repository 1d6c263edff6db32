//! The runs of this boot: the last 16 reports, each with its order and the highest fence seen. Kept in
//! run/trimtab-agent, so that an agent that went idle and came back, or was killed, still knows them.
//!
//! One file a run, replaced as a whole. A file that is damaged, of another boot or of another form is passed over,
//! with a line in the log, and never in the way. A run whose agent died before its end is closed when it is read: its
//! workers died with the agent.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use trimtab_proto::words::{FailureKind, FilesystemState, RunState, StopReason};

use crate::{
    lock::{self, TrimLock},
    trim::report::{Failure, Order, RunReport},
};

/// How many ended runs are kept.
pub const KEPT: usize = 16;

/// Nothing that this agent writes is larger; a larger file is not its own.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

const SCHEMA: &str = "trimtab-agent.run/1";

/// A run as it is kept.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    schema: String,
    /// What was asked for.
    pub order: Order,
    /// What came of it; its `fence` is the highest seen.
    pub report: RunReport,
    /// When it was written last, seconds since 1970.
    pub written_unix_secs: u64,
}

impl Record {
    /// A record of now.
    pub fn new(order: Order, report: RunReport) -> Self {
        Self { schema: SCHEMA.to_owned(), order, report, written_unix_secs: lock::now_unix_secs() }
    }
}

/// The runs, newest last.
#[derive(Debug)]
pub struct Runs {
    folder: Option<PathBuf>,
    boot_id: String,
    records: Vec<Record>,
}

impl Runs {
    /// Keeps nothing: for one run by hand.
    pub fn in_memory(boot_id: &str) -> Self {
        Self { folder: None, boot_id: boot_id.to_owned(), records: Vec::new() }
    }

    /// Reads what is kept of this boot in the agent's `folder` (run/trimtab-agent).
    pub fn load(folder: &Path, boot_id: &str) -> Self {
        let runs = folder.join("runs");
        let mut records = Vec::new();
        // No folder, no runs.
        for entry in fs::read_dir(&runs).into_iter().flatten().flatten() {
            let path = entry.path();
            match read(&path) {
                Ok(record) if record.report.boot_id == boot_id => records.push(record),
                Ok(_) => tracing::info!("a run of another boot is forgotten: {}", path.display()),
                Err(error) => {
                    tracing::warn!("{} is not a run's report and is passed over: {error}", path.display())
                }
            }
        }
        records.sort_by_key(|r| r.written_unix_secs);
        let mut runs = Self { folder: Some(runs), boot_id: boot_id.to_owned(), records };
        // While somebody trims, an open run may be that one: it is no business of this agent.
        if runs.records.iter().any(|r| r.report.state != RunState::Ended) {
            match TrimLock::take(folder) {
                Ok(_lock) => runs.close_the_interrupted(),
                Err(_) => runs.records.retain(|r| r.report.state == RunState::Ended),
            }
        }
        runs
    }

    /// A run by its id.
    pub fn get(&self, run_id: &str) -> Option<&Record> {
        self.records.iter().rev().find(|r| r.report.run_id == run_id)
    }

    /// When the last run ended, seconds since 1970.
    pub fn last_end_unix_secs(&self) -> Option<u64> {
        self.records.iter().map(|r| r.written_unix_secs).max()
    }

    /// Notes on disk alone how far a run is, so that the next agent knows of it should this one die.
    pub fn note_open(&self, record: &Record) {
        if let Err(error) = self.write(record) {
            tracing::warn!("cannot note how far run {} is: {error}", record.report.run_id);
        }
    }

    /// Keeps a run that has ended, in the place of what was kept of it before. What cannot be written is still known to this
    /// process, and the log says so.
    pub fn keep(&mut self, record: Record) {
        if let Err(error) = self.write(&record) {
            let run_id = &record.report.run_id;
            tracing::warn!(
                "cannot keep the report of run {run_id}: {error}; it is lost when this agent ends"
            );
        }
        self.records.retain(|r| r.report.run_id != record.report.run_id);
        self.records.push(record);
        while self.records.len() > KEPT {
            let oldest = self.records.remove(0);
            if let Some(path) = self.path(&oldest.report.run_id) {
                // It may never have been written.
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Remembers a higher fence of an ended run. Its end stays when it was.
    pub fn raise_fence(&mut self, run_id: &str, fence: u64) {
        let Some(index) = self.records.iter().rposition(|r| r.report.run_id == run_id) else { return };
        let Some(record) = self.records.get_mut(index) else { return };
        if record.report.fence < fence {
            record.report.fence = fence;
            let record = record.clone();
            if let Err(error) = self.write(&record) {
                tracing::warn!("cannot keep the fence of run {run_id}: {error}");
            }
        }
    }

    fn close_the_interrupted(&mut self) {
        let open = self.records.iter().filter(|r| r.report.state != RunState::Ended).cloned();
        let open: Vec<Record> = open.collect();
        for mut record in open {
            tracing::warn!("run {} was cut off when the agent before this one died", record.report.run_id);
            close(&mut record.report);
            if let Err(error) = self.write(&record) {
                tracing::warn!("cannot keep the report of run {}: {error}", record.report.run_id);
            }
            self.records.retain(|r| r.report.run_id != record.report.run_id);
            self.records.push(record);
        }
    }

    fn path(&self, run_id: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(format!("{run_id}.json")))
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        debug_assert_eq!(record.report.boot_id, self.boot_id);
        let Some(path) = self.path(&record.report.run_id) else { return Ok(()) };
        if let Some(folder) = path.parent() {
            lock::make_folder(folder)?;
        }
        let partial = path.with_extension("new");
        let file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        serde_json::to_writer(io::BufWriter::new(&file), record)?;
        fs::rename(&partial, &path)
    }
}

/// A report whose agent died: what had not ended was stopped.
fn close(report: &mut RunReport) {
    report.state = RunState::Ended;
    report.stop = Some(StopReason::Shutdown);
    report.settled = false;
    for run in report.filesystems.iter_mut().filter(|run| !run.is_over()) {
        if run.state != FilesystemState::Waiting {
            run.failure = Some(Failure {
                kind: FailureKind::Worker,
                errno: 0,
                text: "the agent died during this run, and its worker with it".to_owned(),
            });
        }
        run.state = FilesystemState::Partial;
    }
}

fn read(path: &Path) -> io::Result<Record> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if fs::symlink_metadata(path)?.len() > MAX_FILE_BYTES {
        return Err(invalid("too large"));
    }
    let record: Record = serde_json::from_str(&fs::read_to_string(path)?)?;
    if record.schema != SCHEMA {
        return Err(invalid("of another form"));
    }
    if path.file_stem().and_then(|s| s.to_str()) != Some(record.report.run_id.as_str()) {
        return Err(invalid("named otherwise than its run"));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use trimtab_proto::words::Pace;

    use super::*;
    use crate::trim::report::FilesystemRun;

    const BOOT: &str = "b00t";

    fn record(n: u32, fence: u64, state: RunState) -> Record {
        let run_id = format!("00000000-0000-4000-8000-{n:012}");
        let order = Order {
            run_id: run_id.clone(),
            targets: vec![],
            min_extent: 0,
            pace: Pace::Full,
            deadline: Some(Duration::from_secs(60)),
            linger: Duration::ZERO,
            again: false,
            also_types: vec![],
        };
        let filesystem = FilesystemRun {
            filesystem_id: crate::model::DevNum { major: 8, minor: 1 },
            state: FilesystemState::Running,
            claimed: Some(7),
            claim: None,
            passes: 0,
            calls: 0,
            longest_call_ms: 0,
            passed: 9,
            min_extent: 0,
            duration_ms: 1,
            skip: None,
            failure: None,
        };
        let report = RunReport {
            run_id,
            fence,
            boot_id: BOOT.into(),
            state,
            stop: None,
            duration_ms: 1,
            filesystems: vec![filesystem],
            sent: vec![],
            settled: true,
        };
        let mut record = Record::new(order, report);
        record.written_unix_secs = u64::from(n);
        record
    }

    #[test]
    fn the_last_sixteen_outlive_the_agent() {
        let tmp = tempfile::tempdir().unwrap();
        let folder = tmp.path().join("trimtab-agent");
        let mut runs = Runs::load(&folder, BOOT);
        for n in 0..20 {
            runs.keep(record(n, 5, RunState::Ended));
        }
        let newest = record(19, 5, RunState::Ended);
        runs.raise_fence(&newest.report.run_id, 9);
        runs.raise_fence(&newest.report.run_id, 3);

        let again = Runs::load(&folder, BOOT);
        assert_eq!(again.records.len(), KEPT);
        assert_eq!(again.get(&newest.report.run_id).unwrap().report.fence, 9);
        assert_eq!(again.get(&record(3, 0, RunState::Ended).report.run_id), None);
        assert_eq!(again.last_end_unix_secs(), Some(19));
        assert_eq!(fs::read_dir(folder.join("runs")).unwrap().count(), KEPT);
        assert_eq!(Runs::load(&folder, "another boot").records, vec![]);
    }

    #[test]
    fn a_run_that_was_cut_off_is_closed() {
        let tmp = tempfile::tempdir().unwrap();
        let cut_off = record(1, 1, RunState::Running);
        Runs::load(tmp.path(), BOOT).note_open(&cut_off);
        let held = TrimLock::take(tmp.path()).unwrap();
        assert_eq!(Runs::load(tmp.path(), BOOT).records, vec![], "somebody is at it");
        drop(held);
        let report = Runs::load(tmp.path(), BOOT).get(&cut_off.report.run_id).unwrap().report.clone();
        assert_eq!((report.state, report.stop), (RunState::Ended, Some(StopReason::Shutdown)));
        assert_eq!(report.filesystems[0].state, FilesystemState::Partial);
        assert_eq!(report.filesystems[0].claimed, Some(7), "what was done is still said");
        assert!(!report.settled);
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        let tmp = tempfile::tempdir().unwrap();
        let runs = tmp.path().join("runs");
        fs::create_dir(&runs).unwrap();
        let good = record(1, 1, RunState::Ended);
        let text = serde_json::to_string(&good).unwrap();
        for (name, text) in [
            ("half.json", &text[..text.len() / 2]),
            ("empty.json", ""),
            ("renamed.json", &text),
            ("binary.json", "\u{0}\u{1}"),
        ] {
            fs::write(runs.join(name), text).unwrap();
        }
        fs::create_dir(runs.join("folder.json")).unwrap();
        let file = fs::File::create(runs.join("huge.json")).unwrap();
        file.set_len(MAX_FILE_BYTES + 1).unwrap();
        let other = text.replace(SCHEMA, "trimtab-agent.run/9");
        fs::write(runs.join(format!("{}.json", good.report.run_id)), other).unwrap();
        assert_eq!(Runs::load(tmp.path(), BOOT).records, vec![]);
    }
}
