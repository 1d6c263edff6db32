//! Runs: a request is validated into an [`Order`], reports and events become messages.

use std::time::Duration;

use trimtab_proto::{
    MAX_LINGER_SECS, v1,
    words::{Action, Pace, Word},
};

use super::survey::skip;
use crate::trim::report::{Event, Failure, FilesystemRun, Order, Progress, RunReport, Sent, Target, What};

/// No guest has more filesystems that are worth naming.
const MAX_TARGETS: usize = 4096;

/// Types beside the agent's own list; Linux has fewer that know FITRIM.
const MAX_TYPES: usize = 64;

/// A run's id in lower case, checked to be a UUID: 8-4-4-4-12 hexadecimal digits. It becomes a file's name.
///
/// # Errors
/// A sentence for the caller.
pub fn run_id(text: &str) -> Result<String, String> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths_fit = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]);
    if lengths_fit && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit())) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("run_id must be a UUID like 2f1e0c3a-9f0b-4c57-8a53-0d9b7f6f1a11".to_owned())
    }
}

/// What Steer asks for.
///
/// # Errors
/// A sentence for the caller.
pub fn action(number: i32) -> Result<Action, String> {
    Action::from_number(number).ok_or_else(|| format!("action {number} is not known to this agent"))
}

/// An order from a host; `default_pace` where it names none.
///
/// # Errors
/// A sentence for the caller: which field is wrong, and what it must be.
pub fn order(request: &v1::TrimRequest, default_pace: Pace) -> Result<Order, String> {
    let pace = match request.pace {
        0 => default_pace,
        number => {
            Pace::from_number(number).ok_or_else(|| format!("pace {number} is not known to this agent"))?
        }
    };
    if request.deadline_secs == 0 {
        return Err("deadline_secs must be above 0".to_owned());
    }
    if request.linger_secs > MAX_LINGER_SECS {
        return Err(format!("linger_secs must be at most {MAX_LINGER_SECS}"));
    }
    if request.targets.len() > MAX_TARGETS {
        return Err(format!("more than {MAX_TARGETS} targets"));
    }
    if request.also_types.len() > MAX_TYPES {
        return Err(format!("more than {MAX_TYPES} also_types"));
    }
    let mut targets = request.targets.iter().map(target).collect::<Result<Vec<_>, _>>()?;
    targets.sort_by_key(|t| t.filesystem_id);
    let mut pairs = targets.iter().zip(targets.iter().skip(1));
    if let Some((twice, _)) = pairs.find(|(one, other)| one.filesystem_id == other.filesystem_id) {
        return Err(format!("filesystem {} is named twice", twice.filesystem_id));
    }
    Ok(Order {
        run_id: run_id(&request.run_id)?,
        targets,
        min_extent: 0,
        pace,
        deadline: Some(Duration::from_secs(request.deadline_secs.into())),
        linger: Duration::from_secs(request.linger_secs.into()),
        again: request.again,
        also_types: request.also_types.clone(),
    })
}

fn target(target: &v1::Target) -> Result<Target, String> {
    let filesystem_id = target
        .filesystem_id
        .parse()
        .map_err(|_| "a target's filesystem_id must be an id of Survey, like \"8:1\"".to_owned())?;
    Ok(Target { filesystem_id, min_extent: target.min_extent })
}

/// An event, as the `seq`th of its stream.
pub fn event(seq: u64, event: Event) -> v1::TrimEvent {
    use v1::trim_event::What as Wire;
    let what = match event.what {
        What::State(state) => Wire::State(report(state)),
        What::Filesystem(run) => Wire::Filesystem(filesystem(run)),
        What::Progress(moved) => Wire::Progress(progress(moved)),
        What::End(end) => Wire::End(report(end)),
    };
    v1::TrimEvent { seq, elapsed_ms: event.elapsed_ms, what: Some(what) }
}

/// A report.
pub fn report(report: RunReport) -> v1::RunReport {
    v1::RunReport {
        run_id: report.run_id,
        fence: report.fence,
        boot_id: report.boot_id,
        state: report.state.number(),
        stop: number(report.stop),
        duration_ms: report.duration_ms,
        filesystems: report.filesystems.into_iter().map(filesystem).collect(),
        sent: report.sent.into_iter().map(sent).collect(),
        settled: report.settled,
    }
}

fn filesystem(run: FilesystemRun) -> v1::FilesystemRun {
    v1::FilesystemRun {
        filesystem_id: run.filesystem_id.to_string(),
        state: run.state.number(),
        claimed: run.claimed,
        claim: number(run.claim),
        passes: run.passes,
        calls: run.calls,
        longest_call_ms: run.longest_call_ms,
        passed: run.passed,
        min_extent: run.min_extent,
        duration_ms: run.duration_ms,
        skip: run.skip.as_ref().map(skip),
        failure: run.failure.map(failure),
    }
}

fn progress(progress: Progress) -> v1::Progress {
    v1::Progress {
        filesystem_id: progress.filesystem_id.to_string(),
        passed: progress.passed,
        of: progress.of,
        sent: progress.sent.into_iter().map(sent).collect(),
    }
}

pub(super) fn sent(sent: Sent) -> v1::Sent {
    v1::Sent { device_id: sent.device_id.to_string(), bytes: sent.discarded, written: sent.written }
}

pub(super) fn failure(failure: Failure) -> v1::Failure {
    v1::Failure { kind: failure.kind.number(), errno: failure.errno, text: failure.text }
}

/// 0 for what is not said.
fn number<W: Word>(word: Option<W>) -> i32 {
    word.map_or(0, Word::number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "2F1E0C3A-9f0b-4c57-8a53-0d9b7f6f1a11";

    fn request() -> v1::TrimRequest {
        v1::TrimRequest { run_id: ID.into(), fence: 1, deadline_secs: 60, ..Default::default() }
    }

    fn to(id: &str) -> v1::Target {
        v1::Target { filesystem_id: id.into(), min_extent: 4096 }
    }

    #[test]
    fn a_good_order() {
        let asked = v1::TrimRequest { targets: vec![to("8:17"), to("8:1")], linger_secs: 10, ..request() };
        let order = order(&asked, Pace::Steady).unwrap();
        assert_eq!(order.run_id, ID.to_lowercase());
        assert_eq!(order.pace, Pace::Steady);
        let ids: Vec<_> = order.targets.iter().map(|t| t.filesystem_id.to_string()).collect();
        assert_eq!(ids, ["8:1", "8:17"], "in one order, so that the same request is the same order");
    }

    #[test]
    fn bad_orders_name_the_field() {
        for (name, asked, says) in [
            ("no id", v1::TrimRequest { run_id: String::new(), ..request() }, "run_id"),
            ("a path", v1::TrimRequest { run_id: "../../etc/passwd".into(), ..request() }, "run_id"),
            ("too short", v1::TrimRequest { run_id: ID[1..].into(), ..request() }, "run_id"),
            ("not hex", v1::TrimRequest { run_id: ID.replace('a', "g"), ..request() }, "run_id"),
            ("no deadline", v1::TrimRequest { deadline_secs: 0, ..request() }, "deadline_secs"),
            ("long linger", v1::TrimRequest { linger_secs: 11, ..request() }, "linger_secs"),
            ("pace", v1::TrimRequest { pace: 9, ..request() }, "pace 9"),
            ("target", v1::TrimRequest { targets: vec![to("/")], ..request() }, "filesystem_id"),
            (
                "twice",
                v1::TrimRequest { targets: vec![to("8:1"), to("8:1")], ..request() },
                "8:1 is named twice",
            ),
            ("many", v1::TrimRequest { targets: vec![to("8:1"); MAX_TARGETS + 1], ..request() }, "targets"),
        ] {
            let error = order(&asked, Pace::Full).unwrap_err();
            assert!(error.contains(says), "{name}: {error}");
        }
    }
}
