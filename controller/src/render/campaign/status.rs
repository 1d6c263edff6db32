//! `trimtab campaign status`: one screen. What came of it so far, what runs, what waits and why, what to do next.

use comfy_table::CellAlignment;
use jiff::Timestamp;

use super::words::{at, between, classes, some_of, styled_state, sums, vms, wait};
use crate::{
    campaign::{
        account::{CampaignState, DatastoreSum, HostRow, RunRow, Status},
        hosts::HostNames,
    },
    guest::text::{safe, safe_within},
    render::{
        list::{plain_table, printed},
        size::{iec, iec_signed},
        wrap::{both_ends, wrap},
    },
};

/// More rows than this do not fit beside the rest.
const MOST_ROWS: usize = 8;
/// The columns that a VM's name, a stage and a datastore's identity may take.
const NAME: usize = 24;
const HOST: usize = 16;
const STAGE: usize = 36;
const DATASTORE: usize = 48;

/// The whole screen, as of the store's time.
pub fn screen(status: &Status) -> String {
    let now = status.now;
    let mut out = head(status, now);
    if !status.running.is_empty() {
        out.push('\n');
        out.push_str(&running(status));
    }
    if !status.datastores.is_empty() {
        out.push('\n');
        out.push_str(&datastores(&status.datastores, &status.names));
    }
    out.push_str(&waiting(status, now));
    out.push_str(&workers(status));
    out.push_str(&next(status));
    out
}

fn head(status: &Status, now: Timestamp) -> String {
    let summary = &status.summary;
    let name = safe_within(&summary.name, NAME);
    let times = match summary.ended {
        Some(ended) => format!("{} to {}", at(summary.applied), at(ended)),
        None => format!("for {}, since {}", between(summary.applied, now), at(summary.applied)),
    };
    let mut out = format!("campaign {} {name:?}: {}, {times}\n", summary.id, styled_state(summary.state));
    if let Some(why) = &summary.why {
        push(&mut out, &wrap("  ", "  ", &safe(why)));
    }
    let done = summary.total.saturating_sub(summary.waiting).saturating_sub(summary.running);
    let counts = format!(
        "  {}: {done} done, {} running, {} waiting",
        vms(summary.total),
        summary.running,
        summary.waiting
    );
    push(&mut out, &counts);
    push(&mut out, &wrap("  ", "  ", &sums(summary)));
    let ends = classes(&summary.done);
    if !ends.is_empty() {
        push(&mut out, &wrap("  ", "  ", &ends));
    }
    out
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn running(status: &Status) -> String {
    let rows: &[RunRow] = &status.running;
    let is_fleet = status.is_fleet();
    let (on, stage) = if is_fleet { (Some("ON"), STAGE.saturating_sub(HOST)) } else { (None, STAGE) };
    let header: Vec<&str> =
        ["VM"].into_iter().chain(on).chain(["SINCE", "STAGE", "TRY", "EXPECTED"]).collect();
    let mut table = plain_table(&header);
    for row in rows.iter().take(MOST_ROWS) {
        let on = is_fleet.then(|| safe_within(status.names.called(&row.vm.host), HOST));
        let rest = [
            row.claimed.map_or_else(|| "?".to_owned(), |claimed| between(claimed, status.now)),
            safe_within(row.stage.as_deref().unwrap_or("claimed"), stage),
            row.attempt.to_string(),
            iec(row.expected_bytes),
        ];
        table.add_row([safe_within(&row.vm.name, NAME)].into_iter().chain(on).chain(rest));
    }
    for column in table.column_iter_mut().skip(header.len().saturating_sub(2)) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut out = printed(&table);
    match rows.len().saturating_sub(MOST_ROWS) {
        0 => {}
        more => push(&mut out, &format!("and {more} more")),
    }
    out
}

fn datastores(sums: &[DatastoreSum], names: &HostNames) -> String {
    let mut table = plain_table(&["DATASTORE", "RUNNING", "DONE", "FREED"]);
    for sum in sums.iter().take(MOST_ROWS) {
        table.add_row([
            safe_within(&names.place(&sum.datastore), DATASTORE),
            format!("{} of at most {}", sum.running, sum.cap),
            format!("{} of {}", sum.done, sum.total),
            iec_signed(sum.freed_bytes),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut out = printed(&table);
    match sums.len().saturating_sub(MOST_ROWS) {
        0 => {}
        more => push(&mut out, &format!("and {more} more: trimtab campaign report has all")),
    }
    out
}

/// What waits and why, and when that may change.
fn waiting(status: &Status, now: Timestamp) -> String {
    let mut out = String::new();
    let parts: Vec<String> = status
        .waiting
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(why, count)| format!("{count} {}", wait(*why)))
        .collect();
    if !parts.is_empty() {
        push(&mut out, &wrap("waiting: ", "  ", &parts.join(", ")));
    }
    if let Some((opens, closes)) = status.window {
        let text = match opens > now {
            true => format!("window: opens {} (in {}) until {}", at(opens), between(now, opens), at(closes)),
            false => format!("window: open until {} (for {})", at(closes), between(now, closes)),
        };
        push(&mut out, &text);
    }
    if let Some(next) = status.next.filter(|next| *next > now) {
        push(&mut out, &format!("next try: {} (in {})", at(next), between(now, next)));
    }
    out
}

/// Hosts whose worker is missing or silent, or admits nothing: nothing goes on there.
pub(super) fn workers(status: &Status) -> String {
    if status.summary.ended.is_some() {
        return String::new();
    }
    let named = |host: &HostRow| safe_within(status.names.called(&host.host), NAME);
    let never: Vec<String> = status.hosts.iter().filter(|host| host.seen.is_none()).map(named).collect();
    let silent: Vec<String> = status
        .hosts
        .iter()
        .filter(|host| !host.has_worker)
        .filter_map(|host| Some(format!("{} ({})", named(host), between(host.seen?, status.now))))
        .collect();
    let mut out = String::new();
    for (hosts, text, what) in [
        (never, "no worker has been on", "systemctl enable --now trimtab-worker there"),
        (silent, "no worker was heard lately on", "systemctl status trimtab-worker there"),
    ] {
        if !hosts.is_empty() {
            push(&mut out, &wrap("", "  ", &format!("{text} {}: {what}", some_of(&hosts))));
        }
    }
    let held = status.hosts.iter().filter(|host| host.has_worker && host.held.is_some());
    for host in held.clone().take(MOST_ROWS) {
        let why = safe(host.held.as_deref().unwrap_or_default());
        push(&mut out, &wrap("", "  ", &format!("host {} admits nothing now: {why}", named(host))));
    }
    match held.count().saturating_sub(MOST_ROWS) {
        0 => {}
        more => push(&mut out, &format!("and {more} more hosts: --json has all")),
    }
    out
}

fn next(status: &Status) -> String {
    let id = status.summary.id;
    let verbs: &[&str] = match status.summary.state {
        CampaignState::Active => &["pause", "abort"],
        CampaignState::Paused => &["resume", "abort"],
        CampaignState::Stopped => &["report", "resume", "abort"],
        CampaignState::Aborting => &["status"],
        CampaignState::Aborted | CampaignState::Done => &["report"],
    };
    let steps: Vec<String> = verbs.iter().map(|verb| format!("trimtab campaign {verb} {id}")).collect();
    format!("{}\n", both_ends("", &format!("next: {}", steps.join(" · "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        campaign::account::{HostRow, Summary},
        render::{COLUMNS, campaign::samples},
    };

    fn plain(status: &Status) -> String {
        anstream::adapter::strip_str(&screen(status)).to_string()
    }

    #[test]
    fn one_screen() {
        let screen = plain(&samples::status());
        assert!(screen.lines().all(|line| line.chars().count() <= COLUMNS), "{screen}");
        assert!(screen.lines().count() <= 30, "{screen}");
        for line in [
            "campaign 7 \"nightly\": active, for 5h 12m, since 2026-11-21 22:00 UTC",
            "  120 VMs: 31 done, 4 running, 85 waiting",
            "  812.4 GiB of about 3.1 TiB expected came back, 20.0 GiB is held",
            "  reclaimed 25 · already compact 3 · cut 1 · failed 2",
            "waiting: 80 for room, 5 for a guard to pass",
            "window: open until 2026-11-22 05:00 UTC (for 1h 48m)",
        ] {
            assert!(screen.lines().any(|found| found == line), "{line}\n{screen}");
        }
        assert!(screen.ends_with("next: trimtab campaign pause 7 · trimtab campaign abort 7\n"), "{screen}");
    }

    #[test]
    fn a_crowd_is_counted() {
        let mut status = samples::status();
        status.running = vec![status.running[0].clone(); 50];
        status.datastores = vec![status.datastores[0].clone(); 20];
        let screen = plain(&status);
        assert!(screen.contains("and 42 more\n") && screen.contains("and 12 more: "), "{screen}");
        assert!(screen.lines().count() <= 36, "{screen}");
    }

    #[test]
    fn workers_that_are_not_there() {
        let mut status = samples::status();
        assert!(!plain(&status).contains("worker"), "a healthy one is not worth a line");
        let host = |host: &str, seen, held: Option<&str>| HostRow {
            host: host.into(),
            has_worker: seen == Some(samples::NOW),
            seen,
            held: held.map(str::to_owned),
        };
        let long_ago = Some(samples::status().summary.applied);
        for (hosts, expected) in [
            (vec![host("h", None, None)], "no worker has been on host node1: systemctl enable"),
            (
                vec![host("h", long_ago, None), host("k", long_ago, Some("old"))],
                "no worker was heard lately on 2 hosts, node1 (5h 12m), k (5h 12m): systemctl status",
            ),
            (
                vec![host("h", Some(samples::NOW), Some("gate ceph: HEALTH_WARN"))],
                "host node1 admits nothing now: gate ceph: HEALTH_WARN",
            ),
        ] {
            status.hosts = hosts;
            assert!(plain(&status).contains(expected), "{expected}\n{}", plain(&status));
        }
        status.hosts = (0..30).map(|n| host(&format!("h{n}"), None, None)).collect();
        assert!(plain(&status).contains("on 30 hosts, h0, h1, h2, h3, h4, h5, h6, h7 and 22 more: "));
    }

    #[test]
    fn a_fleet_says_where() {
        let screen = plain(&samples::fleet());
        assert!(screen.lines().all(|line| line.chars().count() <= COLUMNS), "{screen}");
        for line in ["VM     ON     SINCE", "db-1   node2  2m"] {
            assert!(screen.lines().any(|found| found.starts_with(line)), "{line}\n{screen}");
        }
        assert!(screen.contains("\next4:uuid@node2 "), "{screen}");
    }

    #[test]
    fn what_stopped_it_is_said_and_escaped() {
        let mut status = samples::status();
        status.summary = Summary {
            state: CampaignState::Stopped,
            why: Some("three runs in a row ended cut at drive\u{1b}[2J".to_owned()),
            ..status.summary
        };
        let screen = plain(&status);
        assert!(screen.contains("ended cut at drive") && !screen.contains('\u{1b}'), "{screen}");
        assert!(screen.contains("trimtab campaign report 7 · trimtab campaign resume 7"), "{screen}");
    }
}
