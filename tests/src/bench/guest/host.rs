//! Whether the host had other work meanwhile: in software emulation a guest's times are the host's.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench::cpu;
use crate::guest::Guest;

/// Processor time of the host until now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    at: Instant,
    all: Duration,
    qemu: Duration,
}

impl Host {
    /// With that of the guest's QEMU.
    pub(super) fn now(guest: &Guest) -> Result<Self> {
        let file = format!("/proc/{}/stat", guest.qemu_pid()?);
        let stat = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        Ok(Self { at: Instant::now(), all: cpu::Whole::now()?.busy(), qemu: cpu::of_process(&stat)? })
    }

    /// How many processors something else than QEMU has kept busy since then, `trimtab` and the vsock device among it, which
    /// take little.
    pub(super) fn others_since(&self, earlier: &Self) -> f64 {
        let qemu = self.qemu.saturating_sub(earlier.qemu);
        let others = self.all.saturating_sub(earlier.all).saturating_sub(qemu);
        let wall = self.at.saturating_duration_since(earlier.at).as_secs_f64();
        if wall > 0.0 { others.as_secs_f64() / wall } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_qemu() {
        let at = Instant::now();
        let then = Host { at, all: Duration::from_secs(100), qemu: Duration::from_secs(10) };
        let after = |all: u64, qemu: u64| Host {
            at: at + Duration::from_secs(10),
            all: Duration::from_secs(100_u64.saturating_add(all)),
            qemu: Duration::from_secs(10_u64.saturating_add(qemu)),
        };
        for (all, qemu, others) in [(20_u64, 15, 0.5), (10, 10, 0.0), (9, 10, 0.0)] {
            let found = after(all, qemu).others_since(&then);
            assert!((found - others).abs() < 1e-9, "{all} of which QEMU {qemu}: {found}");
        }
        assert!(then.others_since(&then).abs() < 1e-9, "no time passed");
    }
}
