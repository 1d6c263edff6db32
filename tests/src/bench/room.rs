//! Room for the images of a bench.

use anyhow::{Context, Result, ensure};
use nix::sys::statvfs::statvfs;

use crate::{GIB, programs};

/// An image of the whole size must fit, and leave room for the others who use that disk.
pub(super) fn check_room(bytes: u64) -> Result<()> {
    let parent = programs::parent_of_directories();
    let found = statvfs(&parent).with_context(|| format!("cannot look at {}", parent.display()))?;
    let free = found.blocks_available().saturating_mul(found.fragment_size());
    ensure!(
        free >= bytes.saturating_mul(2),
        "{} has {} GiB free, and an image of {} GiB wants twice its size: say --gib N, or set TMPDIR",
        parent.display(),
        free.div_euclid(GIB),
        bytes.div_euclid(GIB)
    );
    Ok(())
}
