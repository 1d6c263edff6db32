//! What a trim is in a real guest: `fstrim -v`, qemu-ga's `guest-fstrim` and `trimtab trim` at each pace do the same work,
//! in turns; how long it took, what came back on the host, what it cost, and what a writer in the guest noticed.
//!
//! ```text
//! for each filesystem:  ground ─→ a trial, for enough work ─→ rounds of (renewed ground, witness, trim) ─→ two disks
//! ```
//!
//! The guest's clock times it, by a program in the guest (`bench-witness`, [`in_the_guest`]).

mod contender;

mod fragments;
mod ground;
mod host;
mod run;
mod table;
mod two;
mod witness;

use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{report, writer};
use crate::guest::qemu_ga::Package;
use crate::guest::{Guest, GuestSpec};
use crate::loop_disk::Filesystem;
use crate::programs;
use contender::{Contender, Contenders, Cost};
use ground::Ground;
use host::Host;
use run::{Measured, Run};
use two::Way;
use witness::Testimony;

/// Where the witness writes, in the guest.
const TESTIMONY: &str = "/run/witness.json";

/// fstrim has at least this much work.
const LEAST_WORK_MS: f64 = 10_000.0;

/// Aimed at beyond that, since a run differs from the next.
const ENOUGH_WORK_MS: f64 = 12_000.0;

/// The first trial is with so many pieces.
const FIRST_PIECES: u64 = 4000;

/// A trim's end and the wait after it.
const WITNESS_LIMIT: Duration = Duration::from_secs(120);

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
    /// The guest's processors.
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
            processors: 1,
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
    let mut measured = begin(&guest, options)?;
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

/// What is in the file, or nothing yet.
fn begin(guest: &Guest, options: &Options) -> Result<Measured> {
    let machine = format!(
        "{}; disks of {} GiB over fully allocated images, free space in pieces of {} KiB, one writer of 16 KiB and an \
         fsync in a loop; medians of rounds in turns, in brackets against fstrim",
        report::machine(guest)?,
        options.gib,
        options.piece_kib
    );
    let schema = "trimtab.bench-guest/1".to_owned();
    let Some(file) = options.file.as_ref().filter(|file| file.exists()) else {
        return Ok(Measured { schema, machine, ..Measured::default() });
    };
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let found: Measured =
        serde_json::from_slice(&text).with_context(|| format!("{} has other figures", file.display()))?;
    ensure!(
        found.schema == schema && found.machine == machine,
        "{} was measured elsewhere, or otherwise: {}; name another file",
        file.display(),
        found.machine
    );
    say(&format!("adding to {} runs in {}", found.runs.len(), file.display()))?;
    Ok(found)
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
    grow(guest, contenders, &mut ground)?;
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
            keep(measured, options)?;
        }
    }
    if options.pairs > 0 {
        let second = Ground::new(guest, filesystem, "b", options.gib, (ground.pieces, piece_bytes))?;
        for _ in 0..options.pairs {
            for way in Way::ALL {
                let pair = two::once(guest, contenders, [&ground, &second], name, way)?;
                say(&format!("{name}, two disks: {}: {:.1} s", pair.way, pair.wall_ms / 1000.0))?;
                measured.pairs.push(pair);
                keep(measured, options)?;
            }
        }
        second.remove()?;
    }
    ground.remove()
}

/// Makes it anew with more pieces until fstrim has enough work, or the disk no room.
fn grow(guest: &Guest, contenders: &mut Contenders<'_>, ground: &mut Ground<'_>) -> Result<()> {
    loop {
        ground.renew()?;
        let mount = ground.mount.clone();
        let (seen, _) = watched(guest, &[&*ground], true, || contenders.trim(Contender::Fstrim, &[&mount]))?;
        say(&format!("fstrim makes {} discards in {:.1} s", seen.discards, seen.wall_ms / 1000.0))?;
        let pieces = enough(ground.pieces, seen.wall_ms).min(ground.most_pieces());
        if pieces <= ground.pieces {
            return Ok(());
        }
        ground.make_again(pieces)?;
    }
}

/// How many pieces are enough work, where `pieces` took so long; at most four times as many.
fn enough(pieces: u64, wall_ms: f64) -> u64 {
    if wall_ms >= LEAST_WORK_MS {
        return pieces;
    }
    let fits = |tenths: &u32| wall_ms * f64::from(*tenths) / 10.0 >= ENOUGH_WORK_MS;
    let tenths = (11..40_u32).find(fits).unwrap_or(40);
    pieces.saturating_mul(tenths.into()).div_ceil(10)
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

/// Has the witness watch a trim of these, with or without a writer on the first.
fn watched(
    guest: &Guest,
    grounds: &[&Ground<'_>],
    writes: bool,
    trim: impl FnOnce() -> Result<Cost>,
) -> Result<(Testimony, Cost)> {
    let writes_on = grounds.first().filter(|_| writes).map_or("-", |ground| ground.mount.as_str());
    let devices: Vec<&str> = grounds.iter().map(|ground| ground.device()).collect();
    let [go, ended] =
        ["go", "ended"].map(|word| witness::beside(Path::new(TESTIMONY), word).display().to_string());
    guest.sh(&format!(
        "rm -f {TESTIMONY} {go} {ended}
         bench-witness watch {writes_on} {TESTIMONY} {} </dev/null >/run/witness.log 2>&1 & echo $! >/run/witness.pid
         while ! [ -e {go} ]; do kill -0 $(cat /run/witness.pid); sleep 0.2; done",
        devices.join(" ")
    ))?;
    let cost = trim()?;
    let wait = format!(
        ">{ended}
         while ! [ -e {TESTIMONY} ]; do
             kill -0 $(cat /run/witness.pid) 2>/dev/null || [ -e {TESTIMONY} ] || {{ cat /run/witness.log >&2; exit 1; }}
             sleep 0.2
         done
         cat {TESTIMONY}"
    );
    Ok((serde_json::from_str(&guest.sh_within(&wait, WITNESS_LIMIT)?)?, cost))
}

/// All figures, in the file, after each run: an interrupted bench goes on where it was.
fn keep(measured: &Measured, options: &Options) -> Result<()> {
    let Some(file) = &options.file else { return Ok(()) };
    let names = Filesystem::ALL.map(Filesystem::as_str);
    let text = serde_json::to_string_pretty(&table::json(measured, &names)?)?;
    let part = file.with_extension("part");
    let done = fs::write(&part, text + "\n").and_then(|()| fs::rename(&part, file));
    done.with_context(|| format!("cannot write {}", file.display()))
}

/// To stderr: stdout is for the table.
fn say(what: &str) -> Result<()> {
    Ok(writeln!(stderr(), "bench-guest: {what}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_work() {
        for (name, wall_ms, expected) in [
            ("enough", 10_000.0, 5000),
            ("nearly", 9_999.0, 6500),
            ("half of what is aimed at", 6_000.0, 10_000),
            ("next to nothing", 1.0, 20_000),
        ] {
            assert_eq!(enough(5000, wall_ms), expected, "{name}");
        }
    }
}
