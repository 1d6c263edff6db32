//! The pace of one filesystem's turn: asks the clock, the disk's counters and the kernel's pressure, and lets the pure half
//! ([`crate::pace`]) decide. At `full` it asks nothing and waits for nothing.
//!
//! ```text
//! a call ── done: the disk is looked at until it has done the call's discards ── the rest is the caller's to wait
//! ```

use std::{
    sync::{Arc, Once},
    time::{Duration, Instant},
};

use tokio::time;

use super::turn::{House, Job};
use crate::{
    model::DevNum,
    pace::{Limits, Pacer, Pressure, Seen, Strain},
    sys::{
        counters::{self, DiskCounters},
        pressure,
    },
};

/// Between two looks at a disk that still discards.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A disk whose users always have something in flight has done the discards when it has done none for so long, or for
/// twice what one took so far.
const STILL: Duration = Duration::from_millis(10);

/// Waited for no longer; the rest that follows is as long as it may be anyway.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Rhythm {
    house: Arc<House>,
    pacer: Option<Pacer>,
    strain: Strain,
    /// Whose counters show what a range does.
    device: Option<DevNum>,
    /// The call returns before its discards are done (XFS from 6.6).
    returns_early: bool,
    /// As they stood after the last call.
    counters: DiskCounters,
}

impl Rhythm {
    /// `total`: what the ranges cover; `None` where one call does it all, at any pace.
    pub(super) fn new(house: &Arc<House>, job: &Job, total: Option<u64>) -> Self {
        let limits = total.and_then(|total| Limits::of(job.pace, total, job.least_extent));
        let first = limits.and_then(|_| pressure_of(house));
        let mut rhythm = Self {
            house: house.clone(),
            pacer: limits.map(Pacer::new),
            strain: Strain::new(first, Instant::now()),
            device: job.device,
            returns_early: job.fs_type == "xfs",
            counters: DiskCounters::default(),
        };
        if rhythm.pacer.is_some() {
            rhythm.counters = rhythm.read();
        }
        rhythm
    }

    /// How much the next range should cover; `None`: as much as one call does well.
    pub(super) fn step(&self) -> Option<u64> {
        self.pacer.map(|pacer| pacer.step())
    }

    /// A call of this time has returned. Waits until the disk has done its discards; returns how long to leave it alone
    /// then.
    pub(super) async fn done(&mut self, began: Instant, bytes: u64) -> Duration {
        let Some(mut pacer) = self.pacer else { return Duration::ZERO };
        self.strain.own(began.elapsed());
        let (busy, after) = self.drained(began).await;
        let now = Instant::now();
        if self.strain.is_due(now) {
            self.strain.look(pressure::read(&self.house.roots).ok(), now);
        }
        let discard = mean_discard(&self.counters, &after);
        self.counters = after;
        let rest = pacer.seen(&Seen { bytes, busy, discard, strain: self.strain.level() });
        self.pacer = Some(pacer);
        rest
    }

    /// How long the disk was at it, and what it counts then.
    async fn drained(&self, began: Instant) -> (Duration, DiskCounters) {
        let returned = Instant::now();
        let mut last = self.read();
        let mut moved = returned;
        while self.returns_early && last.in_flight.is_some_and(|requests| requests > 0) {
            let still = mean_discard(&self.counters, &last).unwrap_or_default().saturating_mul(2).max(STILL);
            let now = Instant::now();
            if now.saturating_duration_since(moved) >= still
                || now.saturating_duration_since(returned) >= DRAIN_LIMIT
            {
                break;
            }
            time::sleep(LOOK_EVERY).await;
            let found = self.read();
            if found.discards != last.discards
                || found.in_flight == Some(0) && last.discards != self.counters.discards
            {
                moved = Instant::now();
            }
            last = found;
        }
        (moved.saturating_duration_since(began), last)
    }

    /// A device that has gone counts nothing; then the clock alone is left.
    fn read(&self) -> DiskCounters {
        self.device.and_then(|id| counters::read(&self.house.roots, id).ok()).unwrap_or_default()
    }
}

/// What one discard took, between the two.
fn mean_discard(before: &DiskCounters, after: &DiskCounters) -> Option<Duration> {
    let done = after.discards?.checked_sub(before.discards?)?;
    let millis = after.discard_ms?.checked_sub(before.discard_ms?)?;
    Some(Duration::from_millis(millis.checked_div(done)?))
}

/// The kernel's I/O pressure. That there is none is said once.
fn pressure_of(house: &House) -> Option<Pressure> {
    static SAID: Once = Once::new();
    match pressure::read(&house.roots) {
        Ok(pressure) => Some(pressure),
        Err(error) => {
            SAID.call_once(|| {
                tracing::info!("{error}: the pace goes by the disk's own times alone");
            });
            None
        }
    }
}
