//! How PostgreSQL carries a worker's functions out: by the indexes of runs, whatever their number.

use super::*;
use crate::campaign::{
    run::{Class, Wait},
    store::conformance::{campaign, later, loose, take, turn, worker},
};

/// Where nearly all wait, reading any runs to find one that does looks cheapest, and a server process keeps its plans until most
/// of them are over.
#[tokio::test]
async fn a_worker_reads_runs_by_their_indexes_alone() {
    let url = server::database().await;
    init(&url, FOR_EVER).await.unwrap();
    let mut db = PgConnection::connect(&url).await.unwrap();
    let store = PgStore::open(&url).await.unwrap();
    let id = store.apply(&campaign(500, loose())).await.unwrap();
    store.close().await;
    sqlx::raw_sql("ANALYZE trimtab.run").execute(&mut db).await.unwrap();
    let before = read_without_index(&mut db).await;

    let store = PgStore::open(&url).await.unwrap();
    store.recover(&worker()).await.unwrap();
    // PostgreSQL settles on a plan at the sixth.
    for _ in 0..8 {
        store.active(&worker()).await.unwrap();
        turn(&store, id, Class::Reclaimed).await;
        let claimed = take(&store, id).await;
        store.heartbeat(&worker(), None, &[(claimed.run, claimed.fence, "trimming".into())]).await.unwrap();
        store.later(&claimed, &later(Wait::Retry, 60)).await.unwrap();
    }
    store.close().await;
    assert_eq!(read_without_index(&mut db).await - before, 0);
}

/// Rows of runs that connections which have ended read so. A server process tells at its end.
async fn read_without_index(db: &mut PgConnection) -> i64 {
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut *db).await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let read = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'run'";
    sqlx::query_scalar(read).fetch_one(db).await.unwrap()
}
