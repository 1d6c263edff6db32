//! Exit codes, as docs/usage/exit-codes.md promises them. Pure.

use crate::trim::outcome::Weight;

/// All good.
pub const OK: u8 = 0;
/// A defect, or something that no other code names.
pub const INTERNAL: u8 = 1;
/// The command line, configuration or inventory.
pub const USAGE: u8 = 2;
/// All of the disks ended otherwise (as fstrim's own).
pub const ALL: u8 = 32;
/// Some of them did.
pub const SOME: u8 = 64;
/// Nothing could start now, for reasons that pass by themselves (EX_TEMPFAIL).
pub const NOT_NOW: u8 = 75;
/// A person stopped it.
pub const INTERRUPTED: u8 = 130;

/// The code for what the disks came to; a VM that gave no answer counts as one disk.
pub fn code(weights: &[Weight]) -> u8 {
    let good = weights.contains(&Weight::Good);
    let bad = weights.contains(&Weight::Bad);
    let not_now = weights.contains(&Weight::NotNow);
    match (good, bad, not_now) {
        (_, false, false) => OK,
        (false, false, true) => NOT_NOW,
        (true, _, _) => SOME,
        (false, true, _) => ALL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        use Weight::{Bad, Good, NotNow};
        let cases: [(&[Weight], u8); 8] = [
            (&[], OK),
            (&[Good, Good], OK),
            (&[Good, Bad], SOME),
            (&[Good, NotNow], SOME),
            (&[Bad, Bad], ALL),
            (&[Bad, NotNow], ALL),
            (&[NotNow, NotNow], NOT_NOW),
            (&[Good, Bad, NotNow], SOME),
        ];
        for (weights, expected) in cases {
            assert_eq!(code(weights), expected, "{weights:?}");
        }
    }
}
