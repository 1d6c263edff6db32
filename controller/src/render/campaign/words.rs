//! States, classes and reasons as a person reads them, and times as a night shift does.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    campaign::{
        account::{CampaignState, RunRow, Summary},
        run::{Class, Wait},
        span::span,
    },
    guest::text::safe,
    render::{
        size::{iec, iec_signed},
        style::{BAD, FAINT, GOOD, HELD, styled},
    },
};

pub(super) fn state(state: CampaignState) -> &'static str {
    match state {
        CampaignState::Active => "active",
        CampaignState::Paused => "paused",
        CampaignState::Stopped => "stopped",
        CampaignState::Aborting => "aborting",
        CampaignState::Aborted => "aborted",
        CampaignState::Done => "done",
    }
}

pub(super) fn styled_state(of: CampaignState) -> String {
    let style = match of {
        CampaignState::Active | CampaignState::Done => GOOD,
        CampaignState::Paused => HELD,
        CampaignState::Stopped => BAD,
        CampaignState::Aborting | CampaignState::Aborted => FAINT,
    };
    styled(style, state(of))
}

pub(crate) fn class(class: Class) -> &'static str {
    match class {
        Class::Reclaimed => "reclaimed",
        Class::AlreadyCompact => "already compact",
        Class::Cut => "cut",
        Class::Held => "held",
        Class::NotMeasurable => "not measurable",
        Class::NotRun => "not run",
        Class::Away => "away",
        Class::Failed => "failed",
        Class::SetAside => "set aside",
        Class::Harmed => "harmed",
        Class::Aborted => "aborted",
    }
}

/// What so many runs wait for: "80 for room".
pub(super) fn wait(wait: Wait) -> &'static str {
    match wait {
        Wait::Worker => "for a worker",
        Wait::Room => "for room",
        Wait::Ramp => "for the verdicts of those before",
        Wait::Budget => "for the ends of what runs (strict)",
        Wait::Window => "for the window",
        Wait::Gate => "for a gate of the host",
        Wait::Guard => "for a guard to pass",
        Wait::Retry => "to be tried again",
        Wait::Campaign => "until it is resumed",
    }
}

/// "reclaimed 25 · already compact 3 · failed 2"; empty where nothing is over.
pub(super) fn classes(done: &BTreeMap<Class, u32>) -> String {
    let parts: Vec<String> = done
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(of, count)| format!("{} {count}", class(*of)))
        .collect();
    parts.join(" · ")
}

/// So many hosts are named in a line.
const MOST_HOSTS: usize = 8;

/// Less than this that is held is not worth a word.
const HELD_WORTH_A_WORD: u64 = 1 << 20;

/// "812.4 GiB of about 3.1 TiB expected came back, 20.0 GiB is held".
pub(super) fn sums(summary: &Summary) -> String {
    let held = match summary.held_bytes {
        // A few extents that are too small to discard are no news.
        0..HELD_WORTH_A_WORD => String::new(),
        held => format!(", {} is held", iec(held)),
    };
    let freed = iec_signed(summary.freed_bytes);
    match summary.expected_bytes {
        0 => format!("{freed} came back{held}"),
        expected => format!("{freed} of about {} expected came back{held}", iec(expected)),
    }
}

/// "1 VM", "12 VMs".
pub(super) fn vms(count: u32) -> String {
    if count == 1 { "1 VM".to_owned() } else { format!("{count} VMs") }
}

/// "host node1", or "3 hosts, node1, node2, node3".
pub(crate) fn some_of(hosts: &[String]) -> String {
    let shown: Vec<&str> = hosts.iter().take(MOST_HOSTS).map(String::as_str).collect();
    let shown = shown.join(", ");
    match (hosts.len(), hosts.len().saturating_sub(MOST_HOSTS)) {
        (1, _) => format!("host {shown}"),
        (many, 0) => format!("{many} hosts, {shown}"),
        (many, more) => format!("{many} hosts, {shown} and {more} more"),
    }
}

/// "2026-11-22 03:12 UTC".
pub(super) fn at(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// "5h 12m": the time between; "0s" where the clocks say that it has not come.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    span(to.duration_since(from))
}

/// Why a run ended as it did, or what it waits for; escaped. Empty where its class says it all.
pub(super) fn why(row: &RunRow) -> String {
    let Some(result) = &row.result else {
        return row.wait.as_ref().map(|(_, _, text)| safe(text)).unwrap_or_default();
    };
    let text = result.text.as_deref().map(safe).unwrap_or_default();
    let layer = result.layer.map(|layer| format!("{}: ", layer.as_str()));
    // A verdict's reason mostly names its layer itself.
    let layer = layer.filter(|layer| !text.contains(layer.as_str()));
    match (layer, text.is_empty()) {
        (Some(layer), false) => format!("{layer}{text}"),
        (Some(layer), true) => layer.trim_end_matches(": ").to_owned(),
        (None, _) => text,
    }
}
