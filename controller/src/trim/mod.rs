//! The turn of one VM: look, guard, before, call, settle, after, outcome.

pub mod ports;
