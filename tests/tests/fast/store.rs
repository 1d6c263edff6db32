//! A worker that is killed at any moment loses nothing of the account and counts nothing twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use trimtab_controller::campaign::account::CampaignState;
use trimtab_controller::campaign::run::RunState;
use trimtab_controller::campaign::store::Store;
use trimtab_controller::campaign::store::sqlite::SqliteStore;

const KILLS: u32 = 12;

/// Longer than any of it takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

struct Churn {
    folder: tempfile::TempDir,
    until: Instant,
}

impl Churn {
    fn start(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_trimtab-churn")).arg(self.db()).arg(self.log()).spawn().unwrap()
    }

    fn db(&self) -> PathBuf {
        self.folder.path().join("trimtab.db")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Whole lines of what was acknowledged: word, run, fence.
    fn acknowledged(&self) -> Vec<(String, i64, u64)> {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ');
            let word = words.next().unwrap().to_owned();
            (word, words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap())
        };
        text.split_inclusive('\n')
            .filter(|text| text.ends_with('\n'))
            .map(|text| line(text.trim_end()))
            .collect()
    }

    /// Until the child has got so many lines further, or has come to its end.
    fn wait_for(&self, lines: usize, child: &mut Child) -> bool {
        loop {
            assert!(Instant::now() < self.until, "no progress");
            if self.acknowledged().len() >= lines {
                return true;
            }
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    }
}

/// Some number below `most`, another one each time.
fn some(most: u32) -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos() % most
}

async fn account(db: &Path) -> SqliteStore {
    let store = SqliteStore::open_to_read(db).await.unwrap();
    let status = store.status(1).await.unwrap();
    let runs = store.runs(1).await.unwrap();
    let freed: i64 = runs.iter().map(|run| run.freed_bytes).sum();
    assert_eq!(freed, status.summary.freed_bytes);
    assert_eq!(freed, status.datastores[0].freed_bytes);
    assert!(status.summary.running <= 3, "the cap holds across deaths");
    store
}

#[tokio::test]
async fn killed_again_and_again() {
    let churn = Churn { folder: tempfile::tempdir().unwrap(), until: Instant::now() + PATIENCE };
    let mut killed = 0;
    for kill in 0..KILLS {
        let mut child = churn.start();
        let lines = churn.acknowledged().len() + usize::try_from(some(9)).unwrap();
        let has_more = churn.wait_for(lines + 1, &mut child);
        let micros = some(20_000);
        std::thread::sleep(Duration::from_micros(micros.into()));
        child.kill().unwrap();
        child.wait().unwrap();
        println!("kill {kill}: after line {lines} and {micros} µs");
        killed += u32::from(has_more);
        account(&churn.db()).await;
    }
    assert_eq!(killed, KILLS, "each in the middle of the work");
    let mut last = churn.start();
    churn.wait_for(usize::MAX, &mut last);
    assert!(last.wait().unwrap().success());

    let store = account(&churn.db()).await;
    assert_eq!(store.status(1).await.unwrap().summary.state, CampaignState::Done);
    for run in store.runs(1).await.unwrap() {
        assert_eq!(run.state, RunState::Done);
        let expected = if run.run % 3 == 0 { 11 } else { 1 };
        assert_eq!(run.freed_bytes, expected, "run {}: each turn once", run.run);
    }
    // What was acknowledged is in the history, and fences only rise.
    let events = store.events(1).await.unwrap();
    let mut fences: BTreeMap<i64, u64> = BTreeMap::new();
    for (word, run, fence) in churn.acknowledged() {
        if word == "claimed" {
            assert!(fences.insert(run, fence).is_none_or(|before| before < fence), "run {run}");
            let text = format!("fence {fence}");
            assert!(
                events.iter().any(|event| event.run == Some(run) && event.text == text),
                "run {run} {text}"
            );
        } else {
            assert_eq!(fences.get(&run), Some(&fence), "counted under its own fence");
        }
    }
    let counted = events.iter().filter(|event| event.what == "counted").count();
    assert_eq!(counted, 300, "one end for each run");
    assert!(events.iter().any(|event| event.what == "recovered"), "some were taken back");
}
