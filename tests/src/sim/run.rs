//! A run in a simulated guest: how far it is at a time, and when it is over.

use std::time::Duration;

use tokio::time::Instant;
use trimtab_proto::words::StopReason;

/// A run under way.
#[derive(Clone, Debug)]
pub struct Active {
    /// The caller's id of it.
    pub id: String,
    /// The highest seen.
    pub fence: u64,
    /// When it began.
    pub began: Instant,
    /// How long its whole length takes.
    pub takes: Duration,
    /// What its whole length frees.
    pub garbage_bytes: u64,
    /// What its whole length writes.
    pub growth_bytes: u64,
    /// From when on nobody has listened.
    pub alone_since: Option<Instant>,
    /// How long it goes on alone.
    pub linger: Duration,
    /// It stops here, and never ends by itself.
    pub hangs_at: Option<Duration>,
}

/// A run that is over, as the agent keeps it.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Why.
    pub stop: StopReason,
    /// What was discarded.
    pub sent_bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// A part of a whole, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share(u64);

impl Share {
    /// That part of so many bytes, exact to the byte.
    pub fn of(self, bytes: u64) -> u64 {
        let part = u128::from(bytes) * u128::from(self.0) / 1_000_000;
        u64::try_from(part).unwrap_or(bytes)
    }
}

impl Active {
    /// How much of it is done at a time.
    pub fn share(&self, at: Instant) -> Share {
        let mut spent = at.saturating_duration_since(self.began);
        if let Some(hangs_at) = self.hangs_at {
            spent = spent.min(hangs_at);
        }
        let millionths = spent.as_micros() * 1_000_000 / self.takes.as_micros().max(1);
        Share(u64::try_from(millionths).unwrap_or(u64::MAX).min(1_000_000))
    }

    /// When it is over by itself, if nothing changes.
    pub fn ends_at(&self) -> Option<(Instant, StopReason)> {
        let done = self.hangs_at.is_none().then(|| (self.began + self.takes, StopReason::Done));
        let alone = self.alone_since.map(|since| (since + self.linger, StopReason::CallerGone));
        [done, alone].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// When and why it was over, if it was by now.
    pub fn over_at(&self, now: Instant) -> Option<(Instant, StopReason)> {
        self.ends_at().filter(|(at, _)| *at <= now)
    }
}
