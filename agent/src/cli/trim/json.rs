//! "trimtab-agent.trim/1". Bytes are integers, what is not known is null. Field names are a contract: they are only
//! ever added to.

use serde_json::{Value, json};

use super::people::{name_of, named};
use crate::{
    model::{DevNum, Skip, Survey},
    trim::{
        Refused,
        report::{Event, FilesystemRun, Order, RunReport, Sent, What},
    },
};

const SCHEMA: &str = "trimtab-agent.trim/1";

/// The document of a run.
pub(super) fn document(report: &RunReport, survey: &Survey, exit: u8) -> Value {
    let mut document = json!({ "schema": SCHEMA, "exit": exit, "dry_run": false, "error": null });
    merge(&mut document, state(report, survey));
    document
}

/// The document of a run that was not begun.
pub(super) fn refused(refused: &Refused, exit: u8) -> Value {
    let kind = match refused {
        Refused::Busy { .. } => "busy",
        Refused::NotPrivileged => "not_privileged",
        _ => "internal",
    };
    let since = match refused {
        Refused::Busy { since_unix_secs } => *since_unix_secs,
        _ => None,
    };
    json!({
        "schema": SCHEMA,
        "exit": exit,
        "error": { "kind": kind, "text": refused.to_string(), "since_unix_secs": since },
    })
}

/// The document of what would be done.
pub(super) fn dry_run(order: &Order, survey: &Survey) -> serde_json::Result<String> {
    let filesystems: Vec<Value> = survey
        .filesystems
        .iter()
        .filter(|fs| named(order, fs.id))
        .map(|fs| {
            json!({
                "id": fs.id,
                "mount": fs.mount.to_string_lossy(),
                "type": fs.fs_type,
                "on": fs.leaves.iter().map(|id| name_of(survey, *id)).collect::<Vec<_>>(),
                "free_bytes": fs.free,
                "discardable_bytes": super::people::discardable(fs, order.min_extent),
                "min_extent_bytes": order.min_extent,
                "skipped": fs.skip.as_ref().map(skip),
            })
        })
        .collect();
    page(&json!({ "schema": SCHEMA, "exit": 0, "dry_run": true, "error": null, "filesystems": filesystems }))
}

/// An event, for --events.
pub(super) fn event(event: &Event, survey: &Survey) -> Value {
    let mut line = json!({ "elapsed_ms": event.elapsed_ms });
    let (kind, facts) = match &event.what {
        What::State(report) | What::End(report) => ("state", state(report, survey)),
        What::Filesystem(run) => ("filesystem", filesystem(run, survey)),
        What::Progress(progress) => (
            "progress",
            json!({
                "id": progress.filesystem_id,
                "passed_bytes": progress.passed,
                "of_bytes": progress.of,
                "disks": disks(&progress.sent, survey),
            }),
        ),
    };
    merge(&mut line, json!({ "event": kind }));
    merge(&mut line, facts);
    line
}

fn state(report: &RunReport, survey: &Survey) -> Value {
    json!({
        "run_id": report.run_id,
        "boot_id": report.boot_id,
        "state": report.state,
        "stop": report.stop,
        "duration_ms": report.duration_ms,
        "settled": report.settled,
        "filesystems": report.filesystems.iter().map(|run| filesystem(run, survey)).collect::<Vec<_>>(),
        "disks": disks(&report.sent, survey),
    })
}

fn filesystem(run: &FilesystemRun, survey: &Survey) -> Value {
    let fs = survey.filesystems.iter().find(|fs| fs.id == run.filesystem_id);
    json!({
        "id": run.filesystem_id,
        "mount": fs.map(|fs| fs.mount.to_string_lossy()),
        "type": fs.map(|fs| &fs.fs_type),
        "on": fs.map(|fs| fs.leaves.iter().map(|id| name_of(survey, *id)).collect::<Vec<_>>()),
        "state": run.state,
        "claimed_bytes": run.claimed,
        "claim": run.claim,
        "passes": run.passes,
        "passed_bytes": run.passed,
        "min_extent_bytes": run.min_extent,
        "left_below_min_extent_bytes": fs.and_then(|fs| super::people::left_behind(fs, run.min_extent)),
        "duration_ms": run.duration_ms,
        "calls": run.calls,
        "longest_call_ms": run.longest_call_ms,
        "skipped": run.skip.as_ref().map(skip),
        "failure": run.failure.as_ref().map(|f| json!({ "kind": f.kind, "errno": f.errno, "text": f.text })),
    })
}

fn skip(skip: &Skip) -> Value {
    json!({ "reason": skip.reason, "device": skip.device.map(|id: DevNum| id.to_string()), "text": skip.text })
}

fn disks(sent: &[Sent], survey: &Survey) -> Vec<Value> {
    sent.iter()
        .map(|disk| {
            json!({
                "id": disk.device_id,
                "name": name_of(survey, disk.device_id),
                "sent_bytes": disk.discarded,
                "written_bytes": disk.written,
            })
        })
        .collect()
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// For people and files.
pub(super) fn page(value: &Value) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n")
}

/// One of many.
pub(super) fn line(value: &Value) -> serde_json::Result<String> {
    serde_json::to_string(value).map(|text| text + "\n")
}
