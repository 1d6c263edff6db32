//! Enough work, so that what is measured is not noise, and no more.

use anyhow::Result;

use super::contender::{Contender, Contenders};
use super::ground::Ground;
use super::say;
use super::watched::watched;
use crate::guest::Guest;

/// fstrim has at least this much work.
const LEAST_WORK_MS: f64 = 10_000.0;

/// Aimed at beyond that, since a run differs from the next.
const ENOUGH_WORK_MS: f64 = 12_000.0;

/// Makes it anew with more pieces until fstrim has enough work, or the disk no room.
pub(super) fn grow(guest: &Guest, contenders: &mut Contenders<'_>, ground: &mut Ground<'_>) -> Result<()> {
    loop {
        ground.renew()?;
        let mount = ground.mount.clone();
        let (seen, _) = watched(guest, &[&*ground], true, || contenders.trim(Contender::Fstrim, &[&mount]))?;
        say(&format!("fstrim makes {} discards in {:.1} s", seen.discards, seen.wall_ms / 1000.0))?;
        let pieces = enough(ground.pieces, seen.wall_ms).min(ground.most_pieces());
        if pieces <= ground.pieces {
            return Ok(());
        }
        ground.make_again(pieces)?;
    }
}

/// How many pieces are enough work, where `pieces` took so long; at most four times as many.
fn enough(pieces: u64, wall_ms: f64) -> u64 {
    if wall_ms >= LEAST_WORK_MS {
        return pieces;
    }
    let fits = |tenths: &u32| wall_ms * f64::from(*tenths) / 10.0 >= ENOUGH_WORK_MS;
    let tenths = (11..40_u32).find(fits).unwrap_or(40);
    pieces.saturating_mul(tenths.into()).div_ceil(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_work() {
        for (name, wall_ms, expected) in [
            ("enough", 10_000.0, 5000),
            ("nearly", 9_999.0, 6500),
            ("half of what is aimed at", 6_000.0, 10_000),
            ("next to nothing", 1.0, 20_000),
        ] {
            assert_eq!(enough(5000, wall_ms), expected, "{name}");
        }
    }
}
