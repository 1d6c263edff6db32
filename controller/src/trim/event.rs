//! What a turn says while it goes on. Lossy by nature: the outcome repeats every fact.

use trimtab_proto::words::{FilesystemState, Wire};

use crate::layers::Layer;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TurnEvent {
    /// The turn went on to its next step.
    Stage(Stage),
    /// Something worth knowing before it begins.
    Warning {
        /// What it is about.
        layer: Layer,
        /// One sentence. May hold a guest's text.
        text: String,
    },
    /// A filesystem began or ended.
    Filesystem {
        /// Where it is mounted, in the guest's words.
        mount: String,
        /// Where its trim is.
        state: Wire<FilesystemState>,
        /// What FITRIM returned so far.
        claimed_bytes: Option<u64>,
    },
    /// Something moved.
    Progress {
        /// Where it is mounted, in the guest's words.
        mount: String,
        /// What finished ranges cover; `None` where one call does it all.
        passed_bytes: Option<u64>,
        /// Of so many.
        of_bytes: u64,
        /// Discarded so far, over all disks of the run.
        sent_bytes: Option<u64>,
    },
}

/// The steps of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Reading hypervisor, guest and images.
    Looking,
    /// The way is proven with a small file.
    Probing,
    /// The guest trims.
    Trimming,
    /// The connection was lost; fetching the run.
    Reconnecting,
    /// The guest discards nothing until it is told to go on.
    Paused,
    /// The run is being cancelled.
    Cancelling,
    /// Waiting until counters and allocation stand still.
    Settling,
}

impl Stage {
    /// As a person reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Looking => "looking",
            Self::Probing => "probing",
            Self::Trimming => "trimming",
            Self::Reconnecting => "connection lost, fetching the run",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Settling => "waiting for counters to settle",
        }
    }
}

/// Where a turn's events go.
pub trait Listener: Send + Sync {
    /// Called for each event; must not block.
    fn event(&self, event: TurnEvent);
}

impl<F: Fn(TurnEvent) + Send + Sync> Listener for F {
    fn event(&self, event: TurnEvent) {
        self(event);
    }
}
