//! `trimtab survey`: per disk what it could give back and what is in the way, biggest first.

use std::{cmp::Reverse, fmt::Write};

use comfy_table::{Cell, CellAlignment};

use super::{
    list::{plain_table, printed},
    size::{iec, iec_or_unknown},
    skips,
    wrap::wrap,
};
use crate::{
    guest::text::safe,
    layers::{self, Finding, ImageFacts, Layer, State},
    ledger::slack::Slack,
    model::trouble::{Kind, Trouble},
    trim::look::{DiskLook, Look, not_read},
};

/// One disk's row, ready to sort.
struct Row<'a> {
    vm: &'a str,
    look: &'a Look,
    disk: &'a DiskLook,
    slack: Option<Slack>,
    way: InTheWay,
}

/// What stands in the way of a trim.
struct InTheWay {
    text: String,
    /// A trim can free this disk's slack now.
    open: bool,
}

/// The whole screen.
pub fn screen(results: &[(String, Result<Look, Trouble>)]) -> String {
    let mut rows = rows(results);
    rows.sort_by_key(|row| Reverse(row.slack.map(|slack| slack.max_bytes)));
    let mut out = String::new();
    if !rows.is_empty() {
        out.push_str(&table(&rows));
        out.push_str(&sum(&rows));
    }
    for datastore in datastores(&rows) {
        out.push_str(&datastore);
    }
    for (name, result) in results {
        let Some(survey) = result.as_ref().ok().and_then(Look::survey) else { continue };
        if let Some(line) = skips::line(survey.filesystems.iter(), survey.not_listed) {
            out.push_str(&wrap(&format!("{name} "), "  ", &line));
            out.push('\n');
        }
    }
    out.push_str(&unread(results));
    out
}

fn rows(results: &[(String, Result<Look, Trouble>)]) -> Vec<Row<'_>> {
    results
        .iter()
        .filter_map(|(vm, result)| Some((vm, result.as_ref().ok()?)))
        .flat_map(|(vm, look)| {
            look.disks.iter().map(move |disk| Row {
                vm,
                look,
                disk,
                slack: look.slack(disk),
                way: in_the_way(look, disk),
            })
        })
        .collect()
}

fn in_the_way(look: &Look, disk: &DiskLook) -> InTheWay {
    let held = |text: String| InTheWay { text, open: false };
    if let Some(trouble) = &disk.image_trouble {
        return held(safe(&trouble.text));
    }
    if let Some(guard) = layers::guard(&look.facts(disk), &[]) {
        return held(format!("{}: {}", guard.layer.as_str(), safe(&guard.text)));
    }
    if let Err(trouble) = &look.guest {
        return held(in_a_word(trouble).to_owned());
    }
    let findings = look.findings(disk);
    let short = |finding: &Finding| format!("{}: {}", finding.layer.as_str(), safe(&finding.text));
    if let Some(cut) = layers::known_cut(&findings) {
        return held(short(cut));
    }
    let unproven = |finding: &&Finding| finding.layer == Layer::Drive && finding.state == State::Unknown;
    let holder = findings.iter().find(|finding| finding.state == State::Holds);
    match holder.or_else(|| findings.iter().find(unproven)) {
        Some(finding) => held(short(finding)),
        None => match disk.guest {
            Some(_) => InTheWay { text: "nothing".to_owned(), open: true },
            None => held("not paired with a disk of the guest".to_owned()),
        },
    }
}

fn table(rows: &[Row<'_>]) -> String {
    let mut table =
        plain_table(&["VM", "DISK", "IMAGE", "VIRTUAL", "ALLOCATED", "USED", "SLACK", "IN THE WAY"]);
    for row in rows {
        let disk = row.look.guest_disk(row.disk).map_or_else(|| "?".to_owned(), |device| safe(&device.name));
        let image = row.disk.host.image.as_ref().map_or_else(
            || format!("({})", row.disk.host.protocol),
            |image| image.path.file_name().unwrap_or_default().display().to_string(),
        );
        let mut cells: Vec<Cell> = vec![Cell::new(row.vm), Cell::new(disk), Cell::new(safe(&image))];
        for size in [
            row.disk.host.virtual_bytes,
            row.disk.image.as_ref().and_then(ImageFacts::allocated_bytes),
            row.look.used_bytes(row.disk),
            row.slack.map(|slack| slack.max_bytes),
        ] {
            cells.push(Cell::new(iec_or_unknown(size)));
        }
        cells.push(Cell::new(first_words(&row.way.text, 34)));
        table.add_row(cells);
    }
    // Numbers stand under the end of their header.
    for column in table.column_iter_mut().skip(3).take(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    printed(&table)
}

/// The beginning of a sentence, up to a word's end.
fn first_words(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    for word in text.split_whitespace() {
        if kept.chars().count().saturating_add(word.chars().count()).saturating_add(2) > most {
            break;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(word);
    }
    kept.push('…');
    kept
}

fn sum(rows: &[Row<'_>]) -> String {
    let at_most =
        rows.iter().filter_map(|row| row.slack).fold(0_u64, |sum, slack| sum.saturating_add(slack.max_bytes));
    let open = || rows.iter().filter(|row| row.way.open).filter_map(|row| Some((row, row.slack?)));
    let now = open().fold(0_u64, |sum, (_, slack)| sum.saturating_add(slack.min_bytes));
    let mut line = format!("{} slack at most; at least {} of it can come back now.", iec(at_most), iec(now));
    if let Some((best, _)) =
        open().max_by_key(|(_, slack)| slack.min_bytes).filter(|(_, slack)| slack.min_bytes > 0)
    {
        // Writing to a String cannot fail.
        let _ = write!(line, "  next: trimtab trim {}", best.vm);
    }
    line.push('\n');
    line
}

fn datastores(rows: &[Row<'_>]) -> Vec<String> {
    let mut seen: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for store in rows.iter().filter_map(|row| row.disk.image.as_ref()).map(|image| &image.datastore) {
        if seen.contains(&store.id.as_str()) {
            continue;
        }
        seen.push(&store.id);
        let used = store.size_bytes.saturating_sub(store.free_bytes);
        let percent = used.saturating_mul(100).checked_div(store.size_bytes).unwrap_or(0);
        lines.push(format!(
            "{}: {percent} % of {} in use ({})\n",
            safe(&store.path.display().to_string()),
            iec(store.size_bytes),
            store.fs_type
        ));
    }
    lines
}

fn unread(results: &[(String, Result<Look, Trouble>)]) -> String {
    let mut out = String::new();
    for (name, trouble) in results.iter().filter_map(|(name, result)| Some((name, not_read(result)?))) {
        let subject = format!("not read: {name} ({})", in_a_word(trouble));
        out.push_str(&super::error::for_person(&subject, trouble));
        out.push('\n');
    }
    out
}

/// Why a guest was not read.
fn in_a_word(trouble: &Trouble) -> &'static str {
    match trouble.kind {
        Kind::VmOff => "off",
        Kind::VmPaused => "paused",
        Kind::NoAgent => "no agent",
        _ => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_at_a_word() {
        assert_eq!(first_words("nothing", 34), "nothing");
        let cut = first_words("drive: no discard=unmap on this drive: QEMU drops what the guest sends", 34);
        assert_eq!(cut, "drive: no discard=unmap on this…");
    }
}
