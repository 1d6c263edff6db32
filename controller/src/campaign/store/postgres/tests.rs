//! PostgreSQL against the suite: a real server, a database for each test.

mod held;
mod hostile;
mod leases;
mod plans;
mod publish;
mod reach;
mod revoke;
mod rights;
mod server;
mod words;

use proptest::prelude::*;

use super::*;
use crate::campaign::store::conformance::{Rig, TestClock, conformance, model};

/// In place of the database's own time: what the connection was told.
const TOLD_TIME: &str = "CREATE OR REPLACE FUNCTION trimtab.clock() RETURNS BIGINT LANGUAGE sql VOLATILE AS \
    $$ SELECT current_setting('trimtab.clock')::BIGINT $$";

/// A worker that is not heard any more is taken for gone at once, as SQLite's lock tells it: leases have tests of their own.
const NO_LEASE_OF_HOSTS: &str = "
    CREATE FUNCTION trimtab.gone() RETURNS TRIGGER LANGUAGE plpgsql AS
        $$ BEGIN NEW.lease := 0; RETURN NEW; END $$;
    CREATE TRIGGER gone BEFORE INSERT OR UPDATE ON trimtab.host FOR EACH ROW EXECUTE FUNCTION trimtab.gone()";

/// Longer than any test's clock goes.
const FOR_EVER: Terms = Terms { lease: Duration::from_secs(10 * 365 * 86_400) };

/// A new store under the test's clock, on these terms, and with these changes.
async fn store_with(clock: &TestClock, terms: Terms, changes: &[&'static str]) -> PgStore {
    let url = server::database().await;
    init(&url, terms).await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    for change in [&[TOLD_TIME], changes].concat() {
        sqlx::raw_sql(change).execute(&mut connection).await.unwrap();
    }
    let clock = clock.clone();
    PgStore::with_clock(&url, Some(Arc::new(move || clock.micros()))).await.unwrap()
}

struct PgRig {
    store: PgStore,
}

impl Rig for PgRig {
    type Store = PgStore;

    async fn new(clock: TestClock) -> Self {
        Self { store: store_with(&clock, FOR_EVER, &[NO_LEASE_OF_HOSTS]).await }
    }

    fn store(&self) -> &PgStore {
        &self.store
    }
}

conformance!(PgRig);

proptest! {
    #![proptest_config(model::schedules(12, 200))]

    #[test]
    fn every_schedule_ends_as_the_reference_says(schedule in model::schedule()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clock = TestClock::new();
            let rig = PgRig::new(clock.clone()).await;
            model::play(rig.store(), &clock, &schedule).await;
        });
    }
}
