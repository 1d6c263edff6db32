//! SQLite against the suite.

use tempfile::TempDir;

use super::*;
use crate::campaign::store::conformance::{Rig, TestClock, conformance};

struct SqliteRig {
    store: SqliteStore,
    _folder: TempDir,
}

impl Rig for SqliteRig {
    type Store = SqliteStore;

    async fn new(clock: TestClock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib/trimtab.db");
        let store = SqliteStore::with_clock(&path, Arc::new(move || clock.micros())).await.unwrap();
        Self { store, _folder: folder }
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }
}

conformance!(SqliteRig);
