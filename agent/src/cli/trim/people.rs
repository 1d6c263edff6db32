//! The result for people: a table of at most 100 columns, sums, and what the numbers mean.

use trimtab_proto::words::{ClaimKind, FilesystemState, SkipReason, StopReason};

use super::super::table::{
    Side::{Left, Right},
    render, wrap,
};
use crate::{
    lock,
    model::{DevNum, Filesystem, Survey},
    text::{shown, size},
    trim::{
        Refused,
        report::{FilesystemRun, Order, RunReport},
    },
};

const WIDTH: usize = 100;

/// A block of most filesystems.
const SMALLEST: u64 = 4096;

/// A device's name; its number where the survey does not have it.
pub(super) fn name_of(survey: &Survey, id: DevNum) -> String {
    survey
        .devices
        .iter()
        .find(|device| device.id == id)
        .map_or_else(|| id.to_string(), |device| shown(&device.name))
}

/// Whether the order is about this filesystem.
pub(super) fn named(order: &Order, id: DevNum) -> bool {
    order.targets.is_empty() || order.targets.iter().any(|target| target.filesystem_id == id)
}

/// Free bytes in extents of at least `min_extent`: of the sizes that the survey sums up, the largest that is not
/// above it. `None` where the filesystem does not tell.
pub(super) fn discardable(fs: &Filesystem, min_extent: u64) -> Option<u64> {
    let fits = fs.free_extents.iter().filter(|extents| extents.at_least <= min_extent.max(SMALLEST));
    fits.max_by_key(|extents| extents.at_least).map(|extents| extents.bytes)
}

/// Free bytes in extents that are smaller than `min_extent`, at most: the sizes that a survey sums up are few. `None` where
/// the filesystem does not tell; 0 where the kernel leaves nothing out for it.
pub(super) fn left_behind(fs: &Filesystem, min_extent: u64) -> Option<u64> {
    let all = fs.free_extents.iter().map(|extents| extents.bytes).max()?;
    let taken = fs.free_extents.iter().filter(|extents| extents.at_least >= min_extent.max(SMALLEST));
    let taken = taken.min_by_key(|extents| extents.at_least).map_or(0, |extents| extents.bytes);
    all.checked_sub(taken)
}

/// The result of a run.
pub(super) fn page(report: &RunReport, survey: &Survey) -> String {
    let of = |run: &FilesystemRun| survey.filesystems.iter().find(|fs| fs.id == run.filesystem_id);
    let worked: Vec<_> = report.filesystems.iter().filter(|run| run.skip.is_none()).collect();
    let mut parts = Vec::new();
    if worked.is_empty() {
        parts.push("Nothing here can be trimmed.\n".to_owned());
    } else {
        let rows: Vec<[String; 6]> = worked.iter().map(|run| row(run, of(run), survey)).collect();
        let head = [
            ("FILESYSTEM", Left),
            ("TYPE", Left),
            ("DISK", Left),
            ("CLAIMED", Right),
            ("TIME", Right),
            ("RESULT", Left),
        ];
        parts.push(render(head, &rows, WIDTH));
    }
    let mut lines = Vec::new();
    for run in &worked {
        if let (Some(failure), Some(fs)) = (&run.failure, of(run)) {
            lines.extend(wrap(&format!("{}: {}", shown(&fs.mount), shown(&failure.text)), WIDTH));
        }
    }
    if worked.iter().any(|run| !is_echo(run) && run.claimed > Some(0)) {
        lines.push(
            "claimed is all free space that was handed to the disk, long free or never used included"
                .to_owned(),
        );
    }
    if worked.iter().any(|run| is_echo(run)) {
        lines.push(
            "* xfs of this kernel returns the range that it was asked for, not what was free in it"
                .to_owned(),
        );
    }
    if let Some(run) = worked.iter().max_by_key(|run| run.longest_call_ms)
        && let (LONG_CALL_MS.., Some(fs)) = (run.longest_call_ms, of(run))
    {
        let calls = if run.calls == 1 { "1 call".to_owned() } else { format!("{} calls", run.calls) };
        let text = format!(
            "the longest call took {}, on {} ({}, {calls} in all): whoever wrote there may have waited so long",
            secs(run.longest_call_ms),
            shown(&fs.mount),
            shown(&fs.fs_type)
        );
        lines.extend(wrap(&text, WIDTH));
    }
    for run in &worked {
        let Some(fs) = of(run) else { continue };
        if let Some(left) = left_behind(fs, run.min_extent).filter(|left| *left > 0) {
            let (mount, least) = (shown(&fs.mount), size(Some(run.min_extent)));
            let text = format!(
                "{mount}: up to {} of its free space are in extents below {least}, which were left alone",
                size(Some(left))
            );
            lines.extend(wrap(&text, WIDTH));
        }
    }
    lines.extend(wrap(&skipped(report, survey), WIDTH).into_iter().filter(|line| !line.is_empty()));
    lines.extend(sums(report, &worked, survey));
    parts.push(lines.iter().map(|line| format!("{line}\n")).collect());
    parts.concat()
}

/// A call that took longer is told of: a program that waits so long is noticed. No pace makes one shorter than the
/// filesystem allows.
const LONG_CALL_MS: u64 = 1000;

fn is_echo(run: &FilesystemRun) -> bool {
    run.claim == Some(ClaimKind::RangeEcho) && run.claimed.is_some()
}

fn row(run: &FilesystemRun, fs: Option<&Filesystem>, survey: &Survey) -> [String; 6] {
    let disks = fs.map(|fs| fs.leaves.iter().map(|id| name_of(survey, *id)).collect::<Vec<_>>().join(","));
    let claimed = match run.claimed {
        Some(_) if is_echo(run) => format!("{}*", size(run.claimed)),
        claimed => size(claimed),
    };
    let result = match run.state {
        FilesystemState::Done => "done".to_owned(),
        FilesystemState::Partial => "stopped before its end".to_owned(),
        FilesystemState::Failed => {
            run.failure.as_ref().map_or("failed".to_owned(), |failure| format!("failed: {}", failure.kind))
        }
        state => state.to_string(),
    };
    [
        fs.map_or_else(|| run.filesystem_id.to_string(), |fs| shown(&fs.mount)),
        fs.map_or_else(String::new, |fs| shown(&fs.fs_type)),
        disks.unwrap_or_default(),
        claimed,
        secs(run.duration_ms),
        result,
    ]
}

/// Those that somebody could expect to be trimmed, with the reason.
fn skipped(report: &RunReport, survey: &Survey) -> String {
    let mut listed = Vec::new();
    for run in &report.filesystems {
        let Some(skip) = &run.skip else { continue };
        if matches!(skip.reason, SkipReason::Pseudo | SkipReason::Network | SkipReason::NotAsked) {
            continue;
        }
        if let Some(fs) = survey.filesystems.iter().find(|fs| fs.id == run.filesystem_id) {
            listed.push(format!("{} ({})", shown(&fs.mount), skip.reason.to_string().replace('_', " ")));
        }
    }
    if listed.is_empty() { String::new() } else { format!("skipped: {}", listed.join(", ")) }
}

fn sums(report: &RunReport, worked: &[&FilesystemRun], survey: &Survey) -> Vec<String> {
    let mut lines: Vec<String> = report
        .sent
        .iter()
        .map(|disk| {
            let name = name_of(survey, disk.device_id);
            match disk.discarded {
                Some(_) => format!("sent to {name}: {}", size(disk.discarded)),
                None => format!("sent to {name}: not known, this kernel does not count it"),
            }
        })
        .collect();
    if !report.settled && !report.sent.is_empty() {
        lines.push("the disks were still at work when this was read; more may have been sent".to_owned());
    }
    let claims = || worked.iter().filter(|run| !is_echo(run)).filter_map(|run| run.claimed);
    let why = match report.stop {
        Some(StopReason::Done) | None => String::new(),
        Some(reason) => format!(" (ended early: {})", reason.to_string().replace('_', " ")),
    };
    let done = worked.iter().filter(|run| run.state == FilesystemState::Done).count();
    if !worked.is_empty() {
        lines.push(format!(
            "{done} of {} filesystems done in {}, {} claimed{why}",
            worked.len(),
            secs(report.duration_ms),
            size(Some(claims().fold(0, u64::saturating_add))),
        ));
    }
    lines
}

/// What would be done.
pub(super) fn dry_run(order: &Order, survey: &Survey) -> String {
    let rows: Vec<[String; 6]> = survey
        .filesystems
        .iter()
        .filter(|fs| named(order, fs.id))
        .filter(|fs| {
            !matches!(fs.skip.as_ref().map(|s| s.reason), Some(SkipReason::Pseudo | SkipReason::Network))
        })
        .map(|fs| {
            [
                shown(&fs.mount),
                shown(&fs.fs_type),
                fs.leaves.iter().map(|id| name_of(survey, *id)).collect::<Vec<_>>().join(","),
                size(fs.free),
                size(discardable(fs, order.min_extent)),
                match &fs.skip {
                    None => "would be trimmed".to_owned(),
                    Some(skip) => format!("left out: {}", skip.reason.to_string().replace('_', " ")),
                },
            ]
        })
        .collect();
    let head = [
        ("FILESYSTEM", Left),
        ("TYPE", Left),
        ("DISK", Left),
        ("FREE", Right),
        ("IN EXTENTS WORTH IT", Right),
        ("", Left),
    ];
    let least = size(Some(order.min_extent.max(SMALLEST)));
    format!("{}Nothing was trimmed. Extents worth it: of {least} and more.\n", render(head, &rows, WIDTH))
}

/// " (for 12 s)", where another trim is under way.
pub(super) fn since(refused: &Refused) -> String {
    match refused {
        Refused::Busy { since_unix_secs: Some(since) } => {
            format!(" (it began {} s ago)", lock::now_unix_secs().saturating_sub(*since))
        }
        _ => String::new(),
    }
}

/// "0.1 s", "75.0 s".
pub(super) fn secs(millis: u64) -> String {
    let tenths = millis.saturating_add(50).checked_div(100).unwrap_or_default();
    let (secs, tenth) =
        (tenths.checked_div(10).unwrap_or_default(), tenths.checked_rem(10).unwrap_or_default());
    format!("{secs}.{tenth} s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FreeExtents;

    #[test]
    fn what_a_smallest_extent_leaves() {
        let extents = [(4096, 100), (65_536, 60), (1 << 20, 10), (2 << 20, 10), (16 << 20, 0)];
        let extents = extents.map(|(at_least, bytes)| FreeExtents { at_least, bytes }).to_vec();
        for (name, min_extent, left) in [
            ("none asked for", 0, 0),
            ("a block", 4096, 0),
            ("a cluster", 65_536, 40),
            ("between two sizes: at most", 70_000, 90),
            ("larger than any", 1 << 30, 100),
        ] {
            let told = filesystem(extents.clone());
            assert_eq!(left_behind(&told, min_extent), Some(left), "{name}");
        }
        assert_eq!(left_behind(&filesystem(vec![]), 65_536), None, "it does not tell");
    }

    fn filesystem(free_extents: Vec<FreeExtents>) -> Filesystem {
        Filesystem {
            id: DevNum { major: 8, minor: 1 },
            mount: "/".into(),
            mounts: 1,
            fs_type: "ext4".into(),
            device: None,
            leaves: vec![],
            inside: vec![],
            size: None,
            used: None,
            free: None,
            skip: None,
            free_extents,
            frozen: false,
            errors: None,
        }
    }
}
