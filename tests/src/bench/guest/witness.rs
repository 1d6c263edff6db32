//! In the guest, beside a trim: a writer in an fsync loop, the disks' discard counters and the processors' time, all by the
//! guest's own clock.
//!
//! ```text
//! started ─ the writer is alone ─→ `go` ─ the host runs a trim, then writes `ended` ─→ no discard for a while ─→ testimony
//! ```
//!
//! The host and it speak by files beside the testimony, so that nothing has to be sent in the middle of a trim.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::bench::cpu;
use crate::bench::discards::{Discards, Moves, STILL};
use crate::bench::figures::millis;
use crate::bench::writer::{self, Syncs, Writer};

/// How long the writer is alone before each trim.
const ALONE: Duration = Duration::from_secs(3);

/// The worst fsync is looked for in no less than this, from each start: what a disk does by itself now and then weighs on
/// a short trim and on a long one alike.
const WINDOW: Duration = Duration::from_secs(10);

/// A look takes a fifth of a millisecond in software emulation.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Reading the processors' times takes longer than that.
const GLANCE_EVERY: Duration = Duration::from_millis(100);

/// Nobody waits longer for a trim.
const LIMIT: Duration = Duration::from_secs(1800);

/// What it saw. Times in milliseconds.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Testimony {
    /// From the first discard to the last one done.
    pub(super) wall_ms: f64,
    pub(super) discards: u64,
    pub(super) discarded_bytes: u64,
    /// The writer before the trim.
    pub(super) alone: Fsyncs,
    /// And meanwhile.
    pub(super) during: Fsyncs,
    /// The longest fsync meanwhile, or in the time after a short trim.
    pub(super) worst_ms: f64,
    /// How busy the guest's processors were before, 1 for all of them.
    pub(super) busy_alone: f64,
    /// And meanwhile.
    pub(super) busy_during: f64,
}

/// A writer's fsyncs.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Fsyncs {
    pub(super) count: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) worst_ms: f64,
}

/// Watches one trim of what is on `devices`, and writes the testimony to `file`. Meanwhile a writer writes below `writes_on`,
/// where its file must be.
pub(super) fn watch(writes_on: Option<&Path>, devices: &[String], file: &Path) -> Result<()> {
    let writer = writes_on.map(Writer::start);
    let (begin, idle) = (Instant::now(), cpu::Whole::now()?);
    sleep(ALONE);
    let counted = Discards::of_all(devices)?;
    let (from, start) = (Instant::now(), cpu::Whole::now()?);
    fs::write(beside(file, "go"), "")?;
    let mut moves = Moves::from(counted, from);
    let (mut at_first, mut at_last, mut glanced, mut ended) = (start, start, from, false);
    while !(ended && moves.still() >= STILL) {
        sleep(LOOK_EVERY);
        let first = moves.first;
        moves.look(Discards::of_all(devices)?, Instant::now());
        if moves.first != first {
            (at_first, at_last) = (cpu::Whole::now()?, cpu::Whole::now()?);
            glanced = moves.last;
        } else if moves.last.saturating_duration_since(glanced) >= GLANCE_EVERY {
            (at_last, glanced) = (cpu::Whole::now()?, moves.last);
        }
        // An answer may come long after the last discard, and a discard after the answer.
        ended = ended || beside(file, "ended").exists();
        if from.elapsed() > LIMIT {
            bail!("the trim does not end");
        }
    }
    let window = from.checked_add(WINDOW).unwrap_or(from);
    if writer.is_some() {
        sleep(window.saturating_duration_since(Instant::now()));
    }
    let syncs = writer.map(Writer::stop).transpose()?.unwrap_or_default();
    let (first, last) = (moves.first.context("nothing was discarded")?, moves.last);
    let testimony = Testimony {
        wall_ms: millis(last.saturating_duration_since(first)),
        discards: moves.done().requests,
        discarded_bytes: moves.done().bytes,
        alone: Fsyncs::between(&syncs, begin, from),
        during: Fsyncs::between(&syncs, first, last),
        worst_ms: Fsyncs::between(&syncs, from, window.max(last)).worst_ms,
        busy_alone: start.busy_since(&idle),
        busy_during: at_last.busy_since(&at_first),
    };
    // Whole, or not there.
    let part = beside(file, "part");
    fs::write(&part, serde_json::to_string(&testimony)?)?;
    fs::rename(&part, file)?;
    Ok(())
}

/// `file.word`.
pub(super) fn beside(file: &Path, word: &str) -> PathBuf {
    file.with_extension(word)
}

impl Fsyncs {
    fn between(syncs: &Syncs, from: Instant, to: Instant) -> Self {
        let took = syncs.between(from, to);
        let of = |percent| millis(writer::percentile(&took, percent));
        Self {
            count: u64::try_from(took.len()).unwrap_or(u64::MAX),
            p50_ms: of(50),
            p99_ms: of(99),
            worst_ms: of(100),
        }
    }
}
