//! Campaigns over real guests, carried out by the real worker.

mod five;
mod fleet;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_tests::{campaigns::Campaigns, guest::Disk};

/// What the images of disks occupy, by the disks' names.
type Occupied = BTreeMap<String, u64>;

fn occupied<'a>(disks: impl IntoIterator<Item = &'a Disk>) -> Result<Occupied> {
    disks.into_iter().map(|disk| Ok((disk.name.clone(), disk.allocated_bytes()?))).collect()
}

/// Runs `trimtab campaign` with these words: what it printed, after it ended with this exit code. Whatever guests said, no
/// control character reaches the terminal.
fn screen(host: &Campaigns, words: &[&str], exit: i32) -> Result<String> {
    let ended = host.run(words)?;
    let text = format!("{}{}", ended.stderr, ended.stdout);
    println!("# trimtab campaign {}\n{text}", words.join(" "));
    ensure!(ended.exit == exit, "exit {}, not {exit}", ended.exit);
    let wild = text.chars().find(|c| c.is_control() && *c != '\n');
    ensure!(wild.is_none(), "{wild:?} in {text:?}");
    Ok(text)
}

/// A run of a report by its VM.
fn run<'a>(report: &'a Value, vm: &str) -> Result<&'a Value> {
    let runs = report["runs"].as_array().context("no runs")?;
    runs.iter().find(|run| run["vm"] == vm).with_context(|| format!("no run of {vm} in {report:#}"))
}

/// How the run of a VM ended.
fn class<'a>(report: &'a Value, vm: &str) -> Result<&'a str> {
    run(report, vm)?["result"]["class"].as_str().context("no class")
}

/// Holds a report's bytes against what the images of its VMs (VM, disk) occupied before and occupy now: each VM's, each
/// datastore's, and the sum.
fn check_bytes(report: &Value, disks: &[(&str, &Disk)], before: &Occupied) -> Result<()> {
    let mut sum = 0;
    for (vm, disk) in disks {
        let before = i64::try_from(*before.get(&disk.name).context("not measured before")?)?;
        let fell = before - i64::try_from(disk.allocated_bytes()?)?;
        let told = run(report, vm)?["freed_bytes"].as_i64();
        ensure!(told == Some(fell), "{vm}: the image fell by {fell}: {report:#}");
        sum += fell;
    }
    ensure!(report["campaign"]["freed_bytes"].as_i64() == Some(sum), "{sum}: {report:#}");
    let stores = report["datastores"].as_array().context("no datastores")?;
    let told: i64 = stores.iter().filter_map(|store| store["freed_bytes"].as_i64()).sum();
    ensure!(told == sum, "{sum} on all datastores: {report:#}");
    Ok(())
}

/// The history has each run's beginning before its end, once each, between the campaign's own.
fn check_history(report: &Value, vms: &[&str]) -> Result<()> {
    let events = report["events"].as_array().context("no events")?;
    let of = |vm: Option<&str>| -> Vec<&str> {
        events
            .iter()
            .filter(|event| event["vm"].as_str() == vm)
            .filter_map(|event| event["what"].as_str())
            .collect()
    };
    ensure!(of(None) == ["applied", "done"], "{events:#?}");
    for vm in vms {
        ensure!(of(Some(vm)) == ["claimed", "counted"], "{vm}: {events:#?}");
    }
    ensure!(events.len() == 2 + 2 * vms.len(), "{events:#?}");
    Ok(())
}

/// The file for Prometheus says what the report says.
fn check_metrics(host: &Campaigns, report: &Value) -> Result<()> {
    let text = std::fs::read_to_string(host.metrics())?;
    let id = &report["campaign"]["id"];
    let value = |series: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let value = line.with_context(|| format!("no {series} in\n{text}"))?;
        value.trim().parse().with_context(|| format!("{series}{value}"))
    };
    #[expect(clippy::as_conversions, reason = "what a gauge can hold is what a test of one compares with")]
    let same = |series: &str, told: &Value| -> Result<()> {
        let told = told.as_i64().with_context(|| format!("{series}: {told}"))? as f64;
        ensure!((value(series)? - told).abs() < 1.0, "{series}: {told} in the report\n{text}");
        Ok(())
    };
    for store in report["datastores"].as_array().context("no datastores")? {
        let name = store["id"].as_str().context("no id")?;
        let series = format!("trimtab_campaign_freed_bytes{{campaign=\"{id}\",datastore=\"{name}\"}}");
        same(&series, &store["freed_bytes"])?;
    }
    for (class, count) in report["campaign"]["done"].as_object().context("no ends")? {
        same(&format!("trimtab_campaign_ended_runs{{campaign=\"{id}\",class=\"{class}\"}}"), count)?;
    }
    let name = report["campaign"]["name"].as_str().context("no name")?;
    let info = format!("trimtab_campaign_info{{campaign=\"{id}\",name=\"{name}\",state=\"done\"}}");
    ensure!(value(&info)? > 0.5, "{text}");
    Ok(())
}
