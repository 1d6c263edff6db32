//! `trimtab.trim/1`: docs/schema/trim.json.

use serde::Serialize;
use trimtab_proto::words::{ClaimKind, Wire};

use super::{FindingJson, SkipJson, interval};
use crate::{
    ledger::{pair::PairedBy, verdict::Verdict},
    model::{run::Failure, trouble::Trouble},
    trim::outcome::{DatastoreChange, DiskOutcome, FilesystemOutcome, TurnOutcome},
};

/// The document.
#[derive(Serialize, Debug)]
pub struct TrimDocument {
    schema: &'static str,
    started: String,
    duration_secs: f64,
    exit: u8,
    vms: Vec<VmJson>,
    datastores: Vec<DatastoreJson>,
}

#[derive(Serialize, Debug)]
struct VmJson {
    name: String,
    run_id: Option<String>,
    via: Option<&'static str>,
    stop: Option<String>,
    settled: Option<bool>,
    error: Option<Trouble>,
    disks: Vec<DiskJson>,
    unpaired_guest_disks: Vec<String>,
    filesystems: Vec<FilesystemJson>,
    filesystems_not_listed: u32,
}

#[derive(Serialize, Debug)]
struct DiskJson {
    guest_disk: Option<String>,
    image: Option<String>,
    format: Option<String>,
    paired_by: Option<PairedBy>,
    virtual_bytes: Option<u64>,
    used_bytes: Option<u64>,
    allocated_before_bytes: Option<u64>,
    allocated_after_bytes: Option<u64>,
    slack_before_bytes: Option<[u64; 2]>,
    slack_after_bytes: Option<[u64; 2]>,
    claimed_bytes: Option<u64>,
    sent_bytes: Option<u64>,
    arrived_bytes: Option<u64>,
    arrived_failed_requests: Option<u64>,
    freed_bytes: Option<i64>,
    freed_min_bytes: Option<i64>,
    freed_max_bytes: Option<i64>,
    written_meanwhile_bytes: Option<u64>,
    verdict: Verdict,
    rule: &'static str,
    because: String,
    fix: Option<String>,
    paste: Vec<String>,
    on_guests_word: bool,
    impossible: Vec<String>,
    findings: Vec<FindingJson>,
}

#[derive(Serialize, Debug)]
struct FilesystemJson {
    mount: String,
    #[serde(rename = "type")]
    fs_type: String,
    on: Vec<String>,
    state: Option<String>,
    claimed_bytes: Option<u64>,
    claim: Option<Wire<ClaimKind>>,
    min_extent_bytes: Option<u64>,
    duration_secs: Option<f64>,
    calls: Option<u32>,
    longest_call_secs: Option<f64>,
    skipped: Option<SkipJson>,
    failure: Option<FailureJson>,
}

#[derive(Serialize, Debug)]
struct FailureJson {
    kind: String,
    errno: i32,
    text: String,
}

impl From<&Failure> for FailureJson {
    fn from(failure: &Failure) -> Self {
        Self { kind: failure.kind.to_string(), errno: failure.errno, text: failure.text.clone() }
    }
}

#[derive(Serialize, Debug)]
struct DatastoreJson {
    id: String,
    path: String,
    free_before_bytes: u64,
    free_after_bytes: Option<u64>,
}

impl TrimDocument {
    /// Of these turns.
    pub fn new(
        results: &[(String, Result<TurnOutcome, Trouble>)],
        started: jiff::Timestamp,
        took: std::time::Duration,
        exit: u8,
    ) -> Self {
        Self {
            schema: "trimtab.trim/1",
            started: started.to_string(),
            duration_secs: took.as_secs_f64(),
            exit,
            vms: results.iter().map(|(name, result)| vm(name, result)).collect(),
            datastores: datastores(results),
        }
    }
}

fn vm(name: &str, result: &Result<TurnOutcome, Trouble>) -> VmJson {
    let outcome = result.as_ref().ok();
    let run = outcome.and_then(|outcome| outcome.run.as_ref());
    VmJson {
        name: name.to_owned(),
        run_id: run.map(|run| run.run_id.clone()),
        via: outcome.map(|outcome| outcome.agent.via.as_str()),
        stop: run.and_then(|run| run.stop).map(|stop| stop.to_string()),
        settled: run.map(|run| run.settled),
        error: match result {
            Ok(outcome) => outcome.trouble.clone(),
            Err(trouble) => Some(trouble.clone()),
        },
        disks: outcome.iter().flat_map(|outcome| &outcome.disks).map(disk).collect(),
        unpaired_guest_disks: outcome.map(|outcome| outcome.unpaired_guest_disks.clone()).unwrap_or_default(),
        filesystems: outcome.iter().flat_map(|outcome| &outcome.filesystems).map(filesystem).collect(),
        filesystems_not_listed: outcome.map_or(0, |outcome| outcome.not_listed),
    }
}

fn disk(disk: &DiskOutcome) -> DiskJson {
    let ledger = &disk.ledger;
    let image = disk.host.image.as_ref();
    DiskJson {
        guest_disk: disk.guest_disk.clone(),
        image: image.map(|image| image.path.display().to_string()),
        format: image.map(|image| image.format.as_str().to_owned()),
        paired_by: disk.paired_by,
        virtual_bytes: disk.host.virtual_bytes,
        used_bytes: disk.used_bytes,
        allocated_before_bytes: ledger.allocated_before_bytes,
        allocated_after_bytes: ledger.allocated_after_bytes,
        slack_before_bytes: interval(disk.slack_before),
        slack_after_bytes: interval(disk.slack_after),
        claimed_bytes: ledger.claimed_bytes,
        sent_bytes: ledger.sent_bytes,
        arrived_bytes: ledger.arrived_bytes,
        arrived_failed_requests: ledger.arrived_failed_requests,
        freed_bytes: ledger.freed_bytes,
        freed_min_bytes: ledger.freed_min_bytes,
        freed_max_bytes: ledger.freed_max_bytes,
        written_meanwhile_bytes: ledger.written_meanwhile_bytes,
        verdict: disk.ruling.verdict,
        rule: disk.ruling.rule,
        because: disk.ruling.because.clone(),
        fix: disk.ruling.fix.as_ref().map(|fix| fix.text.clone()),
        paste: disk.ruling.fix.iter().flat_map(|fix| fix.paste.clone()).collect(),
        on_guests_word: disk.ruling.on_guests_word,
        impossible: ledger.impossible.clone(),
        findings: disk.findings.iter().map(FindingJson::from).collect(),
    }
}

fn filesystem(fs: &FilesystemOutcome) -> FilesystemJson {
    let run = fs.run.as_ref();
    let skip = run.and_then(|run| run.skip.as_ref()).or(fs.filesystem.skip.as_ref());
    FilesystemJson {
        mount: fs.filesystem.mount.clone(),
        fs_type: fs.filesystem.fs_type.clone(),
        on: fs.on.clone(),
        state: run.map(|run| run.state.to_string()),
        claimed_bytes: run.and_then(|run| run.claimed_bytes),
        claim: run.and_then(|run| run.claim),
        min_extent_bytes: run.map(|run| run.min_extent_bytes),
        duration_secs: run.map(|run| run.duration.as_secs_f64()),
        calls: run.map(|run| run.calls),
        longest_call_secs: run.map(|run| run.longest_call.as_secs_f64()),
        skipped: skip.map(SkipJson::from),
        failure: run.and_then(|run| run.failure.as_ref()).map(FailureJson::from),
    }
}

/// Each datastore once: the first VM's "before", the last one's "after".
fn datastores(results: &[(String, Result<TurnOutcome, Trouble>)]) -> Vec<DatastoreJson> {
    let mut all: Vec<DatastoreJson> = Vec::new();
    let changes = results.iter().filter_map(|(_, result)| result.as_ref().ok()).flat_map(|o| &o.datastores);
    for DatastoreChange { before, free_after_bytes, .. } in changes {
        match all.iter_mut().find(|known| known.id == before.id) {
            Some(known) => {
                known.free_before_bytes = known.free_before_bytes.min(before.free_bytes);
                known.free_after_bytes = known.free_after_bytes.max(*free_after_bytes);
            }
            None => all.push(DatastoreJson {
                id: before.id.clone(),
                path: before.path.display().to_string(),
                free_before_bytes: before.free_bytes,
                free_after_bytes: *free_after_bytes,
            }),
        }
    }
    all
}

#[cfg(test)]
mod tests;
