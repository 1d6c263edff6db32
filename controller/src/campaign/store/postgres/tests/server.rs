//! A server for the tests of this process (tests/postgres), which ends with it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{Connection as _, PgConnection};

/// Its folder. The script behind it ends with our end of its standard input, which stays open as long as we are.
static SERVER: OnceLock<(Child, String)> = OnceLock::new();

static DATABASES: AtomicU32 = AtomicU32::new(0);

fn folder() -> &'static str {
    let start = || {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/postgres");
        let mut child = Command::new(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/postgres");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "no PostgreSQL could be started; `make test` installs what it needs");
        (child, line.trim().to_owned())
    };
    &SERVER.get_or_init(start).1
}

/// The URL of a database of the server as `role`.
pub(super) fn url(role: &str, database: &str) -> String {
    format!("postgres://{role}@localhost/{database}?host={}&sslmode=disable", folder())
}

/// A new and empty database; its superuser's URL.
pub(super) async fn database() -> String {
    let name = format!("test{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&url("trimtab", "postgres")).await.unwrap();
    let create = format!("CREATE DATABASE {name} TEMPLATE template0");
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
    url("trimtab", &name)
}
