//! `trimtab campaign report`: the account of the morning. Freed, held, cut, failed; each datastore, each reason, and the VMs,
//! biggest first.

use std::{cmp::Reverse, collections::BTreeMap};

use comfy_table::CellAlignment;
use jiff::Timestamp;

use super::{
    status::workers,
    words::{at, between, class, classes, styled_state, sums, vms, why},
};
use crate::{
    campaign::{
        account::{RunRow, Status, Summary},
        run::{Class, RunResult, RunState},
    },
    guest::text::{safe, safe_within},
    layers::Layer,
    model::trouble::Kind,
    render::{
        COLUMNS,
        list::{plain_table, printed},
        size::{iec, iec_signed},
        wrap::wrap,
    },
};

/// VMs that are listed unless all are asked for.
const MOST_VMS: usize = 40;
const NAME: usize = 24;
const HOST: usize = 16;
const DATASTORE: usize = 60;

/// The whole text. `all`: every VM, not only the biggest.
pub fn text(status: &Status, runs: &[RunRow], all: bool) -> String {
    let mut out = head(&status.summary, status.now);
    out.push_str(&workers(status));
    if !status.datastores.is_empty() {
        out.push('\n');
        out.push_str(&by_datastore(status));
    }
    let reasons = by_reason(status, runs);
    if !reasons.is_empty() {
        out.push('\n');
        out.push_str(&reasons);
    }
    if !runs.is_empty() {
        out.push('\n');
        out.push_str(&by_vm(status, runs, all));
    }
    out
}

fn head(summary: &Summary, now: Timestamp) -> String {
    let end = summary.ended.unwrap_or(now);
    let when = if summary.ended.is_some() { at(end) } else { "now".to_owned() };
    let mut out = format!(
        "campaign {} {:?}: {}, {} to {when} ({})\n",
        summary.id,
        safe_within(&summary.name, NAME),
        styled_state(summary.state),
        at(summary.applied),
        between(summary.applied, end),
    );
    for line in [
        summary.why.as_deref().map(safe),
        Some(format!("{}: {}", vms(summary.total), classes(&summary.done))),
        Some(sums(summary)),
    ]
    .into_iter()
    .flatten()
    {
        out.push_str(&wrap("  ", "  ", &line));
        out.push('\n');
    }
    out
}

fn by_datastore(status: &Status) -> String {
    let mut table = plain_table(&["DATASTORE", "VMS", "DONE", "FREED"]);
    for sum in &status.datastores {
        table.add_row([
            safe_within(&status.names.place(&sum.datastore), DATASTORE),
            sum.total.to_string(),
            sum.done.to_string(),
            iec_signed(sum.freed_bytes),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    printed(&table)
}

/// What one line of reasons stands for.
type Reason = (Class, Option<Layer>, Option<Kind>);

/// Everything that is not as it should be, by reason: how many, what is held, and one example in words.
fn by_reason(status: &Status, runs: &[RunRow]) -> String {
    let mut reasons: BTreeMap<String, (u32, u64, String)> = BTreeMap::new();
    for run in runs {
        let Some(result) = &run.result else { continue };
        if matches!(result.class, Class::Reclaimed | Class::AlreadyCompact) {
            continue;
        }
        let entry = reasons.entry(reason((result.class, result.layer, result.kind))).or_default();
        entry.0 = entry.0.saturating_add(1);
        entry.1 = entry.1.saturating_add(held(run));
        if entry.2.is_empty() {
            let on = status.is_fleet().then(|| safe_within(status.names.called(&run.vm.host), NAME));
            entry.2 = format!(
                "{}{}: {}",
                safe_within(&run.vm.name, NAME),
                on.map(|on| format!(" on {on}")).unwrap_or_default(),
                result.text.as_deref().map(safe).unwrap_or_default()
            );
        }
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, (count, ..))| Reverse(*count));
    let mut out = String::new();
    for (reason, (count, held, example)) in reasons {
        let held = if held == 0 { String::new() } else { format!(", {} held", iec(held)) };
        out.push_str(&wrap("", "    ", &format!("{reason}: {}{held}; {example}", vms(count))));
        out.push('\n');
    }
    out
}

/// "cut at drive", "failed (agent silent)".
fn reason((of, layer, kind): Reason) -> String {
    match (layer, kind) {
        (Some(layer), _) => format!("{} at {}", class(of), layer.as_str()),
        (None, Some(kind)) => format!("{} ({})", class(of), kind_in_words(kind)),
        (None, None) => class(of).to_owned(),
    }
}

/// The word of the JSON, with spaces.
fn kind_in_words(kind: Kind) -> String {
    serde_json::to_value(kind)
        .ok()
        .and_then(|word| Some(word.as_str()?.replace('_', " ")))
        .unwrap_or_default()
}

fn held(run: &RunRow) -> u64 {
    run.result.as_ref().map_or(0, RunResult::held_bytes)
}

/// Of a fleet where each VM is, in place of what was expected of it: a line has no room for both.
fn by_vm(status: &Status, runs: &[RunRow], all: bool) -> String {
    let mut rows: Vec<&RunRow> = runs.iter().collect();
    rows.sort_by_key(|run| (Reverse(run.freed_bytes), Reverse(held(run)), run.run));
    let shown = if all { rows.len() } else { MOST_VMS };
    let header = match status.is_fleet() {
        true => ["VM", "ON", "END", "FREED", "HELD"],
        false => ["VM", "END", "FREED", "HELD", "EXPECTED"],
    };
    let mut table = plain_table(&header);
    for run in rows.iter().take(shown) {
        table.add_row(row(status, run));
    }
    let widths = table.column_max_content_widths();
    let others =
        widths.iter().fold(0_usize, |sum, width| sum.saturating_add((*width).into()).saturating_add(2));
    let room = COLUMNS.saturating_sub(others).max(LEAST_WHY);
    let mut table = plain_table(&[&header[..], &["WHY"]].concat());
    for run in rows.iter().take(shown) {
        table.add_row(row(status, run).into_iter().chain([safe_within(&why(run), room)]));
    }
    for (column, title) in table.column_iter_mut().zip(header) {
        if matches!(title, "FREED" | "HELD" | "EXPECTED") {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut out = printed(&table);
    if let Some(more) = rows.len().checked_sub(shown).filter(|more| *more > 0) {
        out.push_str(&format!("and {more} more: --all shows them, --json has everything\n"));
    }
    out
}

/// All of a VM's line but the reason.
fn row(status: &Status, run: &RunRow) -> [String; 5] {
    let end = match (&run.result, run.state) {
        (Some(result), _) => class(result.class),
        (None, RunState::Running) => "running",
        (None, _) => "waiting",
    };
    let (vm, end) = (safe_within(&run.vm.name, NAME), end.to_owned());
    let (freed, held) = (iec_signed(run.freed_bytes), iec(held(run)));
    match status.is_fleet() {
        true => [vm, safe_within(status.names.called(&run.vm.host), HOST), end, freed, held],
        false => [vm, end, freed, held, iec(run.expected_bytes)],
    }
}

/// The reason has what the other columns leave of a line, and never less than this.
const LEAST_WHY: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::campaign::samples;

    fn plain(runs: &[RunRow], all: bool) -> String {
        anstream::adapter::strip_str(&text(&samples::status(), runs, all)).to_string()
    }

    #[test]
    fn a_fleet_says_where() {
        let mut runs = samples::runs();
        for run in runs.iter_mut().filter(|run| run.vm.name != "web-13") {
            run.vm.host = samples::OTHER_HOST.to_owned();
            run.vm.name = run.vm.name.repeat(6);
        }
        let report = text(&samples::fleet(), &runs, false);
        assert!(report.lines().all(|line| line.chars().count() <= COLUMNS), "{report}");
        let mut waits = samples::fleet();
        waits.hosts[1].has_worker = false;
        let told = text(&waits, &runs, false);
        assert!(told.contains("no worker was heard lately on host node2 (5s): systemctl status"), "{told}");
        let row = |of: &str| report.lines().find(|line| line.starts_with(of)).unwrap();
        assert!(row("web-13 ").contains(" node1  reclaimed "), "{report}");
        assert!(row("web-12").contains(" node2  reclaimed "), "{report}");
        assert!(
            report.contains("cut at drive: 2 VMs, 30.0 GiB held; build-1build-1build-1bu… on node2: no"),
            "{report}"
        );
    }

    #[test]
    fn the_biggest_first_and_every_reason() {
        let mut runs = samples::runs();
        let told = "sda: drive: the guest sent discards and QEMU passed none on to the image";
        if let Some(result) = runs[3].result.as_mut() {
            result.text = Some(told.to_owned());
        }
        let report = plain(&runs, false);
        assert!(report.contains("  sda: drive: the guest sent discards and QEMU pass…"), "{report}");
        assert!(report.lines().all(|line| line.chars().count() <= COLUMNS), "{report}");
        let at = |text: &str| report.find(text).unwrap_or_else(|| panic!("{text}\n{report}"));
        assert!(at("web-12") < at("web-13"), "{report}");
        assert!(report.contains("cut at drive: 2 VMs, 30.0 GiB held; build-1: no discard="), "{report}");
        assert!(report.contains("failed (agent silent): 1 VM; mute: no answer in 10 s"), "{report}");
    }

    #[test]
    fn many_vms() {
        let runs: Vec<RunRow> = (0..100).map(|_| samples::runs()[0].clone()).collect();
        assert!(plain(&runs, false).contains("and 60 more: --all"));
        assert_eq!(plain(&runs, true).matches("web-12").count(), 100);
    }
}
