//! The screens of `trimtab campaign`: list, status and report. Sums come from the store; here is how they read.

pub mod history;
pub mod list;
pub mod plan;
pub mod report;
pub mod status;
mod words;

pub(crate) use words::{class, some_of};

#[cfg(test)]
pub(crate) mod samples;
