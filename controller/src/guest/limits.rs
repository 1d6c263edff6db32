//! How long a guest may take and how much it may say. The defaults are the promises of the documentation; tests take
//! shorter ones.

use std::time::Duration;

use trimtab_proto::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_MESSAGE_BYTES};

/// An allowance that grows with time: `burst + per_sec × seconds since the connection was made`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// At once.
    pub burst: u64,
    /// For each second since.
    pub per_sec: u64,
}

impl Budget {
    /// What may have been used after `elapsed`.
    pub fn after(self, elapsed: Duration) -> u64 {
        self.burst.saturating_add(self.per_sec.saturating_mul(elapsed.as_secs()))
    }
}

/// The bounds on one guest. See docs/development/hostile-guests.md for what each one is against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// From the first attempt until the agent's end of the connection is there, handshake and retries included: 3 s.
    pub connect: Duration,
    /// How long "nothing listens in the guest" is asked again, within `connect`: 1 s. A guest that boots needs it.
    pub no_listener_retry: Duration,
    /// One question and its answer, once connected: 10 s.
    pub call: Duration,
    /// From the order until a run's first event, once connected: 10 s.
    pub first_event: Duration,
    /// In a run, without an event in which any state or counter moved: 60 s. Does not run while the run is paused.
    pub stall: Duration,
    /// A run's stream ends this long after the order's own deadline, whatever the guest sends: 60 s, in which an
    /// honest agent kills its workers, waits for the kernel to let go of them and reads the last counters.
    pub end_margin: Duration,
    /// A probe's stream ends this long after the order's own deadline: 5 s. There is nothing that it would wait for.
    pub probe_margin: Duration,
    /// Bytes from the guest for one question, HTTP/2 and all: two of the largest messages.
    pub call_bytes: Budget,
    /// Bytes from the guest in a run's stream: 8 MiB and 64 KiB a second. An agent that sends two progress events a
    /// second for a hundred disks needs a tenth of it.
    pub stream_bytes: Budget,
    /// Events of a run's stream: 4096 (each filesystem begins and ends at once) and 20 a second.
    pub stream_events: Budget,
    /// HTTP/2 keepalive: silence before a ping: 10 s.
    pub keepalive_interval: Duration,
    /// HTTP/2 keepalive: a ping's answer: 20 s.
    pub keepalive_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let largest_message = u64::try_from(MAX_MESSAGE_BYTES).unwrap_or(u64::MAX);
        Self {
            connect: Duration::from_secs(3),
            no_listener_retry: Duration::from_secs(1),
            call: Duration::from_secs(10),
            first_event: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            end_margin: Duration::from_secs(60),
            probe_margin: Duration::from_secs(5),
            call_bytes: Budget { burst: largest_message.saturating_mul(2), per_sec: 0 },
            stream_bytes: Budget { burst: largest_message.saturating_mul(8), per_sec: 64 * 1024 },
            stream_events: Budget { burst: 4096, per_sec: 20 },
            keepalive_interval: KEEPALIVE_INTERVAL,
            keepalive_timeout: KEEPALIVE_TIMEOUT,
        }
    }
}
