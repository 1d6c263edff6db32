//! A plan → TOML with comments, for a person to read and edit. Pure.

use std::fmt::Write;

use trimtab_proto::words::Word;

use super::{LeftOut, Plan, PlanDatastore, PlanHost, PlanVm, SCHEMA};
use crate::{
    campaign::{hosts::HostNames, limits::Share},
    guest::text::safe,
    layers::words::size as iec,
};

/// The file.
pub fn text(plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut out, plan)
        .and_then(|()| limits(&mut out, plan))
        .and_then(|()| windows(&mut out, plan))
        .and_then(|()| hosts(&mut out, plan))
        .and_then(|()| plan.datastores.iter().try_for_each(|one| datastore(&mut out, one)))
        .and_then(|()| vms(&mut out, plan))
        .and_then(|()| left_out(&mut out, plan));
    out
}

/// "about 19.0 GiB to 20.0 GiB": what a filesystem holds and has never written is not seen from outside, so neither end is
/// sure.
pub fn expected(least: u64, most: Option<u64>) -> String {
    let (from, to) = (iec(least), most.map(iec));
    match to {
        None if least == 0 => "not known".to_owned(),
        Some(to) if least == 0 => format!("at most about {to}"),
        Some(to) if to != from => format!("about {from} to {to}"),
        _ => format!("about {from}"),
    }
}

fn head(out: &mut String, plan: &Plan) -> std::fmt::Result {
    writeln!(
        out,
        "# A plan of `trimtab campaign plan`. Nothing has been trimmed. Read it, change what you like, then"
    )?;
    writeln!(out, "#   trimtab campaign apply FILE")?;
    let changed = if plan.is_fleet { "a host has" } else { "the host has" };
    writeln!(out, "# which refuses it if {changed} changed meanwhile. Sizes are in bytes.")?;
    writeln!(out)?;
    writeln!(out, "schema = {}", quoted(SCHEMA))?;
    writeln!(out, "name = {}", quoted(&plan.name))?;
    if let (false, Some(host)) = (plan.is_fleet, plan.hosts.first()) {
        writeln!(out, "host = {}  # its machine id: the plan is for this host alone", quoted(&host.id))?;
    }
    writeln!(out, "surveyed = {}", quoted(&plan.surveyed.to_string()))
}

/// A line with what it means beside it.
fn entry(out: &mut String, line: &str, meaning: &str) -> std::fmt::Result {
    writeln!(out, "{line:<32} # {meaning}")
}

fn limits(out: &mut String, plan: &Plan) -> std::fmt::Result {
    let limits = &plan.limits;
    let list = |parts: Vec<String>| format!("[{}]", parts.join(", "));
    let ramp = list(limits.ramp.iter().map(|share| written(*share)).collect());
    let gates = list(limits.gates.iter().map(|gate| quoted(gate)).collect());
    let per_host = limits.per_host.map_or("# per_host = 2".to_owned(), |cap| format!("per_host = {cap}"));
    let pace = limits
        .pace
        .map_or("# pace = \"gentle\"".to_owned(), |pace| format!("pace = {}", quoted(pace.as_str())));
    writeln!(out, "\n[limits]")?;
    for (line, meaning) in [
        (format!("at_once = {}", limits.at_once), "trims at once, in all"),
        (format!("per_datastore = {}", limits.per_datastore), "on each datastore; on some, see below"),
        (per_host, "on each host"),
        (format!("ramp = {ramp}"), "so many VMs first, so many more when those are done, then all"),
        (
            format!("failure_budget = {}", written(limits.failure_budget)),
            "when so many VMs have failed, no more are started",
        ),
        (format!("strict = {}", limits.strict), "true: what runs counts as failed until it has ended"),
        (
            format!("cut_in_a_row = {}", limits.cut_in_a_row),
            "so many in a row that end cut or held stop it; 0: never",
        ),
        (format!("retries = {}", limits.retries), "how often a VM that failed is tried again"),
        (format!("gates = {gates}"), "[[gate]] of trimtab.toml that must be open, by name"),
        (pace, "gentle, steady or full; unset: as each guest's owner says"),
        (format!("deadline_secs = {}", limits.deadline_secs), "a single trim is ended after this"),
    ] {
        entry(out, &line, meaning)?;
    }
    writeln!(out)?;
    entry(out, "[limits.datastores]", "trims at once on single datastores: \"NAME\" = 1")?;
    limits.datastores.iter().try_for_each(|(name, cap)| writeln!(out, "{} = {cap}", quoted(name)))
}

fn windows(out: &mut String, plan: &Plan) -> std::fmt::Result {
    let weekly: Vec<String> = plan.windows.iter().map(|window| quoted(&window.to_string())).collect();
    writeln!(out)?;
    entry(out, "[windows]", "when trims may run; none: always")?;
    entry(out, &format!("weekly = [{}]", weekly.join(", ")), "as in \"Mon-Fri 22:00-05:00 Europe/Berlin\"")?;
    entry(out, &format!("weeks = {}", plan.window_weeks), "worked out so far ahead when the plan is applied")
}

/// Of a fleet: whose VMs these are.
fn hosts(out: &mut String, plan: &Plan) -> std::fmt::Result {
    plan.hosts.iter().filter(|_| plan.is_fleet).try_for_each(|PlanHost { id, name, published }| {
        writeln!(out, "\n[[hosts]]\nid = {}", quoted(id))?;
        writeln!(out, "name = {}", quoted(name))?;
        writeln!(out, "published = {}", quoted(&published.to_string()))
    })
}

/// Of a fleet: which host a VM is on.
fn host(out: &mut String, names: Option<&HostNames>, id: &str) -> std::fmt::Result {
    match names.map(|names| names.name(id)) {
        Some(Some(name)) => writeln!(out, "host = {}  # {}", quoted(id), safe(name)),
        Some(None) => writeln!(out, "host = {}", quoted(id)),
        None => Ok(()),
    }
}

fn datastore(out: &mut String, store: &PlanDatastore) -> std::fmt::Result {
    let used = store.size_bytes.saturating_sub(store.free_bytes);
    let percent = used.saturating_mul(100).checked_div(store.size_bytes).unwrap_or(0);
    writeln!(out)?;
    entry(out, "[[datastore]]", &format!("{percent} % of {} in use", iec(store.size_bytes)))?;
    writeln!(out, "name = {}", quoted(&store.name))?;
    writeln!(out, "path = {}", quoted(&store.path))?;
    writeln!(out, "size_bytes = {}\nfree_bytes = {}", store.size_bytes, store.free_bytes)?;
    entry(out, &format!("expected_bytes = {}", store.expected_bytes), &iec(store.expected_bytes))
}

fn vms(out: &mut String, plan: &Plan) -> std::fmt::Result {
    writeln!(
        out,
        "\n# VMs to trim ({}), in the order in which they go: the most slack on the fullest datastores first.",
        plan.vms.len()
    )?;
    writeln!(out, "# Take one out, or move it, by its whole table.")?;
    let names = plan.is_fleet.then(|| plan.host_names());
    plan.vms.iter().try_for_each(|one| vm(out, names.as_ref(), one))
}

fn vm(out: &mut String, names: Option<&HostNames>, vm: &PlanVm) -> std::fmt::Result {
    writeln!(out)?;
    entry(out, "[[vm]]", &expected(vm.expected_bytes, vm.at_most_bytes))?;
    for note in &vm.notes {
        writeln!(out, "# {}", safe(note))?;
    }
    writeln!(out, "name = {}", quoted(&vm.name))?;
    host(out, names, &vm.host)?;
    if let Some(uuid) = &vm.uuid {
        writeln!(out, "uuid = {}", quoted(uuid))?;
    }
    writeln!(out, "expected_bytes = {}", vm.expected_bytes)?;
    if let Some(most) = vm.at_most_bytes {
        writeln!(out, "at_most_bytes = {most}")?;
    }
    if vm.first {
        entry(out, "first = true", "no trim of it is known: one such at a time on each datastore")?;
    }
    writeln!(out, "disks = [")?;
    for disk in &vm.disks {
        let datastore =
            disk.datastore.as_ref().map(|name| format!(", datastore = {}", quoted(name))).unwrap_or_default();
        writeln!(out, "  {{ image = {}, inode = {}{datastore} }},", quoted(&disk.image), disk.inode)?;
    }
    writeln!(out, "]")
}

fn left_out(out: &mut String, plan: &Plan) -> std::fmt::Result {
    let left_out: &[LeftOut] = &plan.left_out;
    if left_out.is_empty() {
        return Ok(());
    }
    let names = plan.is_fleet.then(|| plan.host_names());
    writeln!(out, "\n# VMs that are left out ({}). Once the reason is gone, plan anew.", left_out.len())?;
    for one in left_out {
        writeln!(out, "\n[[left_out]]")?;
        writeln!(out, "name = {}", quoted(&one.name))?;
        host(out, names.as_ref(), &one.host)?;
        writeln!(out, "reason = {}", quoted(one.reason.as_str()))?;
        writeln!(out, "text = {}", quoted(&safe(&one.text)))?;
        if let Some(paste) = &one.paste {
            writeln!(out, "# {paste}")?;
        }
    }
    Ok(())
}

/// 5, or "10 %".
fn written(share: Share) -> String {
    match share {
        Share::Count(count) => count.to_string(),
        Share::Percent(percent) => quoted(&format!("{percent} %")),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
