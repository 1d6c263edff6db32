//! What a caller may say of a turn.

use std::time::Duration;

use trimtab_proto::words::Pace;

use crate::layers::Layer;

/// How a VM is to be trimmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrimOptions {
    /// Only these disks: the guest's name, the hypervisor's name, or the image's path. Empty: all.
    pub disks: Vec<String>,
    /// Only these mount points. Empty: all.
    pub mounts: Vec<String>,
    /// `None`: the agent's default.
    pub pace: Option<Pace>,
    /// The agent ends the run after this.
    pub deadline: Duration,
    /// How long the agent goes on when this process is gone.
    pub linger: Duration,
    /// Make ext4 look again at what it remembers as trimmed.
    pub again: bool,
    /// Filesystem types beside the agent's own list.
    pub also_types: Vec<String>,
    /// Free extents below this are left alone, in bytes; 0: below what the image can free, as far as
    /// that is known.
    pub min_extent_bytes: u64,
    /// Guards and known cuts that do not count.
    pub anyway: Vec<Layer>,
    /// How long to wait for counters and allocation to stand still afterwards.
    pub settle: Duration,
}

impl Default for TrimOptions {
    fn default() -> Self {
        Self {
            disks: Vec::new(),
            mounts: Vec::new(),
            pace: None,
            deadline: Duration::from_secs(4 * 60 * 60),
            linger: Duration::from_secs(5),
            again: false,
            also_types: Vec::new(),
            min_extent_bytes: 0,
            anyway: Vec::new(),
            settle: Duration::from_secs(30),
        }
    }
}
