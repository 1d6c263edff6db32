//! What a trim does to a writer: `fstrim -v` against the agent at each pace, on loop devices, in turns.

mod ground;
mod table;
mod tool;
mod writer;

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::loop_disk::Filesystem;
use crate::programs;
use ground::Ground;
use table::{Rows, Run};
use tool::Tool;
use writer::Writer;

/// How long the writer is alone before each trim.
const ALONE: Duration = Duration::from_secs(3);

/// A device that has discarded nothing for this long has done all of it: of all that was seen, one discard took no more
/// than a third.
const STILL: Duration = Duration::from_secs(2);

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
    let mut all = Vec::new();
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
        all.push(rows.json());
    }
    Ok(json!({ "schema": "trimtab.bench-pace/1", "machine": machine, "filesystems": all }))
}

fn once(ground: &mut Ground, tool: Tool, agent: &std::path::Path) -> Result<Run> {
    let full = ground.renew()?;
    let counted = ground.counters()?;
    let writer = Writer::start(&ground.mount());
    let begin = Instant::now();
    sleep(ALONE);
    let from = Instant::now();
    let trimmed = tool.trim(agent, &ground.mount());
    let returned = Instant::now();
    let done = last_discard(ground, returned);
    let syncs = writer.stop()?;
    let (cpu, done) = (trimmed?, done?);
    let now = ground.counters()?;
    Ok(Run {
        tool,
        wall: done.saturating_duration_since(from),
        freed_bytes: full.saturating_sub(ground.allocated()?),
        discards: now.discards.saturating_sub(counted.discards),
        cpu,
        before: syncs.between(begin, from),
        during: syncs.between(from, done),
    })
}

/// When the device had done its last discard: newer XFS returns before.
fn last_discard(ground: &Ground, returned: Instant) -> Result<Instant> {
    let mut last = ground.counters()?;
    let mut moved = returned;
    loop {
        sleep(LOOK_EVERY);
        let now = Instant::now();
        let found = ground.counters()?;
        if found != last {
            (last, moved) = (found, now);
        } else if now.saturating_duration_since(moved) >= STILL {
            return Ok(moved);
        } else if now.saturating_duration_since(returned) > Duration::from_secs(600) {
            bail!("the discards do not end");
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
