//! `trimtab campaign plan` and `apply`, for a person: what a plan comes to, and what was taken on.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::CellAlignment;
use jiff::Timestamp;

use super::words::{at, some_of, vms};
use crate::{
    campaign::{
        hosts::HostNames,
        plan::{LeftOut, Plan, PlanDatastore, Reason, write::expected},
        store::NewCampaign,
    },
    guest::text::{safe, safe_within},
    render::{
        list::{plain_table, printed},
        size::iec,
        wrap::wrap,
    },
};

/// So many names stand in a line of those that are left out.
const MOST_NAMES: usize = 6;

/// And so many of the texts about them.
const MOST_TEXTS: usize = 3;

/// A name longer than this is an identity, which stands in the plan.
const SHORT_NAME: usize = 24;

/// What a plan comes to.
pub fn summary(plan: &Plan, file: &str) -> String {
    let count = u32::try_from(plan.vms.len()).unwrap_or(u32::MAX);
    let mut out = match count {
        0 => "no VM would be trimmed\n".to_owned(),
        _ => {
            let back = expected(plan.expected_bytes(), plan.at_most_bytes());
            let whose = if plan.is_fleet { hosts(plan) } else { String::new() };
            format!("{}{whose} would be trimmed; expected back: {back}\n", vms(count))
        }
    };
    if !plan.datastores.is_empty() {
        out.push_str(&datastores(plan));
    }
    for (reason, all) in by_reason(&plan.left_out) {
        out.push_str(&left_out(plan, reason, &all));
        out.push('\n');
    }
    out.push_str(&wrap("", "  ", &limits(plan)));
    out.push('\n');
    if count > 0 {
        let file = shlex::try_quote(file).unwrap_or_else(|_| "FILE".into());
        out.push_str(&format!("nothing was trimmed; read {file}, then: trimtab campaign apply {file}\n"));
    }
    out
}

/// " on 3 hosts".
fn hosts(plan: &Plan) -> String {
    let hosts: BTreeSet<&str> = plan.vms.iter().map(|vm| vm.host.as_str()).collect();
    format!(" on {} host{}", hosts.len(), if hosts.len() == 1 { "" } else { "s" })
}

fn datastores(plan: &Plan) -> String {
    let names = if plan.is_fleet { plan.host_names() } else { HostNames::default() };
    let mut table = plain_table(&["DATASTORE", "IN USE", "SIZE", "VMS", "EXPECTED"]);
    for store in &plan.datastores {
        let used = store.size_bytes.saturating_sub(store.free_bytes);
        let percent = used.saturating_mul(100).checked_div(store.size_bytes).unwrap_or(0);
        let on_it = plan.vms.iter().filter(|vm| vm.datastores().contains(&store.name)).count();
        table.add_row([
            called(store, &names),
            format!("{percent} %"),
            iec(store.size_bytes),
            on_it.to_string(),
            iec(store.expected_bytes),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    printed(&table)
}

fn called(store: &PlanDatastore, names: &HostNames) -> String {
    let path = safe_within(&store.path, 40);
    match (store.name.chars().count() <= SHORT_NAME, names.owner(&store.name)) {
        (true, _) => format!("{} ({path})", safe(&store.name)),
        (false, Some((_, host))) => format!("{path} on {}", safe_within(host, SHORT_NAME)),
        (false, None) => path,
    }
}

fn by_reason(left_out: &[LeftOut]) -> BTreeMap<Reason, Vec<&LeftOut>> {
    let mut all: BTreeMap<Reason, Vec<&LeftOut>> = BTreeMap::new();
    for one in left_out {
        all.entry(one.reason).or_default().push(one);
    }
    all
}

/// "left out, cut: build-2, build-3: trimtab doctor build-2 --fix".
fn left_out(plan: &Plan, reason: Reason, all: &[&LeftOut]) -> String {
    let hosts = plan.host_names();
    let called = |one: &&LeftOut| match plan.is_fleet {
        true => format!("{} on {}", safe(&one.name), safe(hosts.called(&one.host))),
        false => safe(&one.name),
    };
    let mut names: Vec<String> = all.iter().take(MOST_NAMES).map(called).collect();
    let more = all.len().saturating_sub(MOST_NAMES);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let paste = all.iter().find_map(|one| one.paste.as_ref());
    let paste = paste.map(|line| format!("; see: {line}")).unwrap_or_default();
    let why = match reason {
        // Whoever reads can do something about the host.
        Reason::HostSilent | Reason::Claimed | Reason::NotLookedAt => some_texts(all),
        _ => String::new(),
    };
    let text = format!("left out, {} ({}): {}{paste}{why}", reason.as_str(), all.len(), names.join(", "));
    wrap("", "  ", &text)
}

/// What is said of them, each text once, and not of more hosts than a person reads.
fn some_texts(all: &[&LeftOut]) -> String {
    let texts: BTreeSet<&str> = all.iter().map(|one| one.text.as_str()).collect();
    let mut out: String = texts.iter().take(MOST_TEXTS).map(|text| format!("; {}", safe(text))).collect();
    match texts.len().saturating_sub(MOST_TEXTS) {
        0 => {}
        more => out.push_str(&format!("; and so on, {more} more in the plan")),
    }
    out
}

fn limits(plan: &Plan) -> String {
    let limits = &plan.limits;
    let windows: Vec<String> = plan.windows.iter().map(ToString::to_string).collect();
    let when = if windows.is_empty() { "at any time".to_owned() } else { windows.join(" and ") };
    let per_host = limits.per_host.map(|cap| format!("{cap} on each host, ")).unwrap_or_default();
    let gates = match limits.gates.as_slice() {
        [] => String::new(),
        gates => format!(", while open: {}", safe(&gates.join(", "))),
    };
    format!("{} at once, {} on each datastore, {per_host}{when}{gates}", limits.at_once, limits.per_datastore)
}

/// Who carries a campaign out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Workers {
    /// All that it takes are there.
    There,
    /// None runs on this host, whose campaign it is.
    NotHere,
    /// Of a fleet's hosts that it is about, these have none that was heard lately.
    NotOn(Vec<String>),
}

impl Workers {
    /// What is missing, and what to do.
    fn missing(&self) -> Option<String> {
        match self {
            Self::There => None,
            Self::NotHere => Some(
                "no worker runs on this host, so nothing begins yet: systemctl enable --now trimtab-worker, or trimtab \
                 worker"
                    .to_owned(),
            ),
            Self::NotOn(hosts) => Some(format!(
                "no worker is heard on {}, whose VMs wait: systemctl enable --now trimtab-worker there",
                some_of(hosts)
            )),
        }
    }
}

/// What was taken on, or would be.
pub fn applied(campaign: Option<i64>, taken: &NewCampaign, workers: &Workers, now: Timestamp) -> String {
    let count = u32::try_from(taken.runs.len()).unwrap_or(u32::MAX);
    let least = taken.runs.iter().map(|run| run.expected_bytes).fold(0, u64::saturating_add);
    let mut out = match campaign {
        Some(id) => format!("campaign {id} ({}): ", safe(&taken.name)),
        None => format!("all is as the plan says ({}): ", safe(&taken.name)),
    };
    out.push_str(&vms(count));
    if least > 0 {
        out.push_str(&format!("; expected back: about {}", iec(least)));
    }
    out.push('\n');
    if let (Some((opens, closes)), Some((_, last))) = (taken.windows.first(), taken.windows.last()) {
        let next = match *opens > now {
            true => format!("the first window opens {}", at(*opens)),
            false => format!("a window is open until {}", at(*closes)),
        };
        out.push_str(&format!("{next}; windows are worked out until {}\n", at(*last)));
    }
    let Some(id) = campaign else {
        out.push_str("nothing was taken on (--dry-run)\n");
        return out;
    };
    if let Some(text) = workers.missing() {
        out.push_str(&wrap("", "  ", &text));
        out.push('\n');
    }
    out.push_str(&format!("next: trimtab campaign status {id}\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{campaign::plan::samples, render::COLUMNS};

    #[test]
    fn a_plan_on_one_screen() {
        let mut plan = samples::plan();
        plan.left_out.extend((0..9).map(|n| LeftOut {
            name: format!("a-vm-with-a-longer-name-{n}"),
            host: samples::HOST.into(),
            reason: Reason::NoAgent,
            text: String::new(),
            paste: None,
        }));
        let text = summary(&plan, "my plan.toml");
        assert_eq!(
            text,
            "\
2 VMs would be trimmed; expected back: about 38.0 GiB
DATASTORE                 IN USE        SIZE  VMS  EXPECTED
ext4:uuid@host (/guests)    90 %  1000.0 GiB    2  38.0 GiB
left out, cut (1): build-2; see: trimtab doctor build-2 --fix
left out, off (1): old-7
left out, no agent (9): a-vm-with-a-longer-name-0, a-vm-with-a-longer-name-1,
  a-vm-with-a-longer-name-2, a-vm-with-a-longer-name-3, a-vm-with-a-longer-name-4,
  a-vm-with-a-longer-name-5, 3 more
4 at once, 2 on each datastore, Mon-Fri 22:00-05:00 Europe/Berlin, while open: ceph
nothing was trimmed; read 'my plan.toml', then: trimtab campaign apply 'my plan.toml'
"
        );
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
        plan.vms.clear();
        assert!(summary(&plan, "p").starts_with("no VM would be trimmed\n"));
    }

    #[test]
    fn a_fleet_says_where() {
        let text = summary(&samples::fleet(), "p.toml");
        assert!(text.starts_with("3 VMs on 2 hosts would be trimmed; "), "{text}");
        assert!(text.contains("left out, off (1): old-7 on node2\n"), "{text}");
        let mut plan = samples::fleet();
        let silent = |n: usize| LeftOut {
            name: format!("vm-{n}"),
            host: plan.hosts[1].id.clone(),
            reason: Reason::HostSilent,
            text: format!("host node2 was not heard for {}m: see that …", n / 3),
            paste: None,
        };
        plan.left_out = (3..18).map(silent).collect();
        for store in &mut plan.datastores {
            store.name = format!("ext4:{}@{}", "0".repeat(36), samples::HOST);
        }
        let text = summary(&plan, "p.toml");
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert!(text.contains("\n/guests on node1 "), "{text}");
        let out = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            out.contains(
                "vm-8 on node2, 9 more; host node2 was not heard for 1m: see that …; host node2 was"
            ),
            "{out}"
        );
        assert!(out.contains("; and so on, 2 more in the plan 4 at once"), "{out}");
    }

    #[test]
    fn what_was_taken_on() {
        let plan = samples::plan();
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let taken = plan.campaign("", "ann", now);
        let text = applied(Some(7), &taken, &Workers::NotHere, now);
        for part in [
            "campaign 7 (nightly): 2 VMs; expected back: about 38.0 GiB\n",
            "the first window opens 2026-11-23 21:00 UTC; windows are worked out until 2027-01-16 04:00 UTC\n",
            "no worker runs on this host",
            "next: trimtab campaign status 7\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!applied(Some(7), &taken, &Workers::There, now).contains("worker"));
        let some = applied(Some(7), &taken, &Workers::NotOn(vec!["a".into(), "b".into()]), now);
        assert!(some.contains("no worker is heard on 2 hosts, a, b, whose VMs wait: systemctl"), "{some}");
        let open = applied(None, &taken, &Workers::NotHere, "2026-11-23T22:00:00Z".parse().unwrap());
        assert!(open.contains("a window is open until 2026-11-24 04:00 UTC"), "{open}");
        assert!(open.ends_with("nothing was taken on (--dry-run)\n"), "{open}");
    }
}
