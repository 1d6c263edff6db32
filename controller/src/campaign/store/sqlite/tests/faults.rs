//! Files that cannot be used: a clear error, and the state as before.

use std::fs;

use sqlx::Executor as _;

use super::*;
use crate::{
    campaign::{
        account::Status,
        run::Class,
        store::conformance::{campaign, loose, result, take, turn, worker},
    },
    model::trouble::Kind,
};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn db(&self) -> PathBuf {
        self.0.path().join("trimtab.db")
    }

    /// A store with a campaign of three VMs, one of them done; closed again.
    async fn filled() -> Self {
        let folder = Self::new();
        let store = SqliteStore::open(&folder.db()).await.unwrap();
        let id = store.apply(&campaign(3, loose())).await.unwrap();
        turn(&store, id, Class::Reclaimed).await;
        store.close().await;
        folder
    }

    /// By somebody else, who closes it again.
    async fn execute(&self, sql: &'static str) {
        let mut raw = self.raw().await;
        raw.execute(sql).await.unwrap();
        raw.close().await.unwrap();
    }

    async fn raw(&self) -> SqliteConnection {
        SqliteConnection::connect(self.db().to_str().unwrap()).await.unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.db()).unwrap()
    }
}

async fn refused(folder: &Folder) -> Trouble {
    let before = folder.bytes();
    let trouble = SqliteStore::open(&folder.db()).await.err().unwrap();
    assert_eq!(SqliteStore::open_to_read(&folder.db()).await.err().unwrap(), trouble, "to read as to write");
    assert!(folder.bytes() == before, "left as it was");
    assert_eq!(trouble.kind, Kind::Store);
    assert!(trouble.text.starts_with(&folder.db().display().to_string()), "{trouble}");
    trouble
}

#[tokio::test]
async fn a_store_of_a_newer_version() {
    let folder = Folder::filled().await;
    folder.execute("UPDATE store SET version = 99").await;
    let trouble = refused(&folder).await;
    assert!(trouble.text.ends_with("made by a newer trimtab (version 99 of the store)"), "{trouble}");
}

#[tokio::test]
async fn an_older_version_waits_for_one_who_may_write() {
    let folder = Folder::filled().await;
    folder.execute("UPDATE store SET version = 0").await;
    let trouble = SqliteStore::open_to_read(&folder.db()).await.err().unwrap();
    assert!(trouble.text.ends_with("made by an older trimtab (version 0 of the store)"), "{trouble}");
}

#[tokio::test]
async fn somebody_elses_database() {
    let folder = Folder::new();
    let mut other =
        SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", folder.db().display())).await.unwrap();
    other.execute("CREATE TABLE host (name TEXT)").await.unwrap();
    other.close().await.unwrap();
    let trouble = refused(&folder).await;
    assert!(trouble.text.ends_with("a database, but not a store of campaigns"), "{trouble}");
}

#[tokio::test]
async fn no_database_at_all() {
    let folder = Folder::new();
    fs::write(folder.db(), "[[vm]]\nname = \"web-12\"\n".repeat(100)).unwrap();
    let trouble = refused(&folder).await;
    assert!(trouble.text.contains("damaged"), "{trouble}");
}

#[tokio::test]
async fn a_damaged_file() {
    let folder = Folder::filled().await;
    let mut bytes = folder.bytes();
    // The first page, with the schema, stays.
    bytes.iter_mut().skip(4096).for_each(|byte| *byte = 0xa5);
    fs::write(folder.db(), &bytes).unwrap();
    let told = match SqliteStore::open(&folder.db()).await {
        Err(trouble) => trouble,
        Ok(store) => store.apply(&campaign(1, loose())).await.unwrap_err(),
    };
    assert_eq!(told.kind, Kind::Store);
    assert!(
        told.text.contains("damaged") && told.hint.unwrap().contains("restore a backup"),
        "{}",
        told.text
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be() {
    let folder = Folder::new();
    fs::write(folder.0.path().join("file"), "").unwrap();
    let trouble = SqliteStore::open(&folder.0.path().join("file/trimtab.db")).await.err().unwrap();
    assert_eq!(trouble.kind, Kind::Store);
    assert!(trouble.text.contains("cannot open it"), "{trouble}");
}

#[tokio::test]
async fn to_read_where_there_is_none() {
    let folder = Folder::new();
    let store = SqliteStore::open_to_read(&folder.db()).await.unwrap();
    assert!(store.list().await.unwrap().is_empty());
    assert_eq!(store.status(1).await.unwrap_err().kind, Kind::UnknownCampaign);
    assert!(!folder.db().exists(), "reading makes nothing");
}

#[tokio::test]
async fn who_only_reads_sees_what_is_written_and_writes_nothing() {
    let folder = Folder::filled().await;
    let reader = SqliteStore::open_to_read(&folder.db()).await.unwrap();
    let trouble = reader.claim(1, &worker()).await.unwrap_err();
    assert!(trouble.text.ends_with("may only be read here"), "{trouble}");
    let store = SqliteStore::open(&folder.db()).await.unwrap();
    take(&store, 1).await;
    assert_eq!(reader.status(1).await.unwrap().summary.running, 1, "beside a worker that has it open");
}

#[tokio::test]
async fn held_by_another_process() {
    let folder = Folder::filled().await;
    let clock: Clock = Arc::new(|| 1);
    let store = SqliteStore::patient(&folder.db(), clock, Duration::from_millis(50)).await.unwrap();
    let mut other = folder.raw().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let trouble = store.claim(1, &worker()).await.unwrap_err();
    assert_eq!(trouble.kind, Kind::Store);
    assert!(trouble.text.contains("another process"), "{trouble}");
    assert_eq!(store.status(1).await.unwrap().summary.waiting, 2, "who reads does not wait");
    let short = Duration::from_millis(50);
    let second = SqliteStore::patient(&folder.db(), Arc::new(|| 1), short).await;
    assert!(second.is_ok(), "nor does who opens it: {:?}", second.err());
    other.execute("ROLLBACK").await.unwrap();
    take(&store, 1).await;
}

#[tokio::test]
async fn a_full_disk() {
    let folder = Folder::filled().await;
    let store = SqliteStore::open(&folder.db()).await.unwrap();
    let claimed = take(&store, 1).await;
    let before = store.status(1).await.unwrap();
    // SQLite's own limit answers as a full filesystem does.
    limit(&store, "PRAGMA max_page_count = 1").await;
    let trouble = store.apply(&campaign(2000, loose())).await.unwrap_err();
    assert_eq!(trouble.kind, Kind::Store);
    assert!(trouble.text.contains("its filesystem is full"), "{trouble}");
    let after = store.status(1).await.unwrap();
    assert_eq!(after, Status { now: after.now, ..before }, "as before");
    assert_eq!(store.list().await.unwrap().len(), 1);
    limit(&store, "PRAGMA max_page_count = 1000000").await;
    store.finish(&claimed, &result(Class::Reclaimed, 7)).await.unwrap();
    assert_eq!(store.status(1).await.unwrap().summary.freed_bytes, 7, "it goes on by itself");
}

async fn limit(store: &SqliteStore, pragma: &'static str) {
    let mut writer = store.writer.lock().await;
    // Another connection has a limit of its own: none.
    if let Some(writer) = writer.as_mut() {
        writer.execute(pragma).await.unwrap();
    }
}

/// A call that is dropped half-way (a worker that is told to end) leaves neither a lock nor half of a change.
#[tokio::test]
async fn a_call_that_is_dropped() {
    let folder = Folder::filled().await;
    let store = SqliteStore::open(&folder.db()).await.unwrap();
    for micros in (0..4000).step_by(50) {
        let big = campaign(50, loose());
        let dropped = tokio::time::timeout(Duration::from_micros(micros), store.apply(&big)).await;
        let kept = store.list().await.unwrap();
        assert!(kept.iter().all(|campaign| campaign.total == if campaign.id == 1 { 3 } else { 50 }));
        if dropped.is_ok() {
            break;
        }
    }
    assert!(matches!(store.claim(1, &worker()).await.unwrap(), Claim::Run(_)));
}
