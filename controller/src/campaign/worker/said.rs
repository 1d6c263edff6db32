//! What a worker says while it works: to a journal, or to a test that checks it from outside.

use crate::{
    campaign::run::{Claimed, RunResult, VmKey, Wait},
    model::trouble::Trouble,
    trim::outcome::TurnOutcome,
};

/// One thing that happened.
#[derive(Debug)]
pub enum Said<'a> {
    /// Runs of a worker that is gone wait again.
    Recovered(u32),
    /// A run begins.
    Begins(&'a Claimed),
    /// A turn is over.
    Turned(&'a VmKey, &'a Result<TurnOutcome, Trouble>),
    /// A run is over.
    Ended(&'a Claimed, &'a RunResult),
    /// A run goes back to wait.
    PutBack(&'a Claimed, Wait, &'a str),
    /// Another worker has the run now, or it is over: what this one found is in the history alone.
    Dropped(&'a Claimed),
    /// Nothing is admitted now, and why.
    Held(&'a str),
    /// Admission goes on.
    Free,
    /// So many trims are cancelled: their leases run out while the store does not answer.
    GivenUp(usize),
    /// The store has forgotten what it had taken: so many results are told again.
    ToldAgain(usize),
    /// What the host has is not taken by the store, which answers otherwise; said once.
    Unpublished(&'a Trouble),
    /// It is again.
    Published,
    /// The store does not answer; said once.
    StoreTrouble(&'a Trouble),
    /// It does again.
    StoreBack,
}

/// Who is told.
pub trait Listener: Send + Sync {
    /// Called for each; must not block.
    fn say(&self, said: Said<'_>);
    /// Called with each answer of the store's: it is there.
    fn answered(&self) {}
}

impl<F: Fn(Said<'_>) + Send + Sync> Listener for F {
    fn say(&self, said: Said<'_>) {
        self(said);
    }
}
