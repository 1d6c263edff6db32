//! What one trim was, as it is kept in the figures' file.

use serde::{Deserialize, Serialize};

use super::witness::Testimony;

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
