//! Campaigns over a simulated host: the worker's own code and a real store, under a paused clock; and the real worker
//! process over agents that punch holes into files.

mod aborted;
mod faults;
mod killed;
mod nights;
mod steered;
mod whole;
