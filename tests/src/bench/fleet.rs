//! One campaign over a simulated fleet, by workers in processes of their own over a real PostgreSQL: how long it takes against
//! what its limits ask for at least, and what it costs. What must hold is checked from outside, by what guests and storage
//! of all processes saw.

#![allow(clippy::arithmetic_side_effects, reason = "a bench that overflows ends")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;
use trimtab_controller::campaign::{
    account::{CampaignState, RunRow},
    limits::Limits,
    store::{
        Store,
        postgres::{PgStore, grant, init},
    },
};

use crate::{
    postgres::Postgres,
    sim::{
        apart::{Apart, Record, Span, Zero, host_name},
        check, fleet,
        log::Entry,
        play::Turn,
    },
};

/// No campaign of these lasts longer.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What a campaign came to.
#[derive(Debug)]
pub struct Figures {
    /// From the first claim to the last end.
    pub makespan: Duration,
    /// What the limits ask for at least.
    pub bound: Duration,
    /// The largest process.
    pub peak_kib: u64,
    /// What all processes used of a CPU, their simulated guests included.
    pub workers_cpu: Duration,
    /// What PostgreSQL used of a CPU.
    pub database_cpu: Duration,
    /// Transactions that it carried out.
    pub commits: u64,
    /// What came back, in bytes.
    pub freed: i64,
}

/// Plays it with so many processes, each of them `program` with the arguments of [`part`].
///
/// # Errors
/// Something cannot be started, or what must hold does not.
pub async fn play(program: &Path, apart: Apart, processes: u64, limits: &Limits) -> Result<Figures> {
    let server = Postgres::start()?;
    let operator = server.url("trimtab");
    init(&operator, None).await?;
    for host in 0..apart.hosts {
        grant(&operator, &host_name(host), &host_name(host)).await?;
    }
    let store = PgStore::open(&operator).await?;
    let zero = Zero::now()?;
    let vms: Vec<_> = apart.vms().collect();
    let campaign = fleet::over(vms.iter().map(|(host, spec)| (host_name(*host), spec)), limits.clone());
    let id = store.apply(&campaign).await?;

    let folder = tempfile::tempdir()?;
    let commits_before = commits(&server)?;
    let cpu_before = cpu_of_all(server.pid()?)?;
    let started: Result<Vec<Child>> = (0..processes)
        .map(|number| {
            Command::new(program)
                .args(["part", &server.url("HOST"), &number.to_string(), &processes.to_string()])
                .args([apart.fleet.vms, apart.fleet.datastores, apart.hosts].map(|number| number.to_string()))
                .args([apart.fleet.odd_percent, apart.faster.into()].map(|number: u64| number.to_string()))
                .arg(folder.path().join(number.to_string()))
                .stdin(Stdio::piped())
                .spawn()
                .with_context(|| format!("cannot start {}", program.display()))
        })
        .collect();
    let mut children = started?;
    let until = Instant::now() + PATIENCE;
    let state = loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let state = store.status(id).await?.summary.state;
        if state != CampaignState::Active || Instant::now() > until {
            break state;
        }
    };
    let database_cpu = cpu_of_all(server.pid()?)?.saturating_sub(cpu_before);
    let commits = commits(&server)?.saturating_sub(commits_before);
    for child in &mut children {
        drop(child.stdin.take());
    }
    let mut all = Record::default();
    for (number, mut child) in children.into_iter().enumerate() {
        ensure!(child.wait()?.success(), "process {number} failed");
        let text = fs::read_to_string(folder.path().join(number.to_string()))?;
        let one: Record = serde_json::from_str(&text)?;
        all.guests.extend(one.guests);
        all.turns.extend(one.turns);
        all.lost.extend(one.lost);
        all.words.extend(one.words);
        all.peak_kib = all.peak_kib.max(one.peak_kib);
        all.cpu += one.cpu;
    }
    ensure!(state == CampaignState::Done, "it is {state:?} at the end; the workers said {:?}", all.words);

    let runs = store.runs(id).await?;
    check_bytes(&all.lost, &runs)?;
    let datastores: BTreeMap<&str, &Vec<String>> =
        vms.iter().map(|(_, spec)| (spec.name.as_str(), &spec.datastores)).collect();
    let entry = |span: &Span| Entry {
        vm: span.vm.clone(),
        datastores: datastores.get(span.vm.as_str()).copied().cloned().unwrap_or_default(),
        began: zero.at(span.began),
        ended: zero.at(span.ended),
        is_first: span.is_first,
    };
    check::caps(&all.guests.iter().map(entry).collect::<Vec<_>>(), limits)?;
    let turn = |span: &Span| Turn {
        vm: span.vm.clone(),
        began: zero.at(span.began),
        ended: Some(zero.at(span.ended)),
        how: None,
    };
    let turns: Vec<Turn> = all.turns.iter().map(turn).collect();
    let world = fleet::world(vms.iter().map(|(_, spec)| spec.clone()));
    let began = all.turns.iter().map(|turn| turn.began).min().context("no turn was had")?;
    let ended = all.turns.iter().map(|turn| turn.ended).max().unwrap_or(began);
    Ok(Figures {
        makespan: Duration::from_micros(ended.saturating_sub(began)),
        bound: check::lower_bound(&world, &turns, limits),
        peak_kib: all.peak_kib,
        workers_cpu: all.cpu,
        database_cpu,
        commits,
        freed: runs.iter().map(|run| run.freed_bytes).sum(),
    })
}

/// What the report says came back is what storage lost, VM by VM.
fn check_bytes(lost: &[(String, i64)], runs: &[RunRow]) -> Result<()> {
    ensure!(lost.len() == runs.len(), "{} VMs, and {} runs", lost.len(), runs.len());
    let told: BTreeMap<&str, i64> = runs.iter().map(|run| (run.vm.name.as_str(), run.freed_bytes)).collect();
    for (vm, bytes) in lost {
        let told = told.get(vm.as_str());
        ensure!(told == Some(bytes), "{vm}: the report says {told:?}, its storage lost {bytes}");
    }
    Ok(())
}

fn commits(server: &Postgres) -> Result<u64> {
    Ok(server.query("SELECT sum(xact_commit) FROM pg_stat_database")?.parse()?)
}

/// What a process and all its children, those that have ended included, used of a CPU. See proc_pid_stat(5).
fn cpu_of_all(pid: u32) -> Result<Duration> {
    let own = times(pid)?;
    let mut ticks: u64 = own.iter().sum();
    for entry in fs::read_dir("/proc")? {
        let Ok(child) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // One that ends just now is counted with what its parent has waited for, the next time.
        let is_ours = fs::read_to_string(format!("/proc/{child}/status"))
            .is_ok_and(|status| status.lines().any(|line| line == format!("PPid:\t{pid}")));
        if is_ours && let Ok(its) = times(child) {
            ticks += its.iter().take(2).sum::<u64>();
        }
    }
    // USER_HZ, which is 100 on every architecture that QEMU runs guests of.
    Ok(Duration::from_millis(ticks * 10))
}

/// utime, stime, cutime and cstime.
fn times(pid: u32) -> Result<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").context("no name")?.1;
    Ok(after_name.split(' ').skip(11).take(4).map(str::parse).collect::<Result<_, _>>()?)
}
