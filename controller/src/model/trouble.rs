//! What went wrong, for people and for programs: one type from the bottom to the exit code.

use serde::{Deserialize, Serialize};

/// The closed list of `error.kind` in every JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The command line.
    Usage,
    /// trimtab.toml or the inventory file.
    Config,
    /// No VM of that name is known here.
    UnknownVm,
    /// The VM is off.
    VmOff,
    /// The VM is paused; a paused guest is not called.
    VmPaused,
    /// The VM stopped on an I/O error during the trim: the host's storage refused something.
    VmIoError,
    /// The storage of a VM got worse during its trim, as the host itself saw.
    StorageWorse,
    /// There is no way into the guest: its vsock socket, its CID, or this host's vsock is missing.
    NoLink,
    /// The inventory names no way to an agent, or nothing listens at its end.
    NoAgent,
    /// The way to the agent exists and may not be used by this user.
    NoPermission,
    /// The agent speaks another version of the protocol.
    AgentVersion,
    /// The agent did not answer in time.
    AgentSilent,
    /// What answered broke the contract: too much, too large, impossible numbers.
    AgentNonsense,
    /// The connection broke during a run.
    AgentLost,
    /// The guest has booted again during a run.
    GuestRebooted,
    /// Another trim is under way in that guest.
    Busy,
    /// The guest's owner does not allow it.
    Vetoed,
    /// The guest's owner wants more time between two trims.
    TooSoon,
    /// The agent refused the call for another reason.
    AgentRefused,
    /// QMP could not be reached.
    NoQmp,
    /// What answered on the QMP socket is not QMP.
    QmpNonsense,
    /// libvirt could not be reached, or did not answer.
    NoLibvirt,
    /// libvirt refused a call.
    LibvirtRefused,
    /// An image could not be read.
    Image,
    /// The store of campaigns cannot be used: it cannot be opened, read or written.
    Store,
    /// The store has no campaign of that number, or none that is active.
    UnknownCampaign,
    /// The host is no longer as the plan says.
    Drifted,
    /// A person stopped it.
    Interrupted,
    /// A defect of trimtab.
    Internal,
}

/// An error as a person reads it: what happened and to what, then what to do next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[error("{text}")]
pub struct Trouble {
    /// From the closed list.
    pub kind: Kind,
    /// What happened, to what. May hold text from a guest: escape it where it is shown.
    pub text: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Trouble {
    /// A trouble without a hint.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), hint: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
