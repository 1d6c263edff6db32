//! RunReport and TrimEvent.

use std::time::Duration;

use trimtab_proto::{v1, words::Wire};

use super::{
    MAX_DEVICES, MAX_FILESYSTEMS, MAX_SENTENCE_BYTES, Nonsense,
    field::{bytes, bytes_or_none, count, each_once, id, list, millis, required, text, word},
    survey::skip,
};
use crate::model::run::{Failure, FilesystemRun, Progress, RunEvent, RunReport, Sent};

/// The highest errno of any kernel (MAX_ERRNO in include/linux/err.h).
const MAX_ERRNO: i32 = 4095;

/// An event and its place in the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Counts the events of a stream.
    pub seq: u64,
    /// Since the run began.
    pub elapsed: Duration,
    /// What happened.
    pub what: RunEvent,
}

/// Checks one event of a stream. Its place among the others is the stream's business.
pub fn event(event: v1::TrimEvent) -> Result<Event, Nonsense> {
    use v1::trim_event::What;
    let what = match required("what", event.what)? {
        What::State(state) => RunEvent::State(report(state).map_err(|error| error.within("state"))?),
        What::End(end) => RunEvent::End(report(end).map_err(|error| error.within("end"))?),
        What::Filesystem(fs) => {
            RunEvent::Filesystem(filesystem_run(fs).map_err(|error| error.within("filesystem"))?)
        }
        What::Progress(now) => RunEvent::Progress(progress(now).map_err(|error| error.within("progress"))?),
    };
    if let RunEvent::End(end) = &what
        && end.stop.is_none()
    {
        return Err(Nonsense::new("end.stop", "missing"));
    }
    Ok(Event { seq: event.seq, elapsed: millis("elapsed_ms", event.elapsed_ms)?, what })
}

/// Checks the facts of a run.
pub fn report(report: v1::RunReport) -> Result<RunReport, Nonsense> {
    count("filesystems", report.filesystems.len(), MAX_FILESYSTEMS)?;
    let filesystems = list("filesystems", report.filesystems, filesystem_run)?;
    each_once("filesystems", filesystems.iter().map(|fs| fs.filesystem_id.as_str()))?;
    Ok(RunReport {
        run_id: word("run_id", report.run_id)?,
        fence: report.fence,
        boot_id: word("boot_id", report.boot_id)?,
        state: Wire::read(report.state),
        stop: (report.stop != 0).then(|| Wire::read(report.stop)),
        duration: millis("duration_ms", report.duration_ms)?,
        filesystems,
        sent: sent(report.sent)?,
        settled: report.settled,
    })
}

fn filesystem_run(fs: v1::FilesystemRun) -> Result<FilesystemRun, Nonsense> {
    let claimed_bytes = bytes_or_none("claimed", fs.claimed)?;
    Ok(FilesystemRun {
        filesystem_id: id("filesystem_id", fs.filesystem_id)?,
        state: Wire::read(fs.state),
        claimed_bytes,
        claim: (claimed_bytes.is_some() || fs.claim != 0).then(|| Wire::read(fs.claim)),
        passes: fs.passes,
        passed_bytes: bytes("passed", fs.passed)?,
        min_extent_bytes: bytes("min_extent", fs.min_extent)?,
        duration: millis("duration_ms", fs.duration_ms)?,
        calls: fs.calls,
        longest_call: millis("longest_call_ms", fs.longest_call_ms)?,
        skip: fs.skip.map(skip).transpose()?,
        failure: fs.failure.map(failure).transpose()?,
    })
}

fn progress(progress: v1::Progress) -> Result<Progress, Nonsense> {
    Ok(Progress {
        filesystem_id: id("filesystem_id", progress.filesystem_id)?,
        passed_bytes: bytes_or_none("passed", progress.passed)?,
        of_bytes: bytes("of", progress.of)?,
        sent: sent(progress.sent)?,
    })
}

pub(super) fn sent(values: Vec<v1::Sent>) -> Result<Vec<Sent>, Nonsense> {
    count("sent", values.len(), MAX_DEVICES)?;
    let values = list("sent", values, |sent| {
        Ok(Sent {
            device_id: id("device_id", sent.device_id)?,
            discarded_bytes: bytes_or_none("bytes", sent.bytes)?,
            written_bytes: bytes_or_none("written", sent.written)?,
        })
    })?;
    each_once("sent", values.iter().map(|sent| sent.device_id.as_str()))?;
    Ok(values)
}

pub(super) fn failure(failure: v1::Failure) -> Result<Failure, Nonsense> {
    if !(0..=MAX_ERRNO).contains(&failure.errno) {
        return Err(Nonsense::new("failure.errno", format!("{} is no errno", failure.errno)));
    }
    let text = text("text", failure.text, MAX_SENTENCE_BYTES).map_err(|error| error.within("failure"))?;
    Ok(Failure { kind: Wire::read(failure.kind), errno: failure.errno, text })
}
