//! Campaigns: every VM of a host, or of a fleet, trimmed under limits, and every byte accounted for.
//!
//! ```text
//! plan ──> a file that a person reads ──apply──> store <──claim, heartbeat, finish── worker ──> trim::turn
//!
//! campaign:  active ⇄ paused          a person
//!            active ──> stopped       a budget is used up, storage was harmed, a layer cuts everywhere
//!            stopped ──> active       a person, who has looked
//!            any of them ──> aborting ──> aborted   "aborted" only when nothing runs any more
//!            active ──> done          every run has ended
//!
//! run:       waiting ──claim──> running ──finish──> done
//!               ^──── later: a guard, a retry, a window's end ────┘
//! ```
//!
//! `limits`, `run` and `account` are nouns; `store` keeps them and counts; what decides is pure and in a file of its own
//! each. `worker` carries runs out. Nothing here speaks to a guest but through `trim`.

pub mod account;
pub mod budget;
pub mod classify;
pub mod gate;
mod handed;
pub mod hosts;
pub mod limits;
pub mod metrics;
pub mod order;
pub mod plan;
pub mod ramp;
pub mod retry;
pub mod run;
pub mod seen;
pub mod span;
pub mod store;
pub mod window;
pub mod worker;
