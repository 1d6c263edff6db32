//! What `trimtab trim` ends in: per disk the ledger and the verdict, then the sum.

use std::{fmt::Write, time::Duration};

use super::{
    COLUMNS, fix,
    size::{iec, iec_or_unknown, iec_signed},
    skips,
    wrap::{both_ends, wrap},
};
use crate::{
    guest::text::safe,
    ledger::{account::Ledger, verdict::Verdict},
    model::trouble::Trouble,
    trim::outcome::{DatastoreChange, DiskOutcome, TurnOutcome},
};

/// One VM's part of the screen.
pub fn vm(name: &str, result: &Result<TurnOutcome, Trouble>) -> String {
    let mut out = String::new();
    match result {
        Ok(outcome) => {
            for disk in &outcome.disks {
                out.push_str(&disk_lines(name, disk));
            }
            if let Some(trouble) = &outcome.trouble {
                push_line(&mut out, &super::error::for_person(name, trouble));
            }
            for guest_disk in &outcome.unpaired_guest_disks {
                let text =
                    format!("{}: no image of the host could be paired with this disk", safe(guest_disk));
                push_line(&mut out, &wrap(&format!("{name} "), "  ", &text));
                push_line(
                    &mut out,
                    "  fix  name it in the inventory: guest = \"NAME\" under its [[vm.disk]]",
                );
            }
            let filesystems = outcome.filesystems.iter().map(|fs| &fs.filesystem);
            if let Some(skipped) = skips::line(filesystems, outcome.not_listed) {
                push_line(&mut out, &wrap("", "  ", &skipped));
            }
            if let Some(line) = longest_call(outcome) {
                push_line(&mut out, &wrap("", "  ", &line));
            }
            if outcome.disks.iter().any(|disk| disk.ledger.claim_is_echo) {
                push_line(&mut out, "* xfs returns the range it was asked for, whatever was free in it");
            }
        }
        Err(trouble) => push_line(&mut out, &super::error::for_person(name, trouble)),
    }
    out
}

/// A call that took longer is told of: a program that waits so long is noticed.
const LONG_CALL: Duration = Duration::from_secs(1);

/// What one call took at the most, where that is long: no pace makes one shorter than the filesystem allows.
fn longest_call(outcome: &TurnOutcome) -> Option<String> {
    let runs = outcome.filesystems.iter().filter_map(|fs| Some((&fs.filesystem, fs.run.as_ref()?)));
    let (fs, run) =
        runs.filter(|(_, run)| run.longest_call >= LONG_CALL).max_by_key(|(_, run)| run.longest_call)?;
    Some(format!(
        "the longest call took {:.1} s, on {} ({}, {} in all): whoever wrote there may have waited so long",
        run.longest_call.as_secs_f64(),
        safe(&fs.mount),
        safe(&fs.fs_type),
        match run.calls {
            1 => "1 call".to_owned(),
            calls => format!("{calls} calls"),
        }
    ))
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn disk_lines(vm: &str, disk: &DiskOutcome) -> String {
    let mut out = String::new();
    let guest_disk = disk.guest_disk.as_deref().map_or_else(|| safe(disk.host.name()), safe);
    let (image, format) = match &disk.host.image {
        Some(image) => (safe(&image.path.display().to_string()), image.format.as_str().to_owned()),
        None => (format!("({})", disk.host.protocol), String::new()),
    };
    let kinds: Vec<String> = std::iter::once(format)
        .chain(disk.fs_types.iter().map(|fs| safe(fs)))
        .filter(|s| !s.is_empty())
        .collect();
    let freed = disk.ledger.freed_bytes.map_or_else(|| "?".to_owned(), iec_signed);
    let verdict = format!("{} {freed:>10}", label(disk.ruling.verdict));
    push_line(&mut out, &both_ends(&format!("{vm} {guest_disk}  {image}  {}", kinds.join(", ")), &verdict));
    push_line(&mut out, &ledger_line(&disk.ledger));
    if disk.ruling.verdict != Verdict::Reclaimed {
        push_line(&mut out, &reason(disk));
        if let Some(fix) = &disk.ruling.fix {
            push_line(&mut out, &fix::lines("  ", fix));
        }
    }
    for impossible in &disk.ledger.impossible {
        push_line(&mut out, &wrap("  note: ", "        ", &safe(impossible)));
    }
    out
}

fn reason(disk: &DiskOutcome) -> String {
    let word = if disk.ruling.on_guests_word { " (by the guest's own counters)" } else { "" };
    wrap("  ", "    ", &format!("{}{word}", safe(&disk.ruling.because)))
}

/// claimed -> sent -> arrived -> freed, and what the image occupied before and after.
fn ledger_line(ledger: &Ledger) -> String {
    let mark = if ledger.claim_is_echo { "*" } else { "" };
    let mut left = format!(
        "  claimed {}{mark} -> sent {} -> arrived {} -> freed {}",
        iec_or_unknown(ledger.claimed_bytes),
        iec_or_unknown(ledger.sent_bytes),
        ledger.arrived_bytes.map_or_else(|| "not read".to_owned(), iec),
        ledger.freed_bytes.map_or_else(|| "?".to_owned(), iec_signed),
    );
    if let Some(max) =
        ledger.freed_max_bytes.filter(|max| ledger.freed_bytes.is_some_and(|freed| *max > freed))
    {
        // Writing to a String cannot fail.
        let _ = write!(left, " to {}", iec_signed(max));
    }
    let allocated = match (ledger.allocated_before_bytes, ledger.allocated_after_bytes) {
        (Some(before), Some(after)) => before_and_after(before, after),
        _ => "allocation unknown".to_owned(),
    };
    both_ends(&left, &allocated)
}

/// "31.9 -> 12.5 GiB", with both units where they differ.
fn before_and_after(before: u64, after: u64) -> String {
    let (before, after) = (iec(before), iec(after));
    match (before.split_once(' '), after.split_once(' ')) {
        (Some((number, unit)), Some((_, other))) if unit == other => format!("{number} -> {after}"),
        _ => format!("{before} -> {after}"),
    }
}

/// The verdict as a person reads it.
pub fn label(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reclaimed => "reclaimed",
        Verdict::PartlyReclaimed => "partly reclaimed",
        Verdict::AlreadyCompact => "already compact",
        Verdict::CutInVmm => "cut in VMM",
        Verdict::CutInGuest => "cut in guest",
        Verdict::HeldOnHost => "held on host",
        Verdict::NotRun => "not run",
        Verdict::NotMeasurable => "not measurable",
        Verdict::Failed => "failed",
    }
}

/// The last line: what came back, and the exit code where it is not 0.
pub fn sum(results: &[(String, Result<TurnOutcome, Trouble>)], took: Duration, exit: u8) -> String {
    let disks =
        || results.iter().filter_map(|(_, result)| result.as_ref().ok()).flat_map(|outcome| &outcome.disks);
    let gained = || {
        disks().filter(|disk| matches!(disk.ruling.verdict, Verdict::Reclaimed | Verdict::PartlyReclaimed))
    };
    let freed = gained().filter_map(|disk| disk.ledger.freed_bytes).fold(0_i64, i64::saturating_add);
    let held = disks()
        .filter(|disk| {
            matches!(disk.ruling.verdict, Verdict::HeldOnHost | Verdict::CutInVmm | Verdict::CutInGuest)
        })
        .filter_map(|disk| disk.slack_after)
        .fold(0_u64, |sum, slack| sum.saturating_add(slack.max_bytes));
    let count = disks().count();
    let mut left = format!(
        "{} came back from {} of {count} disk{} in {:.1} s",
        iec_signed(freed),
        gained().count(),
        if count == 1 { "" } else { "s" },
        took.as_secs_f64()
    );
    if held > 0 {
        let _ = write!(left, "; {} of slack at most is held or cut", iec(held));
    }
    let right = if exit == 0 { String::new() } else { format!("exit {exit}") };
    let line = both_ends(&left, &right);
    debug_assert!(line.chars().count() <= COLUMNS.saturating_add(20), "the sum grew out of its line");
    line.trim_end().to_owned()
}

/// What the datastores gained meanwhile, by anybody: a line each; nothing where more VMs than one were trimmed, since then
/// each saw a part of it, or where nothing was.
pub fn datastores(results: &[(String, Result<TurnOutcome, Trouble>)]) -> String {
    let [(_, Ok(outcome))] = results else { return String::new() };
    if outcome.run.is_none() {
        return String::new();
    }
    let line = |change: &DatastoreChange| {
        let gain = change.gain_bytes()?;
        let now = iec_or_unknown(change.free_after_bytes);
        let word = if gain < 0 { "lost" } else { "gained" };
        let path = safe(&change.before.path.display().to_string());
        Some(format!("{path} {word} {} meanwhile: {now} are free\n", iec(gain.unsigned_abs())))
    };
    outcome.datastores.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests;
