//! Processor time by the kernel that this runs on: of one process and the children that it waited for, and of the whole.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// The kernel shows times to user space in ticks of this many a second, on every architecture that the rig knows
/// (include/asm-generic/param.h, USER_HZ).
const TICKS_PER_SECOND: u64 = 100;

/// What a process and the children that it waited for took, by /proc/PID/stat.
pub(super) fn of_process(stat: &str) -> Result<Duration> {
    // Only the name, in brackets, can hold anything. proc(5) counts from 1; the state, 3, comes after the name.
    let (_, rest) = stat.rsplit_once(") ").context("not a process's stat")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let times = fields.get(11..15).context("a process's stat that is cut")?;
    let ticks = times.iter().try_fold(0_u64, |sum, ticks| anyhow::Ok(sum.saturating_add(ticks.parse()?)))?;
    Ok(from_ticks(ticks))
}

fn from_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000).div_euclid(TICKS_PER_SECOND))
}

/// Of all processors since the boot, in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Whole {
    busy: u64,
    idle: u64,
}

impl Whole {
    /// What it is now, in this kernel.
    pub(super) fn now() -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?)
    }

    fn parse(stat: &str) -> Result<Self> {
        let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
        let words = line.context("/proc/stat begins otherwise")?.split_ascii_whitespace();
        let ticks = words.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        // user nice system idle iowait irq softirq steal; guest time is in user's already.
        let sum = |fields: &[usize]| {
            fields
                .iter()
                .filter_map(|at| ticks.get(*at))
                .fold(0, |sum: u64, ticks| sum.saturating_add(*ticks))
        };
        Ok(Self { busy: sum(&[0, 1, 2, 5, 6, 7]), idle: sum(&[3, 4]) })
    }

    /// How long they were busy since the boot, all together.
    pub(super) fn busy(&self) -> Duration {
        from_ticks(self.busy)
    }

    /// How busy they were since then, 1 for all of them.
    pub(super) fn busy_since(&self, earlier: &Self) -> f64 {
        let since =
            |now: u64, then: u64| f64::from(u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX));
        let busy = since(self.busy, earlier.busy);
        let all = busy + since(self.idle, earlier.idle);
        if all > 0.0 { busy / all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process() {
        let stat = "871 (a) name (b) S 1 871 871 0 -1 4194560 1243 9 0 0 12 34 5 6 30 10 1 0 77 0 0\n";
        assert_eq!(of_process(stat).unwrap(), Duration::from_millis(570));
        for bad in ["", "871 (cut) S 1 2", "no brackets at all"] {
            assert!(of_process(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_whole() {
        let then = Whole::parse("cpu  100 5 50 1000 20 3 2 0 0 0\ncpu0 1 1 1 1\n").unwrap();
        assert_eq!(then, Whole { busy: 160, idle: 1020 });
        assert_eq!(then.busy(), Duration::from_millis(1600));
        let now = Whole { busy: 235, idle: 1045 };
        assert!((now.busy_since(&then) - 0.75).abs() < 1e-9);
        assert!(then.busy_since(&then).abs() < 1e-9, "no time passed");
        assert!(Whole::parse("intr 1 2 3").is_err());
    }
}
