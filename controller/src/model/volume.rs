//! Block devices of the host that are images: what of them can be measured.

/// A block device behind a guest's disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Volume {
    /// A volume of a device-mapper thin pool.
    Thin(ThinVolume),
    /// It owns all of its blocks, so nothing of this host comes free when the guest discards some.
    Thick {
        /// What it is: "logical volume", "partition", "disk", …
        kind: &'static str,
        /// The kernel's name, or device-mapper's: "vg0-db", "sdb".
        name: String,
    },
    /// It could not be told: why, as the end of a sentence.
    Unknown(String),
}

/// A volume of a thin pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ThinVolume {
    /// device-mapper's name: "vg0-web".
    pub name: String,
    /// What its pool maps for it, blocks that it shares with a snapshot included.
    pub mapped_bytes: u64,
    /// Its pool.
    pub pool: ThinPool,
    /// Volumes that may share blocks with it: snapshots of it, what it is a snapshot of, and theirs. `None` where LVM
    /// could not be asked.
    pub relatives: Option<Vec<String>>,
}

/// A thin pool (Documentation/admin-guide/device-mapper/thin-provisioning.rst of Linux).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ThinPool {
    /// Its device: "253:4".
    pub id: String,
    /// device-mapper's name: "vg0-pool-tpool".
    pub name: String,
    /// The smallest piece that it maps or frees.
    pub chunk_bytes: u64,
    /// Its data.
    pub data: Fill,
    /// What it keeps about its data. Full metadata makes a pool fail for all of its volumes.
    pub metadata: Fill,
    /// What it does with a discard.
    pub discards: PoolDiscards,
    /// It takes no writes any more: read-only, out of data space, or in need of a check.
    pub trouble: Option<String>,
}

/// How full something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    /// All of it.
    pub size_bytes: u64,
    /// What is taken.
    pub used_bytes: u64,
}

impl Fill {
    /// How much of 100 is taken, rounded down.
    pub fn percent(self) -> u64 {
        self.used_bytes.saturating_mul(100).checked_div(self.size_bytes).unwrap_or(0)
    }

    /// What is left.
    pub fn free_bytes(self) -> u64 {
        self.size_bytes.saturating_sub(self.used_bytes)
    }
}

/// What a thin pool does with a discard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolDiscards {
    /// Frees the chunks, and tells the storage below.
    PassedDown,
    /// Frees the chunks.
    Freed,
    /// Nothing.
    Ignored,
}
