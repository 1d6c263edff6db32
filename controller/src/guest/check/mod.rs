//! Every bound on what a guest may say: generated messages in, the controller's nouns out. Pure, and the one place
//! where a generated message is looked into.
//!
//! What breaks the contract is [`Nonsense`] that names the field; nothing is clipped, dropped or repaired. A number
//! of a closed list that this side does not know is kept: the agent may be newer. What is *not* judged here is
//! whether numbers are true: sizes against the host's disks are the ledger's business, and `used` may exceed `size`
//! where a filesystem spans more than its device.

use std::fmt;

#[cfg(test)]
mod arbitrary;
mod field;
mod hello;
mod probe;
mod run;
mod survey;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod versions;

pub use hello::hello;
pub use probe::probe;
pub use run::{Event, event, report};
pub use survey::survey;

/// Filesystems that a trim would take; skipped ones come on top ([`trimtab_proto::MAX_LISTED_SKIPS`]).
pub const MAX_TRIMMED_FILESYSTEMS: usize = 1024;
/// Filesystems of a survey or a run.
pub const MAX_FILESYSTEMS: usize = MAX_TRIMMED_FILESYSTEMS + trimtab_proto::MAX_LISTED_SKIPS;
/// Block devices of a guest, and disks of a run.
pub const MAX_DEVICES: usize = 4096;
/// Devices right below another one, and disks below a filesystem.
pub const MAX_BELOW: usize = 512;
/// Sizes of free extents.
pub const MAX_FREE_EXTENTS: usize = 16;
/// Words of a list: features, filesystem types.
pub const MAX_WORDS: usize = 64;
/// A word: a version, a feature, a filesystem type, an address, a boot id.
pub const MAX_WORD_BYTES: usize = 128;
/// What names a device: a serial, a wwid, a dm uuid.
pub const MAX_NAME_BYTES: usize = 512;
/// A mount point: PATH_MAX, and what stands for bytes that are no UTF-8.
pub const MAX_PATH_BYTES: usize = 3 * 4096;
/// A sentence for a person, which may name a mount point.
pub const MAX_SENTENCE_BYTES: usize = MAX_PATH_BYTES + 1024;
/// Any size, offset or counter in bytes: the kernel's own limit (loff_t).
pub const MAX_BYTES: u64 = 1 << 63;
/// Any duration: a year.
pub const MAX_MILLIS: u64 = 366 * 24 * 3600 * 1000;

/// What broke the contract, and where. `Display` is one sentence; it holds no text of the guest that is not escaped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nonsense {
    /// "filesystems[3].mount".
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Nonsense {
    /// About a field, or about the whole message where the name is empty.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// Puts the name of what holds the field in front.
    #[must_use]
    fn within(mut self, holder: &str) -> Self {
        self.field =
            if self.field.is_empty() { holder.to_owned() } else { format!("{holder}.{}", self.field) };
        self
    }

    /// The same for the member of a list.
    #[must_use]
    fn within_nth(self, list: &str, index: usize) -> Self {
        self.within(&format!("{list}[{index}]"))
    }
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.field, self.problem)
        }
    }
}

impl std::error::Error for Nonsense {}
