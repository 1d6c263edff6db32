//! For how long a worker may act on what its store last said.
//!
//! The store takes a run back when its worker was not heard for a lease, by the database's clock. The worker measures the same
//! span by its own, from *before* it asked: so its span ends first, whatever the way there takes. That clock goes on while
//! the machine is suspended (CLOCK_BOOTTIME, clock_gettime(2)), and nobody sets it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A time of this machine's, since it was booted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Moment(Duration);

impl Moment {
    pub(super) fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let secs = u64::try_from(now.tv_sec).unwrap_or_default();
        Self(Duration::new(secs, u32::try_from(now.tv_nsec).unwrap_or_default()))
    }

    pub(super) fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

/// What follows from the store's lease. Without one nobody else takes a run, and nothing ends by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lease(Option<Duration>);

impl Lease {
    pub(super) fn new(lease: Option<Duration>) -> Self {
        Self(lease)
    }

    /// All of it; `None`: nobody else takes a run.
    pub(super) fn whole(self) -> Option<Duration> {
        self.0
    }

    /// Between two heartbeats: a quarter, so that one may be lost.
    pub(super) fn heartbeat(self, without: Duration) -> Duration {
        self.part(1, 4).unwrap_or(without)
    }

    /// Whether what was renewed then has been so for so long ago that its trim is to end.
    pub(super) fn is_running_out(self, renewed: Moment) -> bool {
        self.part(2, 3).is_some_and(|most| renewed.elapsed() >= most)
    }

    /// Whether the store may have given it to another worker.
    pub(super) fn is_over(self, renewed: Moment) -> bool {
        self.0.is_some_and(|lease| renewed.elapsed() >= lease)
    }

    /// Between two looks at what runs out; `None`: nothing does.
    pub(super) fn look(self) -> Option<Duration> {
        self.part(1, 20).map(|part| part.clamp(Duration::from_millis(50), Duration::from_secs(1)))
    }

    fn part(self, of: u32, parts: u32) -> Option<Duration> {
        self.0?.checked_mul(of)?.checked_div(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ago(secs: u64) -> Moment {
        Moment(Moment::now().0.saturating_sub(Duration::from_secs(secs)))
    }

    #[test]
    fn trims_end_before_the_store_takes_them_back() {
        let lease = Lease::new(Some(Duration::from_secs(1)));
        assert_eq!(lease.heartbeat(Duration::from_secs(15)), Duration::from_millis(250));
        assert!(!lease.is_running_out(Moment::now()) && !lease.is_over(Moment::now()));
        assert!(lease.is_running_out(ago(1)) && lease.is_over(ago(1)));
        let long = Lease::new(Some(Duration::from_secs(3600)));
        let most = Moment::now().0.min(Duration::from_secs(1));
        assert!(!long.is_running_out(Moment(Moment::now().0.saturating_sub(most))));
    }

    #[test]
    fn without_a_lease_nothing_ends() {
        let none = Lease::new(None);
        assert_eq!(none.heartbeat(Duration::from_secs(15)), Duration::from_secs(15));
        assert!(!none.is_running_out(Moment(Duration::ZERO)) && !none.is_over(Moment(Duration::ZERO)));
        assert_eq!(none.look(), None);
    }
}
