//! `trimtab.v1`: the contract between the agent in a guest and the controller on its host.
//!
//! What both programs share and nothing else: the messages, generated from `proto/trimtab/v1/agent.proto` and checked
//! in; [`words`], the closed lists that both JSONs have too; and [`token`], how a call proves who makes it. Generated messages go no further
//! than `agent/wire.rs` and `controller/guest/`.

pub mod token;
pub mod words;

/// The generated messages. `make proto` writes them, `tests/generated.rs` compares them.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, unreachable_pub)]
pub mod v1 {
    include!("gen/trimtab.v1.rs");
}

/// The vsock port that an agent listens on. Below 1024, so that no unprivileged process of the guest can squat on
/// it.
pub const DEFAULT_PORT: u32 = 874;

/// No message may be larger, in bytes, in either direction.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Skipped filesystems that a survey lists; the rest is counted.
pub const MAX_LISTED_SKIPS: usize = 256;

/// The longest `TrimRequest.linger_secs`.
pub const MAX_LINGER_SECS: u32 = 10;

/// Sentences of `SurveyReply.missing`.
pub const MAX_MISSING: usize = 64;

/// `ProbeRequest.bytes` is a multiple of this, and at least this.
pub const PROBE_STEP_BYTES: u64 = 1024 * 1024;

/// The largest `ProbeRequest.bytes`.
pub const MAX_PROBE_BYTES: u64 = 64 * 1024 * 1024;

/// The longest `ProbeRequest.pause_ms`.
pub const MAX_PROBE_PAUSE_MS: u32 = 10_000;

/// The longest `ProbeRequest.deadline_secs`.
pub const MAX_PROBE_DEADLINE_SECS: u32 = 120;

/// The HTTP/2 keepalive of both sides: a ping is sent after this long without a sign of life.
pub const KEEPALIVE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(10);

/// The HTTP/2 keepalive of both sides: a connection is dead when a ping is not answered for this long.
pub const KEEPALIVE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// The `domain` of every `google.rpc.ErrorInfo` that an agent sends.
pub const ERROR_DOMAIN: &str = "trimtab";

/// The `ErrorInfo` metadata key under which BUSY says since when the agent is busy, in seconds since 1970.
pub const BUSY_SINCE: &str = "since_unix_secs";
