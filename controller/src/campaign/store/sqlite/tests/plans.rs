//! How SQLite carries a claim out: by its indexes, whatever the number of runs.

use super::*;

/// What SQLite says that it would do.
macro_rules! explain {
    ($db:expr, $sql:expr) => {{
        let sql = format!("EXPLAIN QUERY PLAN {}", $sql);
        let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *$db).await.unwrap();
        let detail = |row| sqlx::Row::get::<String, _>(row, "detail").replace("COVERING ", "");
        rows.iter().map(detail).collect::<Vec<_>>()
    }};
}

#[tokio::test]
async fn a_claim_walks_its_index() {
    let rig = SqliteRig::new(TestClock::new()).await;
    let mut reader = rig.store.reader.lock().await;
    let db = reader.as_mut().unwrap().connection().await.unwrap();
    for (name, plan, expected) in [
        (
            "the lanes",
            explain!(db, claim::LANES),
            "SEARCH run USING INDEX run_waiting (campaign=? AND host=? AND lane>?)",
        ),
        (
            "the head of one",
            explain!(db, claim::HEAD),
            "SEARCH run USING INDEX run_waiting (campaign=? AND host=? AND lane=?)",
        ),
        (
            "what failed",
            explain!(db, look::FAILED),
            "SEARCH run USING INDEX run_ended (campaign=? AND class=? AND end_event>?)",
        ),
        ("what is open", explain!(db, close::OPEN), "SCAN run USING INDEX run_running"),
        (
            "the ramp",
            explain!(db, look::BEGUN),
            "SEARCH run USING INDEX run_admitted (campaign=? AND state=?)",
        ),
    ] {
        assert!(plan.iter().any(|step| step == expected), "{name}: {plan:#?}");
        let slow = |step: &&String| {
            step.starts_with("SCAN run") && !step.ends_with("run_running") || step.contains("TEMP")
        };
        assert_eq!(plan.iter().find(slow), None, "{name}: {plan:#?}");
    }
}
