//! Two disks: side by side against one after the other, with nobody writing beside.

use anyhow::Result;

use super::contender::{Contender, Contenders};
use super::ground::Ground;
use super::run::Pair;
use super::watched::watched;
use crate::guest::Guest;

/// In what order they are trimmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// By `fstrim`, which goes from one to the next.
    Fstrim,
    /// By two `trimtab trim`, for one disk each.
    OneByOne,
    /// By one `trimtab trim`.
    SideBySide,
}

impl Way {
    pub(super) const ALL: [Self; 3] = [Self::Fstrim, Self::OneByOne, Self::SideBySide];

    /// Its name in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fstrim => "fstrim -a",
            Self::OneByOne => "trimtab, one after the other",
            Self::SideBySide => "trimtab, side by side",
        }
    }
}

/// Both trimmed in this way, at `full`.
pub(super) fn once(
    guest: &Guest,
    contenders: &mut Contenders<'_>,
    grounds: [&Ground<'_>; 2],
    filesystem: &str,
    way: Way,
) -> Result<Pair> {
    let full =
        grounds.iter().try_fold(0_u64, |sum, ground| anyhow::Ok(sum.saturating_add(ground.renew()?)))?;
    let tool = if way == Way::Fstrim { Contender::Fstrim } else { Contender::Trimtab("full") };
    let turns = if way == Way::OneByOne {
        grounds.map(|ground| vec![ground]).to_vec()
    } else {
        vec![grounds.to_vec()]
    };
    let mut wall_ms = 0.0;
    for turn in turns {
        let mounts: Vec<&str> = turn.iter().map(|ground| ground.mount.as_str()).collect();
        let (seen, _) = watched(guest, &turn, false, || contenders.trim(tool, &mounts))?;
        wall_ms += seen.wall_ms;
    }
    let left =
        grounds.iter().try_fold(0_u64, |sum, ground| anyhow::Ok(sum.saturating_add(ground.allocated()?)))?;
    Ok(Pair {
        filesystem: filesystem.to_owned(),
        way: way.name().to_owned(),
        wall_ms,
        freed_bytes: full.saturating_sub(left),
    })
}
