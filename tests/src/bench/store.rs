//! How fast the store of campaigns is: thousands of runs are applied, claimed and finished, one after the other, as one
//! worker would. Every claim and every end is a commit that is on the disk before it is answered.

use std::io::{Write, stdout};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use trimtab_controller::campaign::limits::{Limits, Share};
use trimtab_controller::campaign::run::{Claimed, Class, DiskResult, NewRun, RunResult, VmKey};
use trimtab_controller::campaign::store::sqlite::SqliteStore;
use trimtab_controller::campaign::store::{Claim, Claimant, NewCampaign, Store};
use trimtab_controller::ledger::verdict::Verdict;

/// VMs in each campaign that is measured, and datastores that they lie on.
const SIZES: [(u32, u32); 2] = [(2_000, 8), (10_000, 20)];

/// Where a commit costs nothing: what is left is the store's own work.
const MEMORY: &str = "/dev/shm";

/// What one campaign took.
struct Row {
    place: &'static str,
    vms: u32,
    apply: Duration,
    claims: Vec<Duration>,
    ends: Vec<Duration>,
    status: Duration,
}

/// Measures, prints a table, and gives the same as JSON.
///
/// # Errors
/// The store cannot be made or fails.
pub fn run() -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let disk = std::env::var("TMPDIR").unwrap_or_else(|_| "/var/tmp".to_owned());
    let head =
        "| VMs | on | apply | claims/s | p99 | ends/s | p99 | status |\n|---|---|---|---|---|---|---|---|\n";
    stdout().write_all(head.as_bytes())?;
    let mut rows = Vec::new();
    for (vms, datastores) in SIZES {
        for (place, folder) in [("disk", disk.as_str()), ("memory", MEMORY)] {
            if Path::new(folder).is_dir() {
                let row = runtime.block_on(measure(place, Path::new(folder), vms, datastores))?;
                stdout().write_all(row.markdown().as_bytes())?;
                rows.push(row);
            }
        }
    }
    Ok(Value::Array(rows.iter().map(Row::json).collect()))
}

impl Row {
    fn markdown(&self) -> String {
        format!(
            "| {} | {} | {:.1?} | {} | {:.1?} | {} | {:.1?} | {:.1?} |\n",
            self.vms,
            self.place,
            self.apply,
            per_second(&self.claims),
            p99(&self.claims),
            per_second(&self.ends),
            p99(&self.ends),
            self.status
        )
    }

    fn json(&self) -> Value {
        json!({
            "vms": self.vms, "on": self.place, "apply_secs": self.apply.as_secs_f64(),
            "claims_per_second": per_second(&self.claims), "claim_p99_secs": p99(&self.claims).as_secs_f64(),
            "ends_per_second": per_second(&self.ends), "end_p99_secs": p99(&self.ends).as_secs_f64(),
            "status_secs": self.status.as_secs_f64(),
        })
    }
}

fn per_second(spans: &[Duration]) -> u128 {
    let sum: Duration = spans.iter().sum();
    let calls = u128::try_from(spans.len()).unwrap_or(0);
    calls.saturating_mul(1_000_000).checked_div(sum.as_micros()).unwrap_or(0)
}

fn p99(spans: &[Duration]) -> Duration {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    let at = sorted.len().saturating_mul(99).checked_div(100).unwrap_or(0);
    sorted.get(at).copied().unwrap_or_default()
}

async fn measure(place: &'static str, folder: &Path, vms: u32, datastores: u32) -> Result<Row> {
    let folder = tempfile::Builder::new().prefix("trimtab-bench-").tempdir_in(folder)?;
    let store = SqliteStore::open(&folder.path().join("trimtab.db")).await.context("cannot make a store")?;
    let begin = Instant::now();
    let campaign = store.apply(&campaign(vms, datastores)?).await?;
    let mut row = Row {
        place,
        vms,
        apply: begin.elapsed(),
        claims: Vec::new(),
        ends: Vec::new(),
        status: Duration::ZERO,
    };
    let by = Claimant { host: "bench".into(), worker: "bench".into() };
    let mut running: Vec<Claimed> = Vec::new();
    loop {
        let begin = Instant::now();
        let claim = store.claim(campaign, &by).await?;
        row.claims.push(begin.elapsed());
        match claim {
            Claim::Run(claimed) => {
                running.push(*claimed);
                continue;
            }
            Claim::Nothing { .. } if running.is_empty() => bail!("the campaign is stuck"),
            Claim::Nothing { .. } => {}
            Claim::Empty if running.is_empty() => break,
            Claim::Empty => {}
        }
        let claimed = running.remove(0);
        let begin = Instant::now();
        store.finish(&claimed, &result()).await?;
        row.ends.push(begin.elapsed());
        if row.status.is_zero() && row.ends.len() > 1000 {
            let begin = Instant::now();
            store.status(campaign).await?;
            row.status = begin.elapsed();
        }
    }
    Ok(row)
}

fn campaign(vms: u32, datastores: u32) -> Result<NewCampaign> {
    let at_most = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    let run = |position: u32| {
        // A quarter lies on the first, so that it is full most of the time; every tenth VM lies on two.
        let home = if position.checked_rem(4)? == 0 { 0 } else { position.checked_rem(datastores)? };
        let mut on = vec![format!("datastore-{home}")];
        if position.checked_rem(10)? == 0 {
            on.push(format!("datastore-{}", home.checked_add(1)?.checked_rem(datastores)?));
        }
        Some(NewRun {
            vm: VmKey { host: "bench".into(), name: format!("vm-{position}"), uuid: None },
            datastores: on,
            position,
            expected_bytes: 1 << 30,
            is_first: position.checked_rem(3)? == 0,
        })
    };
    Ok(NewCampaign {
        name: "bench".into(),
        who: "bench".into(),
        plan: String::new(),
        limits: Limits {
            at_once: at_most(24),
            per_datastore: at_most(2),
            ramp: vec![Share::Count(1), Share::Count(5), Share::Percent(10)],
            ..Limits::default()
        },
        windows: Vec::new(),
        runs: (0..vms).map(run).collect::<Option<_>>().context("no datastores")?,
    })
}

fn result() -> RunResult {
    RunResult {
        class: Class::Reclaimed,
        disks: vec![DiskResult {
            name: "vda".into(),
            image: Some("/guests/vm.img".into()),
            datastore: Some("datastore-0".into()),
            verdict: Verdict::Reclaimed,
            freed_bytes: Some(1 << 30),
            held_bytes: None,
        }],
        text: None,
        kind: None,
        layer: None,
        duration_ms: 60_000,
    }
}
