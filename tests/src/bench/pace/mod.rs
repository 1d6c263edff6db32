//! What a trim does to a writer: `fstrim -v` against the agent at each pace, on loop devices, in turns.

mod ground;
mod table;
mod tool;

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::discards::{Discards, Moves, STILL};
use super::writer::Writer;
use crate::loop_disk::Filesystem;
use crate::programs;
use ground::Ground;
use table::{Rows, Run};
use tool::{Tool, Trim};

/// How long the writer is alone before each trim.
const ALONE: Duration = Duration::from_secs(3);

/// A trim that discards nothing for this long hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// The worst fsync is looked for in no less than this, from each start: what a disk does by itself now and then weighs on
/// a short trim and on a long one alike.
const WINDOW: Duration = Duration::from_secs(10);

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What is measured, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// Each tool has so many trims of each filesystem.
    pub rounds: u32,
    /// The size of the filesystems.
    pub gib: u64,
    /// Their types.
    pub filesystems: Vec<Filesystem>,
    /// The agent; `None`: the shipped one, or the one that `make test` builds.
    pub agent: Option<PathBuf>,
    /// Tools by their name; empty: all.
    pub tools: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 5, gib: 16, filesystems: Filesystem::ALL.to_vec(), agent: None, tools: Vec::new() }
    }
}

/// Measures, prints a table, and gives the same as JSON.
///
/// # Errors
/// No root, no room for an image, or a trim that fails.
pub fn run(options: &Options) -> Result<Value> {
    let agent = match &options.agent {
        Some(agent) => agent.clone(),
        None => programs::shipped_agent().or_else(|_| programs::agent())?,
    };
    let wanted =
        |tool: &Tool| options.tools.is_empty() || options.tools.iter().any(|name| name == tool.name());
    let tools: Vec<Tool> = Tool::ALL.into_iter().filter(wanted).collect();
    let machine = machine(options)?;
    let mut out = stdout().lock();
    write!(out, "{machine}\n\n{}", table::HEAD)?;
    let (mut all, mut targets) = (Vec::new(), Vec::new());
    for filesystem in &options.filesystems {
        let mut ground = Ground::new(*filesystem, options.gib)?;
        let mut rows = Rows { filesystem: filesystem.as_str(), runs: Vec::new() };
        for _ in 0..options.rounds {
            for tool in &tools {
                rows.runs.push(once(&mut ground, *tool, &agent)?);
            }
        }
        out.write_all(rows.markdown().as_bytes())?;
        out.flush()?;
        targets.extend(rows.targets().iter().map(|target| target.line(rows.filesystem)));
        all.push(rows.json());
    }
    writeln!(out, "\n{}", targets.concat())?;
    Ok(json!({ "schema": "trimtab.bench-pace/1", "machine": machine, "filesystems": all }))
}

fn once(ground: &mut Ground, tool: Tool, agent: &Path) -> Result<Run> {
    let full = ground.renew()?;
    let counted = ground.discards()?;
    let writer = Writer::start(&ground.mount());
    let begin = Instant::now();
    sleep(ALONE);
    let from = Instant::now();
    let trim = tool.start(agent, &ground.mount())?;
    let moves = follow(ground, counted, trim);
    let window = from.checked_add(WINDOW).unwrap_or(from);
    sleep(window.saturating_duration_since(Instant::now()));
    let syncs = writer.stop()?;
    let (moves, cpu) = moves?;
    let (first, last) = (moves.first.unwrap_or(from), moves.last);
    Ok(Run {
        tool,
        wall: last.saturating_duration_since(first),
        freed_bytes: full.saturating_sub(ground.allocated()?),
        sent_bytes: moves.done().bytes,
        cpu,
        before: syncs.between(begin, from),
        during: syncs.between(first, last),
        worst: syncs.between(from, window.max(last)).last().copied().unwrap_or_default(),
    })
}

/// Follows a trim to its last discard; newer XFS returns before. With it the processor time that it took.
fn follow(ground: &Ground, counted: Discards, mut trim: Trim) -> Result<(Moves, Duration)> {
    let mut moves = Moves::from(counted, Instant::now());
    let mut cpu = None;
    loop {
        sleep(LOOK_EVERY);
        moves.look(ground.discards()?, Instant::now());
        cpu = match cpu {
            None => trim.ended()?,
            ended => ended,
        };
        if let (Some(cpu), true) = (cpu, moves.still() >= STILL) {
            return Ok((moves, cpu));
        }
        if moves.still() > LIMIT {
            bail!("the trim does not end, and nothing is discarded");
        }
    }
}

/// What it was measured on, in a sentence or two.
fn machine(options: &Options) -> Result<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let models = || cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = models().next().map_or("a processor without a name", |(_, model)| model);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("no kernel release")?;
    Ok(format!(
        "Linux {}, {} × {model}; loop devices of {} GiB over fully allocated files, 1 MiB pieces of three eighths deleted, \
         one writer of 16 KiB and an fsync in a loop; medians of {} rounds in turns, in brackets against fstrim",
        release.trim(),
        models().count(),
        options.gib,
        options.rounds,
    ))
}
