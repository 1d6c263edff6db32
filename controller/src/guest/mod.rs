//! The agent in a guest: the port `Guest` over vsock and hybrid vsock. What answers may be hostile; every number,
//! text, count and wait has a bound, listed in docs/development/hostile-guests.md.
//!
//! ```text
//! dial (mux, or the kernel's vsock) ──> line (bytes, first frame) ──> HTTP/2 ──> headers, codec (sizes before
//! decoding) ──> check (every field) ──> contract (the order of events, what moves) ──> the turn
//! ```

pub mod check;
mod client;
mod codec;
mod contract;
mod dial;
mod domain;
mod headers;
mod limits;
mod line;
mod mux;
mod order;
mod probe;
mod qga;
mod status;
mod stream;
pub mod text;
mod token;
mod vsock;
mod way;

pub use client::AgentClient;
pub use limits::{Budget, Limits};
pub use probe::ProbeEvents;
pub use qga::Qga;
pub use stream::TrimStream;
pub use way::GuestWay;
