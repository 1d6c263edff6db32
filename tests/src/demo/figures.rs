//! The figures of the demo beside those of the walk by hand that trimtab automates.

use anyhow::Result;

use super::show::line;
use crate::{GIB, MIB};

/// What happened to one filesystem and its image.
#[derive(Debug)]
pub(super) struct Figures {
    /// The filesystem and the format.
    pub(super) name: String,
    /// Deleted in the guest.
    pub(super) deleted_bytes: u64,
    /// Discarded by the guest's disk in the trim.
    pub(super) trimmed_bytes: u64,
    /// The image's allocation before the trim.
    pub(super) before_bytes: u64,
    /// And after it.
    pub(super) after_bytes: u64,
}

impl Figures {
    /// Whether the image shrank by what was deleted, give or take what a filesystem keeps for itself.
    pub(super) fn came_back(&self) -> bool {
        self.freed_bytes() >= self.deleted_bytes.saturating_mul(95).saturating_div(100)
    }

    fn freed_bytes(&self) -> u64 {
        self.before_bytes.saturating_sub(self.after_bytes)
    }
}

/// Prints ours beside the seed's.
pub(super) fn table(figures: &[Figures]) -> Result<()> {
    line("")?;
    row(["", "deleted", "trimmed", "image before", "after", "came back"].map(str::to_owned))?;
    row(["by hand, ext4 on raw", "1.2 GB", "1.3 GiB", "2.1 GB", "1.1 GB", "1.0 GB"].map(str::to_owned))?;
    for each in figures {
        row([
            each.name.clone(),
            size(each.deleted_bytes),
            size(each.trimmed_bytes),
            size(each.before_bytes),
            size(each.after_bytes),
            size(each.freed_bytes()),
        ])?;
    }
    line("   trimmed is what the guest offered, holes included; came back is what the host really gained")
}

fn row([name, deleted, trimmed, before, after, back]: [String; 6]) -> Result<()> {
    line(&format!("   {name:<22}{deleted:>10}{trimmed:>10}{before:>14}{after:>10}{back:>11}"))
}

/// Bytes as whole MiB, or as GiB with a tenth.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 2 * GIB {
        return format!("{} MiB", bytes.saturating_add(MIB / 2) / MIB);
    }
    let tenths = bytes.saturating_mul(10).saturating_add(GIB / 2) / GIB;
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}
