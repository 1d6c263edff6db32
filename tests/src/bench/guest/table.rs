//! The figures as Markdown and JSON: medians over the rounds, and ratios to fstrim's.

use serde_json::{Value, json};

use super::contender::Contender;
use super::run::{Measured, Run};
use super::two::Way;
use crate::bench::figures::{Target, median, mib};

/// So many runs are needed before a worst is worth comparing.
const WORST_OF: usize = 5;

/// Fewer seconds of work are mostly noise.
const LEAST_SECS: f64 = 10.0;

/// `trimtab` and the vsock device keep less of the host's processors busy.
const OTHERS_MOST: f64 = 0.3;

/// A column of the table: its head, its value, how many digits it has, and whether a ratio to fstrim's stands beside it.
struct Column {
    head: &'static str,
    key: &'static str,
    value: fn(&Run) -> f64,
    digits: usize,
    compared: bool,
}

const WALL: Column = Column {
    head: "wall, s",
    key: "wall_secs",
    value: |run| run.seen.wall_ms / 1000.0,
    digits: 1,
    compared: true,
};
const FREED: Column = Column {
    head: "freed, MiB",
    key: "freed_mib",
    value: |run| mib(run.freed_bytes),
    digits: 0,
    compared: true,
};
const P99: Column = Column {
    head: "p99",
    key: "fsync_p99_ms",
    value: |run| run.seen.during.p99_ms,
    digits: 1,
    compared: false,
};
const WORST: Column = Column {
    head: "worst",
    key: "fsync_worst_ms",
    value: |run| run.seen.worst_ms,
    digits: 0,
    compared: true,
};

const COLUMNS: [Column; 9] = [
    WALL,
    Column {
        head: "command, s",
        key: "command_secs",
        value: |run| run.command_secs,
        digits: 1,
        compared: false,
    },
    FREED,
    Column { head: "CPU, s", key: "cpu_secs", value: |run| run.cpu_secs, digits: 2, compared: true },
    Column {
        head: "guest busy, %",
        key: "guest_busy_percent",
        value: |run| run.seen.busy_during * 100.0,
        digits: 0,
        compared: false,
    },
    Column {
        head: "fsync p50, ms",
        key: "fsync_p50_ms",
        value: |run| run.seen.during.p50_ms,
        digits: 1,
        compared: false,
    },
    P99,
    WORST,
    Column {
        head: "fsyncs/s",
        key: "fsyncs_per_second",
        value: |run| per_second(run.seen.during.count, run.seen.wall_ms),
        digits: 0,
        compared: false,
    },
];

/// All runs on one filesystem.
pub(super) struct Rows<'a> {
    filesystem: &'static str,
    runs: Vec<&'a Run>,
    measured: &'a Measured,
}

impl<'a> Rows<'a> {
    pub(super) fn of(measured: &'a Measured, filesystem: &'static str) -> Self {
        let runs = measured.runs.iter().filter(|run| run.filesystem == filesystem).collect();
        Self { filesystem, runs, measured }
    }

    fn tool(&self, tool: Contender) -> Vec<&'a Run> {
        self.runs.iter().copied().filter(|run| run.tool == tool.name()).collect()
    }

    fn median(&self, tool: Contender, column: &Column) -> f64 {
        median(self.tool(tool).into_iter().map(column.value).collect())
    }

    /// Of all runs, for what was before each of them.
    fn alone(&self, value: fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(|run| value(run)).collect())
    }

    /// The tools that ran.
    fn tools(&self) -> impl Iterator<Item = Contender> {
        Contender::ALL.into_iter().filter(|tool| !self.tool(*tool).is_empty())
    }

    /// Its part of the table.
    fn markdown(&self) -> String {
        if self.runs.is_empty() {
            return String::new();
        }
        let mut text = format!(
            "| {} | the writer alone | | | | | {:.0} | {:.1} | {:.1} | {:.0} | |\n",
            self.filesystem,
            self.alone(|run| run.seen.busy_alone * 100.0),
            self.alone(|run| run.seen.alone.p50_ms),
            self.alone(|run| run.seen.alone.p99_ms),
            self.alone(|run| run.seen.alone.worst_ms),
        );
        for tool in self.tools() {
            let cells: Vec<String> = COLUMNS.iter().map(|column| self.cell(tool, column)).collect();
            text.push_str(&format!("| {} | {} | {} |\n", self.filesystem, tool.name(), cells.join(" | ")));
        }
        text
    }

    fn cell(&self, tool: Contender, column: &Column) -> String {
        let (value, fstrim) = (self.median(tool, column), self.median(Contender::Fstrim, column));
        let digits = column.digits;
        match column.compared && fstrim > 0.0 {
            true => format!("{value:.digits$} ({:.2})", value / fstrim),
            false => format!("{value:.digits$}"),
        }
    }

    /// What is to be reached, and what was.
    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        let ratio = |pace, column| self.median(pace, column) / self.median(Contender::Fstrim, column);
        for tool in self.tools() {
            let Contender::Trimtab(pace) = tool else { continue };
            let mut add = |what, least, bound, found| {
                targets.push(Target { pace, what, least, bound, found });
            };
            add("freed against fstrim", true, 0.99, ratio(tool, &FREED));
            match pace {
                "full" => add("wall against fstrim", false, 1.05, ratio(tool, &WALL)),
                "steady" if self.tool(tool).len() >= WORST_OF => {
                    let bound = if self.filesystem == "xfs" { 0.2 } else { 1.0 };
                    add("worst fsync against fstrim", false, bound, ratio(tool, &WORST));
                }
                "steady" => {}
                _ => {
                    let alone = self.alone(|run| run.seen.alone.p99_ms);
                    add("fsync p99 against the writer alone", false, 2.0, self.median(tool, &P99) / alone);
                }
            }
        }
        if let (Some(fstrim), Some(ours)) = (self.pair(Way::Fstrim), self.pair(Way::SideBySide)) {
            let what = "two disks side by side, wall against fstrim -a";
            targets.push(Target { pace: "full", what, least: false, bound: 0.6, found: ours / fstrim });
        }
        targets
    }

    /// The wall time of two disks, in seconds; none where it was not measured.
    fn pair(&self, way: Way) -> Option<f64> {
        let pairs = self.measured.pairs.iter();
        let of = pairs.filter(|pair| pair.filesystem == self.filesystem && pair.way == way.name());
        let walls: Vec<f64> = of.map(|pair| pair.wall_ms / 1000.0).collect();
        (!walls.is_empty()).then(|| median(walls))
    }

    fn pair_row(&self) -> String {
        let walls: Vec<Option<f64>> = Way::ALL.into_iter().map(|way| self.pair(way)).collect();
        if walls.iter().all(Option::is_none) {
            return String::new();
        }
        let first = walls.first().copied().flatten();
        let cell = |wall: &Option<f64>| match (wall, first) {
            (Some(wall), Some(first)) if first > 0.0 => format!("{wall:.1} ({:.2})", wall / first),
            (Some(wall), _) => format!("{wall:.1}"),
            (None, _) => "–".to_owned(),
        };
        let cells: Vec<String> = walls.iter().map(cell).collect();
        format!("| {} | {} |\n", self.filesystem, cells.join(" | "))
    }

    /// What the reader must know to read the targets.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let wall = self.median(Contender::Fstrim, &WALL);
        if !self.tool(Contender::Fstrim).is_empty() && wall < LEAST_SECS {
            let name = self.filesystem;
            notes.push(format!(
                "{name}: fstrim had {wall:.1} s of work, and less than {LEAST_SECS:.0} s are mostly noise"
            ));
        }
        let others = self.runs.iter().map(|run| run.others_busy).fold(0.0, f64::max);
        if others > OTHERS_MOST {
            let name = self.filesystem;
            notes.push(format!(
                "{name}: other work kept up to {others:.1} of the host's processors busy: what took long may have waited for it"
            ));
        }
        let steady = self.tool(Contender::Trimtab("steady")).len();
        if steady > 0 && steady < WORST_OF {
            let name = self.filesystem;
            notes.push(format!(
                "{name} steady: worst fsync against fstrim is judged from {WORST_OF} rounds on; so far {steady}"
            ));
        }
        notes
    }

    fn json(&self) -> Value {
        let tools: Vec<Value> = self
            .tools()
            .map(|tool| {
                let mut row = json!({ "tool": tool.name(), "rounds": self.tool(tool).len() });
                for column in &COLUMNS {
                    row[column.key] = self.median(tool, column).into();
                }
                row
            })
            .collect();
        let pairs: Vec<Value> = Way::ALL
            .into_iter()
            .filter_map(|way| Some(json!({ "way": way.name(), "wall_secs": self.pair(way)? })))
            .collect();
        json!({
            "filesystem": self.filesystem,
            "alone": {
                "fsync_p50_ms": self.alone(|run| run.seen.alone.p50_ms),
                "fsync_p99_ms": self.alone(|run| run.seen.alone.p99_ms),
                "fsync_worst_ms": self.alone(|run| run.seen.alone.worst_ms),
            },
            "tools": tools,
            "two_disks": pairs,
            "targets": self.targets().iter().map(Target::json).collect::<Vec<_>>(),
            "notes": self.notes(),
        })
    }
}

/// Both tables, the targets and the notes.
pub(super) fn markdown(measured: &Measured, filesystems: &[&'static str]) -> String {
    let rows = || filesystems.iter().map(|filesystem| Rows::of(measured, filesystem));
    let heads: Vec<&str> = COLUMNS.iter().map(|column| column.head).collect();
    let mut text = format!("{}\n\n| | | {} |\n|---|---", measured.machine, heads.join(" | "));
    text.push_str(&"|---".repeat(COLUMNS.len()));
    text.push_str("|\n");
    text.extend(rows().map(|rows| rows.markdown()));
    let pairs: String = rows().map(|rows| rows.pair_row()).collect();
    if !pairs.is_empty() {
        let heads: Vec<&str> = Way::ALL.into_iter().map(Way::name).collect();
        text.push_str(&format!(
            "\n| two disks, wall, s | {} |\n|---{}|\n",
            heads.join(" | "),
            "|---".repeat(heads.len())
        ));
        text.push_str(&pairs);
    }
    text.push('\n');
    for rows in rows() {
        text.extend(rows.targets().iter().map(|target| target.line(rows.filesystem)));
    }
    for note in rows().flat_map(|rows| rows.notes()) {
        text.push_str(&format!("{note}\n"));
    }
    text
}

/// What [`markdown`] says, for programs, with all that was measured.
pub(super) fn json(measured: &Measured, filesystems: &[&'static str]) -> anyhow::Result<Value> {
    let mut document = serde_json::to_value(measured)?;
    let rows = filesystems.iter().map(|filesystem| Rows::of(measured, filesystem));
    document["filesystems"] = rows.filter(|rows| !rows.runs.is_empty()).map(|rows| rows.json()).collect();
    Ok(document)
}

fn per_second(count: u64, millis: f64) -> f64 {
    if millis > 0.0 { crate::bench::figures::count(count) * 1000.0 / millis } else { 0.0 }
}

#[cfg(test)]
mod tests;
