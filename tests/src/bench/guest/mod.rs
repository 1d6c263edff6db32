//! What a trim is in a real guest: `fstrim -v`, qemu-ga's `guest-fstrim` and `trimtab trim` at each pace do the same work,
//! in turns; how long it took, what came back on the host, what it cost, and what a writer in the guest noticed.
//!
//! ```text
//! for each filesystem:  ground ─→ a trial, for enough work ─→ rounds of (renewed ground, witness, trim) ─→ two disks
//! ```
//!
//! The guest's clock times it, by a program in the guest (`bench-witness`, [`in_the_guest`]).

mod contender;
mod effort;

mod fragments;
mod ground;
mod host;
mod run;
mod table;
mod two;
mod watched;
mod witness;

use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::writer;
use crate::guest::qemu_ga::Package;
use crate::guest::{Guest, GuestSpec};
use crate::loop_disk::Filesystem;
use crate::programs;
use contender::{Contender, Contenders};
use ground::Ground;
use host::Host;
use run::{Measured, Run};
use two::Way;
use watched::watched;
use witness::Testimony;

/// The first trial is with so many pieces.
const FIRST_PIECES: u64 = 4000;

/// What is measured, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// Each contender has so many trims of each filesystem.
    pub rounds: u32,
    /// Two disks are trimmed so often in each way.
    pub pairs: u32,
    /// The size of the filesystems.
    pub gib: u64,
    /// How large a piece of free space is.
    pub piece_kib: u64,
    /// The guest's processors. With one, the agent's nice level decides, beside the writer, and not the disk.
    pub processors: u8,
    /// Types of filesystems.
    pub filesystems: Vec<Filesystem>,
    /// Contenders by their name; empty: all.
    pub tools: Vec<String>,
    /// Where all figures are kept; what is there already is added to.
    pub file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 2,
            pairs: 1,
            gib: 8,
            piece_kib: 128,
            processors: 2,
            filesystems: Filesystem::ALL.to_vec(),
            tools: Vec::new(),
            file: None,
        }
    }
}

/// Measures, prints the tables, and keeps the figures.
///
/// # Errors
/// A program is missing, no room for an image, or a trim that fails.
pub fn run(options: &Options) -> Result<()> {
    say("booting a guest")?;
    let guest = boot(options)?;
    let mut measured = Measured::begin(&guest, options)?;
    let mut contenders = Contenders::start(&guest)?;
    for filesystem in &options.filesystems {
        bench(&guest, &mut contenders, *filesystem, options, &mut measured)?;
    }
    let names = Filesystem::ALL.map(Filesystem::as_str);
    Ok(stdout().write_all(table::markdown(&measured, &names).as_bytes())?)
}

/// What `bench-witness` does with these words.
///
/// # Errors
/// They are not known, or the guest does not do what it should.
pub fn in_the_guest(words: &[String]) -> Result<()> {
    match words {
        [word, mount, count, bytes] if word == "fragment" => {
            fragments::make(Path::new(mount), count.parse()?, bytes.parse()?)
        }
        [word, mount] if word == "write-file" => {
            writer::write_whole(&mut fs::File::create(Path::new(mount).join(writer::FILE))?)
        }
        [word, mount, file, devices @ ..] if word == "watch" => {
            witness::watch(Some(Path::new(mount)).filter(|_| mount != "-"), devices, Path::new(file))
        }
        _ => bail!("not known: {words:?}"),
    }
}

fn boot(options: &Options) -> Result<Guest> {
    let mut spec = GuestSpec::new("bench").without_agent().processors(options.processors);
    spec = spec.file(&programs::shipped_agent()?, "/usr/bin/trimtab-agent");
    spec = spec.file(&programs::bench_witness()?, "/usr/bin/bench-witness");
    for (host, guest) in &Package::unpack()?.files {
        spec = spec.file(host, guest);
    }
    Guest::boot(spec)
}

fn bench(
    guest: &Guest,
    contenders: &mut Contenders<'_>,
    filesystem: Filesystem,
    options: &Options,
    measured: &mut Measured,
) -> Result<()> {
    let name = filesystem.as_str();
    say(&format!("{name}: fragmenting"))?;
    let piece_bytes = options.piece_kib.saturating_mul(1024);
    let mut ground = Ground::new(guest, filesystem, "a", options.gib, (FIRST_PIECES, piece_bytes))?;
    effort::grow(guest, contenders, &mut ground)?;
    let wanted =
        |tool: &Contender| options.tools.is_empty() || options.tools.iter().any(|name| name == tool.name());
    for round in 1..=options.rounds {
        for tool in Contender::ALL.into_iter().filter(wanted) {
            let run = once(guest, contenders, &ground, tool, name)?;
            let Testimony { wall_ms, discards, worst_ms, .. } = run.seen;
            say(&format!(
                "{name} {round}/{}: {}: {discards} discards in {:.1} s, worst fsync {worst_ms:.0} ms",
                options.rounds,
                tool.name(),
                wall_ms / 1000.0,
            ))?;
            measured.runs.push(run);
            measured.keep(options)?;
        }
    }
    if options.pairs > 0 {
        let second = Ground::new(guest, filesystem, "b", options.gib, (ground.pieces, piece_bytes))?;
        for _ in 0..options.pairs {
            for way in Way::ALL {
                let pair = two::once(guest, contenders, [&ground, &second], name, way)?;
                say(&format!("{name}, two disks: {}: {:.1} s", pair.way, pair.wall_ms / 1000.0))?;
                measured.pairs.push(pair);
                measured.keep(options)?;
            }
        }
        second.remove()?;
    }
    ground.remove()
}

fn once(
    guest: &Guest,
    contenders: &mut Contenders<'_>,
    ground: &Ground<'_>,
    tool: Contender,
    filesystem: &str,
) -> Result<Run> {
    let full = ground.renew()?;
    let before = Host::now(guest)?;
    let (seen, cost) = watched(guest, &[ground], true, || contenders.trim(tool, &[ground.mount.as_str()]))?;
    let others_busy = Host::now(guest)?.others_since(&before);
    Ok(Run {
        filesystem: filesystem.to_owned(),
        tool: tool.name().to_owned(),
        command_secs: cost.took.as_secs_f64(),
        cpu_secs: cost.cpu.as_secs_f64(),
        freed_bytes: full.saturating_sub(ground.allocated()?),
        others_busy,
        seen,
    })
}

/// To stderr: stdout is for the table.
fn say(what: &str) -> Result<()> {
    Ok(writeln!(stderr(), "bench-guest: {what}")?)
}
