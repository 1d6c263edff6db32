//! Whether a filesystem has room for a probe's file: never on one that is nearly full.

use std::os::fd::AsFd;

use nix::sys::statvfs;
use trimtab_proto::words::FailureKind;

use crate::{text::size, trim::report::Failure};

/// The file may take a tenth of what is free.
const TIMES: u64 = 10;

/// And a filesystem with less than a fiftieth free is left alone.
const SHARE: u64 = 50;

/// What is free for everybody, of how much.
#[derive(Clone, Copy, Debug)]
struct Room {
    free: u64,
    of: u64,
}

/// Refuses a file of `bytes` on the filesystem of `directory` where there is too little room.
///
/// # Errors
/// `NoRoom`, or what statvfs says.
pub(super) fn check(directory: impl AsFd, bytes: u64) -> Result<(), Failure> {
    let stat = statvfs::fstatvfs(directory).map_err(|errno| crate::trim::refused("statvfs", errno))?;
    let unit = stat.fragment_size();
    judge(
        Room { free: stat.blocks_available().saturating_mul(unit), of: stat.blocks().saturating_mul(unit) },
        bytes,
    )
}

fn judge(room: Room, bytes: u64) -> Result<(), Failure> {
    let needed = bytes.saturating_mul(TIMES).max(room.of.checked_div(SHARE).unwrap_or(0));
    if room.free >= needed {
        return Ok(());
    }
    let text = format!(
        "{} are free; the probe's file of {} is written only where {} are",
        size(Some(room.free)),
        size(Some(bytes)),
        size(Some(needed))
    );
    Err(Failure { kind: FailureKind::NoRoom, errno: 0, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_or_not() {
        const MIB: u64 = 1 << 20;
        for (name, free, of, enough) in [
            ("plenty", 9000, 10_000, true),
            ("just ten times", 160, 1000, true),
            ("less", 159, 1000, false),
            ("a fiftieth of a large one", 20_000, 1_000_000, true),
            ("less of a large one", 19_999, 1_000_000, false),
            ("full", 0, 1000, false),
        ] {
            let judged = judge(Room { free: free * MIB, of: of * MIB }, 16 * MIB);
            assert_eq!(judged.is_ok(), enough, "{name}");
            assert!(judged.err().is_none_or(|failure| failure.kind == FailureKind::NoRoom), "{name}");
        }
    }
}
