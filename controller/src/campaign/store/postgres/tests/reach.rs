//! What a host's role reaches in the database at all: its functions, and by no trick anything else.

use sqlx::{Connection as _, PgConnection};

use super::{
    rights::{both, two_hosts},
    *,
};

/// A connection of host `h`'s, by which SQL of any kind is said.
async fn thief(database: &str) -> PgConnection {
    PgConnection::connect(&server::url(&format!("{database}-h"), database)).await.unwrap()
}

/// The code that a statement is refused with.
async fn code(db: &mut PgConnection, statement: &str) -> Option<String> {
    let told = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(db).await.map(drop);
    told.err().map(|error| error.as_database_error().unwrap().code().unwrap().into_owned())
}

#[tokio::test]
async fn is_its_functions_and_no_table() {
    let (database, operator) = two_hosts().await;
    let db = &mut *operator.ways.take().await.unwrap();
    let role = format!("{database}-h");
    let may: Vec<String> = sqlx::query_scalar(
        "SELECT proname::TEXT FROM pg_proc WHERE pronamespace = 'trimtab'::regnamespace \
         AND has_function_privilege($1, oid, 'EXECUTE') ORDER BY proname",
    )
    .bind(&role)
    .fetch_all(&mut *db)
    .await
    .unwrap();
    let functions = [
        "active",
        "baseline",
        "claim",
        "finish",
        "heartbeat",
        "later",
        "latest",
        "leave",
        "mine",
        "publish",
        "recover",
        "terms",
        "unblock",
        "used_elsewhere",
    ];
    assert_eq!(may, functions);
    // Each of them looks names up in our schema, whatever the caller's path is, and has no other version beside it.
    let loose: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_proc p WHERE pronamespace = 'trimtab'::regnamespace AND proname = ANY ($1) \
         AND (NOT prosecdef OR NOT 'search_path=trimtab, pg_temp' = ANY (proconfig))",
    )
    .bind(functions)
    .fetch_one(&mut *db)
    .await
    .unwrap();
    assert_eq!(loose, 0);
    let reached: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::TEXT FROM pg_class c WHERE c.relnamespace = 'trimtab'::regnamespace AND c.relkind IN ('r', 'v', 'S') \
         AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege($1, c.oid, 'USAGE, SELECT, UPDATE') \
         ELSE has_any_column_privilege($1, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES') \
         OR has_table_privilege($1, c.oid, 'DELETE, TRUNCATE, TRIGGER') END",
    )
    .bind(&role)
    .fetch_all(&mut *db)
    .await
    .unwrap();
    assert!(reached.is_empty(), "{reached:?}");
}

#[tokio::test]
async fn no_statement_leads_further() {
    let (database, operator) = two_hosts().await;
    operator.apply(&both()).await.unwrap();
    let mut thief = thief(&database).await;
    let role = format!("{database}-other");
    for (expected, statement) in [
        ("42501", "SET ROLE trimtab".to_owned()),
        ("42501", format!("SET ROLE \"{role}\"")),
        ("42501", format!("SET SESSION AUTHORIZATION \"{role}\"")),
        ("42501", format!("ALTER ROLE \"{role}\" PASSWORD 'x'")),
        ("42501", format!("GRANT \"{role}\" TO CURRENT_USER")),
        ("42501", "CREATE ROLE another".to_owned()),
        ("42501", "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1".to_owned()),
        ("42501", "COPY trimtab.run TO STDOUT".to_owned()),
        ("42501", "COPY (SELECT 1) TO PROGRAM 'id'".to_owned()),
        ("42501", "COPY (SELECT 1) TO '/tmp/x'".to_owned()),
        ("42501", "SELECT pg_read_file('/etc/passwd')".to_owned()),
        ("42501", "SELECT lo_import('/etc/passwd')".to_owned()),
        ("42501", "BEGIN; LOCK TABLE trimtab.store IN ACCESS SHARE MODE".to_owned()),
        ("42501", "SELECT * FROM trimtab.store FOR UPDATE".to_owned()),
        ("42501", "CREATE TABLE trimtab.evil (a INT)".to_owned()),
        (
            "42501",
            "CREATE TRIGGER evil BEFORE UPDATE ON trimtab.run FOR EACH ROW EXECUTE FUNCTION trimtab.active()"
                .to_owned(),
        ),
        ("42501", "ALTER FUNCTION trimtab.terms() RESET ALL".to_owned()),
        ("42501", "DROP FUNCTION trimtab.terms()".to_owned()),
        (
            "42501",
            "CREATE OR REPLACE FUNCTION trimtab.terms() RETURNS BIGINT LANGUAGE sql AS 'SELECT 1'".to_owned(),
        ),
        ("42501", "ALTER TYPE trimtab.word_class ADD VALUE 'won'".to_owned()),
        ("42501", "ALTER DOMAIN trimtab.figure DROP CONSTRAINT figure_check".to_owned()),
        ("42501", "DROP SCHEMA trimtab CASCADE".to_owned()),
        ("42501", "CREATE SCHEMA evil".to_owned()),
        ("42501", "CREATE CAST (TEXT AS trimtab.word_class) WITH INOUT AS IMPLICIT".to_owned()),
        (
            "42501",
            "CREATE EVENT TRIGGER evil ON ddl_command_start EXECUTE FUNCTION trimtab.active()".to_owned(),
        ),
        ("42501", "SET session_replication_role = replica".to_owned()),
        ("55000", "BEGIN; SELECT trimtab.terms(); PREPARE TRANSACTION 'x'".to_owned()),
        (
            "42501",
            format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'trimtab' AND datname = '{database}'"
            ),
        ),
    ] {
        assert_eq!(code(&mut thief, &statement).await.as_deref(), Some(expected), "{statement}");
        sqlx::raw_sql("ROLLBACK").execute(&mut thief).await.unwrap();
    }
    // What others ask is not shown.
    let seen: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE usename <> current_user AND query <> '<insufficient privilege>'",
    )
    .fetch_one(&mut thief)
    .await
    .unwrap();
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn names_of_its_own_hide_none_of_ours() {
    let (database, operator) = two_hosts().await;
    let id = operator.apply(&both()).await.unwrap();
    // As in a database where nobody has taken that right from everybody.
    let db = &mut *operator.ways.take().await.unwrap();
    sqlx::raw_sql("GRANT CREATE ON SCHEMA public TO PUBLIC").execute(&mut *db).await.unwrap();
    let mut thief = thief(&database).await;
    for statement in [
        "CREATE TEMPORARY TABLE host_role AS SELECT current_user::TEXT AS role, 'other'::TEXT AS host",
        "CREATE TEMPORARY TABLE store AS SELECT 1 AS one, 1 AS version, 1 AS lease",
        "CREATE TEMPORARY TABLE run (id BIGINT)",
        "CREATE TEMPORARY TABLE pg_proc (id BIGINT)",
        "CREATE FUNCTION public.acting(said TEXT) RETURNS TEXT LANGUAGE sql AS 'SELECT said'",
        "CREATE FUNCTION pg_temp.acting(said TEXT) RETURNS TEXT LANGUAGE sql AS 'SELECT said'",
        "CREATE FUNCTION public.locked() RETURNS BIGINT LANGUAGE sql AS 'SELECT 0::BIGINT'",
        "CREATE FUNCTION public.same(a TEXT, b TEXT) RETURNS BOOLEAN LANGUAGE sql AS 'SELECT TRUE'",
        "CREATE OPERATOR public.= (LEFTARG = TEXT, RIGHTARG = TEXT, FUNCTION = public.same)",
        "CREATE DOMAIN public.figure AS TEXT",
        "CREATE DOMAIN pg_temp.run_result AS TEXT",
        "SET search_path = pg_temp, public, trimtab, pg_catalog",
    ] {
        assert_eq!(code(&mut thief, statement).await, None, "{statement}");
    }
    let told = code(&mut thief, "SELECT trimtab.heartbeat('other', 'w', '', '{}', '{}', '{}')").await;
    assert_eq!(told.as_deref(), Some("TT002"));
    let claim = format!("SELECT trimtab.claim({id}, 'h', 'w', 'm')");
    assert_eq!(code(&mut thief, &claim).await, None);
    let finish =
        "SELECT trimtab.finish('h', 1, 1, '{\"class\": \"won\", \"disks\": [], \"duration_ms\": 1}')";
    assert_eq!(code(&mut thief, finish).await.as_deref(), Some("TT006"));
    let status = operator.status(id).await.unwrap();
    assert_eq!((status.running.len(), status.running[0].vm.host.as_str()), (1, "h"));
    // A version that it says is one that it is refused with.
    sqlx::raw_sql("SET trimtab.version = '7'").execute(&mut thief).await.unwrap();
    assert_eq!(code(&mut thief, &claim).await.as_deref(), Some("TT005"));
    // Nor does a lock that everybody may take keep the store from being brought up to date.
    sqlx::raw_sql("SELECT pg_advisory_lock(874001)").execute(&mut thief).await.unwrap();
    init(&server::url("trimtab", &database), None).await.unwrap();
    let said = grant(&server::url("trimtab", &database), "h", &format!("{database}-h"))
        .await
        .unwrap()
        .said
        .join("\n");
    for part in ["REVOKE CREATE ON SCHEMA public FROM PUBLIC", "REVOKE TEMPORARY ON DATABASE"] {
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn connections_are_few() {
    let (database, _operator) = two_hosts().await;
    let url = server::url(&format!("{database}-h"), &database);
    let mut open = Vec::new();
    let refused = loop {
        match PgConnection::connect(&url).await {
            Ok(one) => open.push(one),
            Err(error) => break error.to_string(),
        }
    };
    assert!(refused.contains("too many connections for role"), "{refused}");
    assert_eq!(open.len(), 16);
}

#[tokio::test]
async fn no_role_with_more_rights_stands_for_a_host() {
    let (database, operator) = two_hosts().await;
    let url = server::url("trimtab", &database);
    let db = &mut *operator.ways.take().await.unwrap();
    for (rights, text) in [
        ("CREATEROLE", "may make roles"),
        ("REPLICATION", "replicate"),
        ("IN ROLE pg_write_all_data", "a role with rights over the server"),
        ("IN ROLE trimtab", "an operator of this store"),
        ("SUPERUSER", "is a superuser"),
    ] {
        let role = format!("{database}-{}", rights.to_lowercase());
        let make = format!("CREATE ROLE \"{role}\" LOGIN {rights}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut *db).await.unwrap();
        let refused = grant(&url, "third", &role).await.unwrap_err();
        assert!(refused.text.contains(text), "{rights}: {refused}");
    }
    // A group for pg_hba.conf is none of these; a role that was there before gets its bound.
    let group = format!(
        "CREATE ROLE \"{database}-hosts\"; CREATE ROLE \"{database}-third\" LOGIN IN ROLE \"{database}-hosts\""
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(group)).execute(&mut *db).await.unwrap();
    let said = grant(&url, "third", &format!("{database}-third")).await.unwrap().said.join("\n");
    assert!(said.contains("CONNECTION LIMIT 16"), "{said}");
}

#[tokio::test]
async fn a_schema_of_somebody_elses_is_not_taken_for_a_store() {
    let url = server::database().await;
    let name = url.split(['/', '?']).nth(3).unwrap().to_owned();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let trap = format!(
        "CREATE ROLE \"{name}-evil\" LOGIN; CREATE ROLE \"{name}-op\" LOGIN; ALTER DATABASE {name} OWNER TO \"{name}-op\"; \
         CREATE SCHEMA trimtab AUTHORIZATION \"{name}-evil\"; GRANT ALL ON SCHEMA trimtab TO PUBLIC"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(trap)).execute(&mut admin).await.unwrap();
    let refused = init(&server::url(&format!("{name}-op"), &name), None).await.unwrap_err();
    assert!(
        refused.text.contains(&format!("the schema trimtab is there, and is role {name}-evil's")),
        "{refused}"
    );
    sqlx::raw_sql("DROP SCHEMA trimtab").execute(&mut admin).await.unwrap();
    let other = format!("CREATE DATABASE {name}_ascii TEMPLATE template0 ENCODING 'SQL_ASCII'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(other)).execute(&mut admin).await.unwrap();
    let refused = init(&server::url("trimtab", &format!("{name}_ascii")), None).await.unwrap_err();
    assert!(refused.text.contains("the database is in SQL_ASCII"), "{refused}");
}
