//! `trimtab survey`: per disk what it could give back and what is in the way, biggest first. The screen that an
//! operator opens in the morning.

mod foot;
mod row;

use std::cmp::Reverse;

use comfy_table::{Cell, CellAlignment};

use self::row::{Row, Way};
use super::{
    COLUMNS,
    list::{plain_table, printed},
    size::iec_or_unknown,
    skips,
    style::{BAD, FAINT, GOOD, HELD, STRONG, styled},
    wrap::wrap,
};
use crate::{
    guest::text::safe_within,
    model::{image::Datastore, trouble::Trouble},
    trim::look::{Look, not_read},
};

/// The whole screen.
pub fn screen(results: &[(String, Result<Look, Trouble>)]) -> String {
    let looks = || results.iter().filter_map(|(vm, result)| Some((vm, result.as_ref().ok()?)));
    let mut rows: Vec<Row> =
        looks().flat_map(|(vm, look)| look.disks.iter().map(|disk| Row::of(vm, look, disk))).collect();
    rows.sort_by_key(|row| Reverse(row.slack.map(|slack| slack.max_bytes)));
    let troubles: Vec<(&str, &Trouble)> =
        results.iter().filter_map(|(name, result)| Some((name.as_str(), not_read(result)?))).collect();
    let mut out = String::new();
    if !rows.is_empty() {
        out.push_str(&table(&rows));
        out.push_str(&foot::sum(&rows, &datastores(results)));
    }
    for line in rows.iter().filter_map(|row| row.too_small.as_ref()) {
        out.push_str(&wrap("", "  ", line));
        out.push('\n');
    }
    for (name, look) in looks() {
        let Some(survey) = look.survey() else { continue };
        if let Some(line) = skips::line(survey.filesystems.iter(), survey.not_listed) {
            out.push_str(&wrap(&format!("{name} "), "  ", &line));
            out.push('\n');
        }
    }
    out.push_str(&foot::not_read(&troubles));
    out.push_str(&foot::next(&rows, &troubles));
    out
}

fn table(rows: &[Row]) -> String {
    let mut table =
        plain_table(&["VM", "DISK", "IMAGE", "VIRTUAL", "ALLOCATED", "USED", "SLACK", "IN THE WAY"]);
    let room = room_for_names(rows);
    for row in rows {
        let (vm, image) = (safe_within(&row.vm, room.vm), safe_within(&row.image, room.image));
        let mut cells = vec![Cell::new(vm), Cell::new(&row.disk), Cell::new(image)];
        cells.extend(figures(row).map(Cell::new));
        cells.push(Cell::new(&row.way.text));
        table.add_row(cells);
    }
    if rows.len() > 1 {
        let sum = |figure: fn(&Row) -> Option<u64>| {
            iec_or_unknown(rows.iter().filter_map(figure).reduce(u64::saturating_add))
        };
        table.add_row([
            "all".to_owned(),
            String::new(),
            String::new(),
            sum(|row| row.virtual_bytes),
            sum(|row| row.allocated_bytes),
            sum(|row| row.used_bytes),
            sum(|row| row.slack.map(|slack| slack.max_bytes)),
        ]);
    }
    // Numbers stand under the end of their header.
    for column in table.column_iter_mut().skip(3).take(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    dressed(&printed(&table), rows)
}

/// Its four sizes as the table has them.
fn figures(row: &Row) -> [String; 4] {
    [row.virtual_bytes, row.allocated_bytes, row.used_bytes, row.slack.map(|slack| slack.max_bytes)]
        .map(iec_or_unknown)
}

/// How many characters of their names VMs and images may have.
struct Room {
    vm: usize,
    image: usize,
}

/// What the other columns leave of a line for names. Where it is not enough for both, a VM's has 14 characters and an
/// image's the rest, enough to tell them apart in any case.
fn room_for_names(rows: &[Row]) -> Room {
    let longest = |least: usize, text: fn(&Row) -> usize| rows.iter().map(text).fold(least, usize::max);
    let figures_chars = |row: &Row| figures(row).iter().map(|size| size.chars().count()).max().unwrap_or(0);
    let others = [
        longest(4, |row| row.disk.chars().count()),
        longest(10, |row| row.way.text.chars().count()),
        rows.iter().map(figures_chars).fold(9, usize::max).saturating_mul(4),
        // Seven gaps.
        14,
    ];
    let room = COLUMNS.saturating_sub(others.iter().sum());
    let vm = longest(2, |row| row.vm.chars().count());
    let image = longest(5, |row| row.image.chars().count());
    match vm.saturating_add(image) <= room {
        true => Room { vm, image },
        false => {
            let image = image.min(room.saturating_sub(vm.min(14))).max(8);
            Room { vm: room.saturating_sub(image).clamp(8, vm.max(8)), image }
        }
    }
}

/// The header strong, what is in the way in its colour: it ends its line, so no width moves.
fn dressed(table: &str, rows: &[Row]) -> String {
    let mut out = String::new();
    for (index, line) in table.lines().enumerate() {
        let row = index.checked_sub(1).and_then(|index| rows.get(index));
        let line = match (index, row) {
            (0, _) => styled(STRONG, line),
            (_, Some(row)) => match line.strip_suffix(&row.way.text) {
                Some(begun) => format!("{begun}{}", styled(style_of(row.way.kind), &row.way.text)),
                None => line.to_owned(),
            },
            (_, None) => styled(FAINT, line),
        };
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn style_of(way: Way) -> anstyle::Style {
    match way {
        Way::Open => GOOD,
        Way::Held => HELD,
        Way::Cut => BAD,
        Way::Unknown => FAINT,
    }
}

/// Each datastore once.
fn datastores(results: &[(String, Result<Look, Trouble>)]) -> Vec<&Datastore> {
    let mut found: Vec<&Datastore> = Vec::new();
    let looks = results.iter().filter_map(|(_, result)| result.as_ref().ok());
    for store in looks.flat_map(|look| &look.disks).filter_map(|disk| disk.datastore()) {
        if !found.iter().any(|known| known.id == store.id) {
            found.push(store);
        }
    }
    found
}

#[cfg(test)]
mod tests;
