//! The figures as a Markdown table and as JSON: medians over the rounds, and ratios to fstrim's.

use std::time::Duration;

use serde_json::{Value, json};

use super::tool::Tool;

use crate::bench::figures::{Target, count, median, mib, millis};
use crate::bench::writer::percentile;

/// What one trim was.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) tool: Tool,
    /// From the first discard to the last one done.
    pub(super) wall: Duration,
    pub(super) freed_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) cpu: Duration,
    /// The writer's fsyncs before it, sorted.
    pub(super) before: Vec<Duration>,
    /// And meanwhile.
    pub(super) during: Vec<Duration>,
    /// The longest of them, or of the time after a short trim.
    pub(super) worst: Duration,
}

/// All runs on one filesystem.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) filesystem: &'static str,
    pub(super) runs: Vec<Run>,
}

/// One tool's medians.
struct Row {
    tool: Tool,
    rounds: usize,
    wall: f64,
    freed_mib: f64,
    sent_mib: f64,
    cpu: f64,
    p50: f64,
    p99: f64,
    worst: f64,
    worst_of_all: f64,
    syncs_per_second: f64,
}

impl Rows {
    fn row(&self, tool: Tool) -> Option<Row> {
        let runs: Vec<&Run> = self.runs.iter().filter(|run| run.tool == tool).collect();
        let of = |value: fn(&Run) -> f64| median(runs.iter().map(|run| value(run)).collect());
        (!runs.is_empty()).then(|| Row {
            tool,
            rounds: runs.len(),
            wall: of(|run| run.wall.as_secs_f64()),
            freed_mib: of(|run| mib(run.freed_bytes)),
            sent_mib: of(|run| mib(run.sent_bytes)),
            cpu: of(|run| run.cpu.as_secs_f64()),
            p50: of(|run| millis(percentile(&run.during, 50))),
            p99: of(|run| millis(percentile(&run.during, 99))),
            worst: of(|run| millis(run.worst)),
            worst_of_all: runs.iter().map(|run| millis(run.worst)).fold(0.0, f64::max),
            syncs_per_second: of(|run| per_second(&run.during, run.wall)),
        })
    }

    /// The writer alone: p50, p99 and worst, as medians over all rounds of all tools.
    fn baseline(&self) -> [f64; 3] {
        [50, 99, 100].map(|percent| {
            median(self.runs.iter().map(|run| millis(percentile(&run.before, percent))).collect())
        })
    }

    fn rows(&self) -> Vec<Row> {
        Tool::ALL.into_iter().filter_map(|tool| self.row(tool)).collect()
    }

    /// Its part of the table.
    pub(super) fn markdown(&self) -> String {
        let [p50, p99, worst] = self.baseline();
        let rows = self.rows();
        let fstrim = rows.iter().find(|row| row.tool == Tool::Fstrim);
        let mut text = format!(
            "| {} | the writer alone | | | | {p50:.1} | {p99:.1} | {worst:.0} | | |\n",
            self.filesystem
        );
        for row in &rows {
            let to = |value: fn(&Row) -> f64| match fstrim {
                Some(fstrim) if value(fstrim) > 0.0 => format!("{:.2}", value(row) / value(fstrim)),
                _ => "–".to_owned(),
            };
            text.push_str(&format!(
                "| {} | {} | {:.1} ({}) | {:.0} ({}) | {:.2} | {:.1} | {:.1} | {:.0} ({}) | {:.0} | {:.0} |\n",
                self.filesystem,
                row.tool.name(),
                row.wall,
                to(|row| row.wall),
                row.freed_mib,
                to(|row| row.freed_mib),
                row.cpu,
                row.p50,
                row.p99,
                row.worst,
                to(|row| row.worst),
                row.worst_of_all,
                row.syncs_per_second,
            ));
        }
        text
    }

    /// What is to be reached, and what was. Each in one line.
    pub(super) fn targets(&self) -> Vec<Target> {
        let [_, alone, _] = self.baseline();
        let Some(fstrim) = self.row(Tool::Fstrim) else { return Vec::new() };
        let mut targets = Vec::new();
        let mut add = |pace: &'static str, what: &'static str, least: bool, bound: f64, found: f64| {
            targets.push(Target { pace, what, least, bound, found });
        };
        for row in self.rows() {
            let Tool::Agent(pace) = row.tool else { continue };
            add(pace, "freed against fstrim", true, 0.99, row.freed_mib / fstrim.freed_mib);
            match pace {
                "full" => {
                    let wall = |row: &Row| row.wall / row.freed_mib;
                    add(pace, "wall for each MiB against fstrim", false, 1.05, wall(&row) / wall(&fstrim));
                }
                "steady" => {
                    let bound = if self.filesystem == "xfs" { 0.2 } else { 1.0 };
                    add(pace, "worst fsync against fstrim", false, bound, row.worst / fstrim.worst);
                }
                _ => add(pace, "fsync p99 against the writer alone", false, 2.0, row.p99 / alone),
            }
        }
        targets
    }

    /// The same, for programs.
    pub(super) fn json(&self) -> Value {
        let [p50, p99, worst] = self.baseline();
        let rows: Vec<Value> = self
            .rows()
            .iter()
            .map(|row| {
                json!({
                    "tool": row.tool.name(), "rounds": row.rounds, "wall_secs": row.wall,
                    "freed_mib": row.freed_mib, "sent_mib": row.sent_mib, "cpu_secs": row.cpu,
                    "fsync_p50_ms": row.p50, "fsync_p99_ms": row.p99, "fsync_worst_ms": row.worst,
                    "fsync_worst_of_all_ms": row.worst_of_all, "fsyncs_per_second": row.syncs_per_second,
                })
            })
            .collect();
        json!({
            "filesystem": self.filesystem,
            "alone": { "fsync_p50_ms": p50, "fsync_p99_ms": p99, "fsync_worst_ms": worst },
            "tools": rows,
            "targets": self.targets().iter().map(Target::json).collect::<Vec<_>>(),
        })
    }
}

/// The head of the table that [`Rows::markdown`] adds to.
pub(super) const HEAD: &str = "\
| | | wall, s | freed, MiB | CPU, s | fsync p50, ms | p99 | worst | worst of all | fsyncs/s |
|---|---|---|---|---|---|---|---|---|---|
";

fn per_second(syncs: &[Duration], wall: Duration) -> f64 {
    if wall.is_zero() {
        0.0
    } else {
        count(u64::try_from(syncs.len()).unwrap_or(u64::MAX)) / wall.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MIB;

    fn run(tool: Tool, freed: u64, millis: &[u64]) -> Run {
        let during: Vec<Duration> = millis.iter().copied().map(Duration::from_millis).collect();
        Run {
            tool,
            wall: Duration::from_secs(2),
            freed_bytes: freed.saturating_mul(MIB),
            sent_bytes: freed.saturating_mul(MIB),
            cpu: Duration::from_millis(10),
            before: vec![Duration::from_millis(1); 10],
            worst: during.last().copied().unwrap(),
            during,
        }
    }

    #[test]
    fn medians_and_targets() {
        let rows = Rows {
            filesystem: "xfs",
            runs: vec![
                run(Tool::Fstrim, 1000, &[1, 2, 900]),
                run(Tool::Fstrim, 1000, &[1, 2, 1000]),
                run(Tool::Fstrim, 1000, &[1, 2, 9000]),
                run(Tool::Agent("steady"), 1200, &[1, 2, 201]),
                run(Tool::Agent("gentle"), 980, &[1, 1, 2]),
            ],
        };
        let lines: Vec<String> = rows.targets().iter().map(|target| target.line("xfs")).collect();
        let expected = [
            "xfs steady: freed against fstrim 1.20, at least 0.99: met\n",
            "xfs steady: worst fsync against fstrim 0.20, at most 0.20: NOT MET\n",
            "xfs gentle: freed against fstrim 0.98, at least 0.99: NOT MET\n",
            "xfs gentle: fsync p99 against the writer alone 2.00, at most 2.00: met\n",
        ];
        assert_eq!(lines, expected);
        let table = rows.markdown();
        assert!(table.starts_with("| xfs | the writer alone | | | | 1.0 | 1.0 | 1 | | |\n"), "{table}");
        assert!(
            table.contains(
                "| xfs | fstrim | 2.0 (1.00) | 1000 (1.00) | 0.01 | 2.0 | 1000.0 | 1000 (1.00) | 9000 | 2 |"
            ),
            "{table}"
        );
        assert_eq!(rows.json()["targets"][1]["met"], false);
    }
}
