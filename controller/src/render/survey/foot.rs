//! Below the table: what it sums up to, the datastores, who was not read, and what to do next.

use super::row::{Row, Way, in_a_word};
use crate::{
    guest::text::safe,
    model::{
        image::Datastore,
        trouble::{Kind, Trouble},
    },
    render::{
        error::for_person,
        size::iec,
        wrap::{both_ends, wrap},
    },
};

/// "161.5 GiB slack at most; 19.7 GiB of it can come back now." and the first datastore at the line's other end.
pub(super) fn sum(rows: &[Row], datastores: &[&Datastore]) -> String {
    let total = |bytes: &mut dyn Iterator<Item = u64>| bytes.fold(0_u64, u64::saturating_add);
    let at_most = total(&mut rows.iter().filter_map(|row| row.slack).map(|slack| slack.max_bytes));
    let now = total(&mut open(rows).map(|(_, least)| least));
    let said = format!("{} slack at most; at least {} of it can come back now.", iec(at_most), iec(now));
    let mut stores = datastores.iter().map(|store| in_use(store));
    let mut out = match stores.next() {
        Some(first)
            if said.chars().count().saturating_add(first.chars().count()) < crate::render::COLUMNS =>
        {
            both_ends(&said, &first)
        }
        Some(first) => format!("{said}\n{first}"),
        None => said,
    };
    for more in stores {
        out.push('\n');
        out.push_str(&both_ends("", &more));
    }
    out.push('\n');
    out
}

/// Rows whose slack can come back now, with the least of it.
fn open(rows: &[Row]) -> impl Iterator<Item = (&Row, u64)> {
    rows.iter().filter(|row| row.way.kind == Way::Open).filter_map(|row| Some((row, row.slack?.min_bytes)))
}

fn in_use(store: &Datastore) -> String {
    let used = store.size_bytes.saturating_sub(store.free_bytes);
    let percent = used.saturating_mul(100).checked_div(store.size_bytes).unwrap_or(0);
    format!("{}: {percent} % of {} in use", safe(&store.path.display().to_string()), iec(store.size_bytes))
}

/// VMs without an answer: the expected ones by their names alone, the others with what happened.
pub(super) fn not_read(troubles: &[(&str, &Trouble)]) -> String {
    let expected = |trouble: &Trouble| {
        matches!(trouble.kind, Kind::VmOff | Kind::VmPaused | Kind::NoLink | Kind::NoAgent)
    };
    let (quiet, loud): (Vec<_>, Vec<_>) = troubles.iter().partition(|(_, trouble)| expected(trouble));
    let mut out = String::new();
    if !quiet.is_empty() {
        let names: Vec<String> =
            quiet.iter().map(|(name, trouble)| format!("{} ({})", safe(name), in_a_word(trouble))).collect();
        out.push_str(&wrap("", "  ", &format!("not read: {}", names.join(", "))));
        out.push('\n');
    }
    for (name, trouble) in loud {
        out.push_str(&for_person(&format!("not read: {} ({})", safe(name), in_a_word(trouble)), trouble));
        out.push('\n');
    }
    out
}

/// What to do next, as lines to paste; nothing where nothing is worth doing.
pub(super) fn next(rows: &[Row], troubles: &[(&str, &Trouble)]) -> String {
    let max = |row: &&Row| row.slack.map_or(0, |slack| slack.max_bytes);
    let cut = rows.iter().filter(|row| row.way.kind == Way::Cut).max_by_key(max);
    let silent = troubles
        .iter()
        .find(|(_, trouble)| matches!(trouble.kind, Kind::NoLink | Kind::NoAgent))
        .map(|(name, _)| *name);
    let best = open(rows).filter(|(_, least)| *least > 0).max_by_key(|(_, least)| *least);
    let command = |verb: &str, vm: &str| Some(format!("trimtab {verb} {}", shlex::try_quote(vm).ok()?));
    let doctor = cut.map(|row| row.vm.as_str()).or(silent).and_then(|vm| command("doctor", vm));
    let trim = best.and_then(|(row, _)| command("trim", &row.vm));
    let steps: Vec<String> = doctor.into_iter().chain(trim).collect();
    match steps.is_empty() {
        true => String::new(),
        false => format!("{}\n", both_ends("", &format!("next: {}", steps.join(" · ")))),
    }
}
