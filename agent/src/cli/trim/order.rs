//! What was typed → what is ordered.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;

use super::Usage;
use crate::{
    model::{DevNum, Survey},
    sys::{
        Roots,
        mounts::{self, Superblock},
    },
    text::shown,
    trim::report::Target,
};

/// The filesystems that the mount points name; empty where none is named.
pub(super) fn targets(
    named: &[PathBuf],
    survey: &Survey,
    roots: &Roots,
    min_extent: u64,
) -> anyhow::Result<Vec<Target>> {
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let superblocks = mounts::read(roots)?;
    let mut targets: Vec<Target> = Vec::new();
    for path in named {
        let full = fs::canonicalize(path).with_context(|| format!("cannot look at {}", shown(path)));
        let full = full.map_err(|error| Usage(format!("{error:#}")))?;
        let filesystem_id = mounted_on(&superblocks, &full).map_err(Usage)?;
        if let Some(skip) =
            survey.filesystems.iter().find(|fs| fs.id == filesystem_id).and_then(|fs| fs.skip.as_ref())
        {
            return Err(Usage(format!("{} is not trimmed: {}", shown(path), skip.text)).into());
        }
        // Two mount points of one filesystem are one target.
        if !targets.iter().any(|t| t.filesystem_id == filesystem_id) {
            targets.push(Target { filesystem_id, min_extent });
        }
    }
    Ok(targets)
}

/// The superblock that is mounted right there.
fn mounted_on(superblocks: &[Superblock], path: &Path) -> Result<DevNum, String> {
    let points = superblocks.iter().flat_map(|sb| sb.points.iter().map(move |point| (sb.id, point)));
    let visible: Vec<_> = points.filter(|(_, point)| !point.covered).collect();
    if let Some((id, _)) = visible.iter().find(|(_, point)| point.path == path) {
        return Ok(*id);
    }
    let above = visible.iter().filter(|(_, point)| path.starts_with(&point.path));
    Err(match above.max_by_key(|(_, point)| point.path.components().count()) {
        Some((_, point)) => {
            format!(
                "{} is not a mount point; its filesystem is mounted on {}",
                shown(path),
                shown(&point.path)
            )
        }
        None => format!("{} is not a mount point", shown(path)),
    })
}

/// A name for this run, from the kernel.
pub(super) fn run_id(roots: &Roots) -> anyhow::Result<String> {
    let path = roots.proc.join("sys/kernel/random/uuid");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// "64K", "1M", "1MiB", "4096": powers of 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is not a size like 64K or 1M");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(bad)?;
    let shift = match unit {
        "" | "B" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(bad()),
    };
    let factor = 1_u64.checked_shl(shift).ok_or_else(bad)?;
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(bad)
}

/// "90", "90s", "10m", "2h".
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration like 90s, 10m or 2h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(bad)?;
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(bad()),
    };
    let secs = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(bad)?;
    if secs == 0 { Err("a trim of no time does nothing".to_owned()) } else { Ok(Duration::from_secs(secs)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("64K", 65_536), ("64k", 65_536), ("1MiB", 1 << 20), ("2G", 2 << 30)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "K", "1.5M", "-1", "1X", "iB", "1iB", "18446744073709551615T", "1 M"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations() {
        for (text, secs) in [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        for bad in ["", "s", "1d", "0", "-1s", "1h30m"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
