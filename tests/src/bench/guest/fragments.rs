//! In the guest: makes free space in many pieces of one size, with a piece of the same size in use between two of them.
//!
//! Two files get their space by turns, and one of them goes. Holes punched into one file would not do: Btrfs gives an
//! extent back only when nothing of it is in use.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::sync;

/// Makes `count` free pieces of `piece_bytes` on the filesystem at `directory`, where there is none yet.
///
/// # Errors
/// It has no room for twice as much.
pub(super) fn make(directory: &Path, count: u64, piece_bytes: u64) -> Result<()> {
    let goes = directory.join("goes");
    let files = [File::create(directory.join("stays"))?, File::create(&goes)?];
    for n in 0..count {
        let at = n.saturating_mul(piece_bytes).try_into()?;
        for file in &files {
            fallocate(file, FallocateFlags::empty(), at, piece_bytes.try_into()?)
                .context("no room for so many pieces")?;
        }
    }
    sync();
    drop(files);
    fs::remove_file(goes)?;
    sync();
    Ok(())
}
