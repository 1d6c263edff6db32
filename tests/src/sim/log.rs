//! When each trim began and ended, as its guest saw it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// One trim in a guest.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whose.
    pub vm: String,
    /// Where its images lie.
    pub datastores: Vec<String>,
    /// When the guest began.
    pub began: Instant,
    /// When it was over.
    pub ended: Instant,
    /// It was the first ever of that VM.
    pub is_first: bool,
}

/// All trims that are over.
#[derive(Debug, Default)]
pub struct Log(Mutex<Vec<Entry>>);

impl Log {
    /// Notes one.
    pub fn note(&self, entry: Entry) {
        self.lock().push(entry);
    }

    /// All so far, by their begin.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = self.lock().clone();
        entries.sort_by_key(|entry| entry.began);
        entries
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
