//! What a store tells of campaigns, as Prometheus's text format for node_exporter's textfile collector.
//!
//! Everything is read from the store when the file is written, so a worker that was started anew shows the same numbers. In a
//! fleet a worker knows of its own host's runs alone: the sum over all hosts is the campaign.
//! Labels are the host's own words (a campaign's number and name, a datastore's identity, closed lists): never a guest's
//! text, and no VM, of which there may be thousands. What came back is a gauge: growth counts against it.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use jiff::{SignedDuration, Timestamp};
use prometheus::{Encoder, GaugeVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core::Collector};

use super::{
    account::{Figures, Summary},
    run::Class,
    store::Store,
};
use crate::model::trouble::{Kind, Trouble};

/// A campaign that is over leaves the file after this, and its series end.
const SHOWN_AFTER_ITS_END: SignedDuration = SignedDuration::from_hours(24);

/// What is written.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Told {
    /// Runs of all campaigns that are over, by class; `None`: who writes does not know of all.
    pub ended: Option<BTreeMap<Class, u64>>,
    /// Campaigns that go on, or were over a day ago at most.
    pub campaigns: Vec<Figures>,
}

/// All that a store knows, as of `now`.
///
/// # Errors
/// The store's.
pub async fn of_all<S: Store>(store: &S, now: Timestamp) -> Result<Told, Trouble> {
    let all = store.list().await?;
    let mut campaigns = Vec::new();
    for campaign in all.iter().filter(|campaign| is_shown(campaign, now)) {
        campaigns.push(Figures::from(&store.status(campaign.id).await?));
    }
    Ok(Told { ended: Some(ended(&all)), campaigns })
}

fn ended(campaigns: &[Summary]) -> BTreeMap<Class, u64> {
    let mut ended = BTreeMap::new();
    for (class, count) in campaigns.iter().flat_map(|campaign| &campaign.done) {
        let sum: &mut u64 = ended.entry(*class).or_default();
        *sum = sum.saturating_add(u64::from(*count));
    }
    ended
}

/// Writes the file anew, as of `now`. It is replaced as a whole: a reader never sees half of it.
///
/// # Errors
/// The file cannot be written.
pub fn export(told: &Told, file: &Path, now: Timestamp) -> Result<(), Trouble> {
    let text = text(told, now).map_err(|error| Trouble::new(Kind::Internal, format!("metrics: {error}")))?;
    replace(file, &text).map_err(|error| {
        Trouble::new(Kind::Config, format!("cannot write the metrics to {}: {error}", file.display())).hint(
            "does the folder exist, and may this user write there? `metrics` in trimtab.toml names the file",
        )
    })
}

fn is_shown(campaign: &Summary, now: Timestamp) -> bool {
    campaign.ended.is_none_or(|ended| now.duration_since(ended) < SHOWN_AFTER_ITS_END)
}

fn text(told: &Told, now: Timestamp) -> prometheus::Result<String> {
    let registry = Registry::new();
    if let Some(ended) = &told.ended {
        totals(&registry, ended)?;
    }
    each(&registry, &told.campaigns)?;
    let written = IntGauge::new("trimtab_metrics_timestamp_seconds", "When this was written.")?;
    written.set(now.as_second());
    registry.register(Box::new(written))?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn totals(registry: &Registry, ended: &BTreeMap<Class, u64>) -> prometheus::Result<()> {
    let counter = registered(
        registry,
        IntCounterVec::new(
            Opts::new("trimtab_runs_ended_total", "Runs that are over, by how they ended."),
            &["class"],
        )?,
    )?;
    for (class, count) in ended {
        counter.with_label_values(&[&word(class)]).inc_by(*count);
    }
    Ok(())
}

/// Gauges of one campaign each.
fn each(registry: &Registry, current: &[Figures]) -> prometheus::Result<()> {
    let gauge = |name: &str, help: &str, labels: &[&str]| {
        registered(registry, GaugeVec::new(Opts::new(name, help), labels)?)
    };
    let info = gauge(
        "trimtab_campaign_info",
        "1 for the state that a campaign is in.",
        &["campaign", "name", "state"],
    )?;
    let runs = gauge("trimtab_campaign_runs", "Runs by where they are.", &["campaign", "state"])?;
    let ends = gauge(
        "trimtab_campaign_ended_runs",
        "Runs that are over, by how they ended.",
        &["campaign", "class"],
    )?;
    let expected = gauge("trimtab_campaign_expected_bytes", "What the plan expects back.", &["campaign"])?;
    let held = gauge("trimtab_campaign_held_bytes", "What named findings hold.", &["campaign"])?;
    let freed = gauge(
        "trimtab_campaign_freed_bytes",
        "What images gave back, less what they grew by.",
        &["campaign", "datastore"],
    )?;
    let busy =
        gauge("trimtab_campaign_datastore_runs", "Runs on a datastore now.", &["campaign", "datastore"])?;
    let cap =
        gauge("trimtab_campaign_datastore_cap", "Runs on a datastore at most.", &["campaign", "datastore"])?;
    for summary in current {
        let id = summary.id.to_string();
        info.with_label_values(&[id.as_str(), &summary.name, &word(&summary.state)]).set(1.0);
        let done: u32 = summary.done.values().fold(0, |sum, count| sum.saturating_add(*count));
        for (state, count) in [("waiting", summary.waiting), ("running", summary.running), ("done", done)] {
            runs.with_label_values(&[id.as_str(), state]).set(count.into());
        }
        for (class, count) in &summary.done {
            ends.with_label_values(&[id.as_str(), &word(class)]).set((*count).into());
        }
        expected.with_label_values(&[id.as_str()]).set(float(i128::from(summary.expected_bytes)));
        held.with_label_values(&[id.as_str()]).set(float(i128::from(summary.held_bytes)));
        for sum in &summary.datastores {
            let labels = [id.as_str(), sum.datastore.as_str()];
            freed.with_label_values(&labels).set(float(i128::from(sum.freed_bytes)));
            busy.with_label_values(&labels).set(sum.running.into());
            cap.with_label_values(&labels).set(sum.cap.into());
        }
    }
    Ok(())
}

/// The word of the JSON.
fn word<T: serde::Serialize>(of: &T) -> String {
    serde_json::to_value(of).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
}

/// Prometheus counts in floats: exact up to 2^53 bytes, 8 PiB.
#[allow(clippy::as_conversions, reason = "the only way from an integer of that size to a float; it rounds")]
fn float(bytes: i128) -> f64 {
    bytes as f64
}

/// Writes beside the file and renames; the collector reads "*.prom" alone, so it never sees the other. It is another user
/// than the worker, whose umask keeps others out of what it makes.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let beside = file.with_extension("prom.new");
    let mut new = fs::OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
    new.set_permissions(Permissions::from_mode(0o644))?;
    new.write_all(text.as_bytes())?;
    fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::campaign::samples;

    #[test]
    fn what_a_collector_reads() {
        let status = samples::status();
        let mut older = samples::summary();
        older.id = 3;
        let told = Told {
            ended: Some(ended(&[status.summary.clone(), older])),
            campaigns: vec![Figures::from(&status)],
        };
        let text = text(&told, samples::NOW).unwrap();
        for line in [
            "# TYPE trimtab_runs_ended_total counter",
            "trimtab_runs_ended_total{class=\"reclaimed\"} 50",
            "trimtab_runs_ended_total{class=\"already_compact\"} 6",
            "trimtab_campaign_info{campaign=\"7\",name=\"nightly\",state=\"active\"} 1",
            "trimtab_campaign_runs{campaign=\"7\",state=\"waiting\"} 85",
            "trimtab_campaign_runs{campaign=\"7\",state=\"done\"} 31",
            "trimtab_campaign_freed_bytes{campaign=\"7\",datastore=\"nfs:filer:/guests\"} 429496729600",
            "trimtab_campaign_datastore_cap{campaign=\"7\",datastore=\"nfs:filer:/guests\"} 2",
            "trimtab_metrics_timestamp_seconds 1795317120",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("campaign=\"3\""), "only those that are shown:\n{text}");
    }

    #[test]
    fn the_dashboard_shows_what_there_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/dashboards/trimtab.json");
        let dashboard = fs::read_to_string(path).unwrap();
        serde_json::from_str::<serde_json::Value>(&dashboard).unwrap();
        let status = samples::status();
        let told = Told {
            ended: Some(ended(std::slice::from_ref(&status.summary))),
            campaigns: vec![Figures::from(&status)],
        };
        let text = text(&told, samples::NOW).unwrap();
        let names: Vec<&str> = dashboard
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("trimtab_"))
            .collect();
        assert!(names.len() > 8, "{names:?}");
        for name in names {
            assert!(text.contains(&format!("# TYPE {name} ")), "no metric is called {name}");
        }
    }

    #[test]
    fn a_name_cannot_forge_a_line() {
        let mut status = samples::status();
        status.summary.name = "a\"} 1\ntrimtab_forged 1".to_owned();
        let told = Told { ended: None, campaigns: vec![Figures::from(&status)] };
        let text = text(&told, samples::NOW).unwrap();
        assert!(!text.contains("runs_ended_total"), "what is not known is not written:\n{text}");
        assert!(!text.lines().any(|line| line.starts_with("trimtab_forged")), "{text}");
    }

    #[test]
    fn over_for_a_day() {
        let ended = |hours: i64| Summary {
            ended: Some(samples::NOW - SignedDuration::from_hours(hours)),
            ..samples::summary()
        };
        assert!(is_shown(&samples::summary(), samples::NOW));
        assert!(is_shown(&ended(23), samples::NOW) && !is_shown(&ended(24), samples::NOW));
    }

    #[test]
    fn the_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("trimtab.prom");
        replace(&file, "old\n").unwrap();
        replace(&file, "new\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644, "whatever the umask is");
    }
}
