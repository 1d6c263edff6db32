//! What was done about a layer from the host, for screens and documents.

use crate::{layers::Layer, model::trouble::Trouble};

/// One thing that can be mended from the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mended {
    /// The layer that cuts.
    pub layer: Layer,
    /// The hypervisor's name of the disk, where it is one disk's.
    pub disk: Option<String>,
    /// The element of the configuration as it was; `None` where there was none, or nothing was to change.
    pub before: Option<String>,
    /// As it is to be; `None` where nothing was to change.
    pub after: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is in the configuration now, and holds from the next start of QEMU on.
    Done,
    /// It was there before; only the next start of QEMU is missing.
    AlreadyThere,
    /// Nobody agreed to it.
    Declined,
    /// It could not be made.
    Failed(Trouble),
}

impl Mended {
    /// Nothing but a power cycle is missing.
    pub fn waits_for_power_cycle(&self) -> bool {
        matches!(self.outcome, Outcome::Done | Outcome::AlreadyThere)
    }
}

impl Outcome {
    /// The word of JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::AlreadyThere => "already_there",
            Self::Declined => "declined",
            Self::Failed(_) => "failed",
        }
    }
}
