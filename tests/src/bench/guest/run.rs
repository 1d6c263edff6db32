//! What one trim was, as it is kept in the figures' file.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::witness::Testimony;
use super::{Options, say, table};
use crate::bench::report;
use crate::guest::Guest;
use crate::loop_disk::Filesystem;

/// A trim of one disk, with a writer beside it.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) filesystem: String,
    /// [`super::contender::Contender::name`].
    pub(super) tool: String,
    /// From the command on the host to its answer.
    pub(super) command_secs: f64,
    /// Processor time of the guest's program and its children.
    pub(super) cpu_secs: f64,
    /// What the image's allocation fell by.
    pub(super) freed_bytes: u64,
    /// How many of the host's processors other work kept busy.
    pub(super) others_busy: f64,
    pub(super) seen: Testimony,
}

/// A trim of two disks, with nobody beside it.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) filesystem: String,
    /// [`super::two::Way::name`].
    pub(super) way: String,
    /// From the first discard to the last one done; one after the other, the sum of both.
    pub(super) wall_ms: f64,
    pub(super) freed_bytes: u64,
}

/// All that was measured on one machine.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    /// `trimtab.bench-guest/1`.
    pub(super) schema: String,
    /// What it was measured on, and how.
    pub(super) machine: String,
    pub(super) runs: Vec<Run>,
    pub(super) pairs: Vec<Pair>,
}

impl Measured {
    /// What is in the file, or nothing yet.
    pub(super) fn begin(guest: &Guest, options: &Options) -> Result<Self> {
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

    /// All figures, in the file, after each run: an interrupted bench goes on where it was.
    pub(super) fn keep(&self, options: &Options) -> Result<()> {
        let Some(file) = &options.file else { return Ok(()) };
        let names = Filesystem::ALL.map(Filesystem::as_str);
        let text = serde_json::to_string_pretty(&table::json(self, &names)?)?;
        let part = file.with_extension("part");
        let done = fs::write(&part, text + "\n").and_then(|()| fs::rename(&part, file));
        done.with_context(|| format!("cannot write {}", file.display()))
    }
}
