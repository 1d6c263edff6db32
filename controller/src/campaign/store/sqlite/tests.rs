//! SQLite against the suite.

mod faults;
mod plans;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::campaign::store::conformance::{Rig, TestClock, conformance, model};

struct SqliteRig {
    store: SqliteStore,
    _folder: TempDir,
}

impl Rig for SqliteRig {
    type Store = SqliteStore;

    async fn new(clock: TestClock) -> Self {
        // In memory where there is such a folder: thousands of commits are not to wait for a disk.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let path = folder.path().join("lib/trimtab.db");
        let store = SqliteStore::with_clock(&path, Arc::new(move || clock.micros())).await.unwrap();
        Self { store, _folder: folder }
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }
}

conformance!(SqliteRig);

proptest! {
    #![proptest_config(model::schedules(60, 2000))]

    #[test]
    fn every_schedule_ends_as_the_reference_says(schedule in model::schedule()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clock = TestClock::new();
            let rig = SqliteRig::new(clock.clone()).await;
            model::play(rig.store(), &clock, &schedule).await;
        });
    }
}
