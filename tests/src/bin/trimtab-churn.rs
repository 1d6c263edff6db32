//! A worker that does nothing but claim and finish, for tests that kill it: `trimtab-churn STORE LOG`.
//!
//! Applies a campaign where there is none, and carries it to its end. Every third run takes two turns, of 10 bytes and
//! of 1; the others take one, of 1 byte. What the store has acknowledged goes to LOG, a line each, after the answer.

use std::fs::File;
use std::io::Write;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use trimtab_controller::campaign::limits::{Limits, Share};
use trimtab_controller::campaign::run::{
    Baseline, Claimed, Class, Counted, Did, DiskResult, Later, NewRun, RunResult, VmKey, Wait,
};
use trimtab_controller::campaign::store::sqlite::SqliteStore;
use trimtab_controller::campaign::store::{Claim, Claimant, NewCampaign, Store};
use trimtab_controller::ledger::verdict::Verdict;

/// Runs of the campaign.
const VMS: u32 = 300;

/// Runs that are begun before the first of them ends.
const SIDE_BY_SIDE: usize = 3;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [store, log] = arguments.as_slice() else { anyhow::bail!("trimtab-churn STORE LOG") };
    let log = File::options().create(true).append(true).open(log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(churn(Path::new(store), log))
}

async fn churn(path: &Path, mut log: File) -> Result<()> {
    let store = SqliteStore::open(path).await?;
    let campaign = match store.list().await?.first() {
        Some(campaign) => campaign.id,
        None => store.apply(&campaign()?).await?,
    };
    let by = Claimant { host: "h".into(), worker: std::process::id().to_string() };
    store.recover(&by).await?;
    let mut running: Vec<Claimed> = Vec::new();
    loop {
        match store.claim(campaign, &by).await? {
            Claim::Run(claimed) => {
                note(&mut log, "claimed", &claimed)?;
                store.baseline(&claimed, &Baseline::default()).await?;
                running.push(*claimed);
            }
            Claim::Empty | Claim::Nothing { .. } if running.is_empty() => return Ok(()),
            Claim::Empty | Claim::Nothing { .. } => end(&store, &mut log, &running.remove(0)).await?,
        }
        if running.len() >= SIDE_BY_SIDE {
            end(&store, &mut log, &running.remove(0)).await?;
        }
    }
}

async fn end(store: &SqliteStore, log: &mut File, claimed: &Claimed) -> Result<()> {
    let has_two = claimed.run.checked_rem(3) == Some(0);
    let counted = if has_two && claimed.attempt == 1 {
        let later = Later {
            after: Duration::ZERO,
            why: Wait::Retry,
            text: "the second turn".into(),
            did: Did::This(result(10)),
        };
        store.later(claimed, &later).await?
    } else {
        store.finish(claimed, &result(1)).await?
    };
    anyhow::ensure!(counted == Counted::Counted, "run {} was {counted:?}", claimed.run);
    note(log, "counted", claimed)
}

/// One line by one write: a line is there as a whole, or not at all.
fn note(log: &mut File, word: &str, claimed: &Claimed) -> Result<()> {
    let line = format!("{word} {} {}\n", claimed.run, claimed.fence);
    Ok(log.write_all(line.as_bytes())?)
}

fn campaign() -> Result<NewCampaign> {
    let at_once = u32::try_from(SIDE_BY_SIDE).ok().and_then(NonZeroU32::new).context("none at once")?;
    let run = |position| NewRun {
        vm: VmKey { host: "h".into(), name: format!("vm{position}"), uuid: None },
        datastores: vec!["d".into()],
        position,
        expected_bytes: 1,
        is_first: false,
    };
    Ok(NewCampaign {
        name: "churn".into(),
        who: "test".into(),
        plan: String::new(),
        limits: Limits {
            at_once,
            per_datastore: at_once,
            ramp: vec![Share::Count(2)],
            retries: 9,
            ..Limits::default()
        },
        windows: Vec::new(),
        runs: (0..VMS).map(run).collect(),
    })
}

fn result(freed: i64) -> RunResult {
    RunResult {
        class: Class::Reclaimed,
        disks: vec![DiskResult {
            name: "vda".into(),
            image: None,
            datastore: Some("d".into()),
            verdict: Verdict::Reclaimed,
            freed_bytes: Some(freed),
            held_bytes: None,
        }],
        text: None,
        kind: None,
        layer: None,
        duration_ms: 1,
    }
}
