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
    let server = server_of(apart.hosts).await?;
    let store = PgStore::open(&server.url("trimtab")).await?;
    let zero = Zero::now()?;
    let vms: Vec<_> = apart.vms().collect();
    let campaign = fleet::over(vms.iter().map(|(host, spec)| (host_name(*host), spec)), limits.clone());
    let id = store.apply(&campaign).await?;

    let folder = tempfile::tempdir()?;
    let commits_before = commits(&server)?;
    let cpu_before = cpu_of_all(server.pid()?)?;
    let mut children = start(program, &server, apart, processes, folder.path())?;
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
    end(&mut children)?;
    let mut all = Record::default();
    for number in 0..children.len() {
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

/// What workers cost their database that have nothing to do.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// Connections that they have.
    pub connections: u64,
    /// Transactions of all of them.
    pub commits: u64,
    /// What PostgreSQL used of a CPU.
    pub database_cpu: Duration,
    /// Its memory, by the share of each of its processes (Pss).
    pub database_kib: u64,
}

/// Lets so many workers wait for work for so long, in so many processes that are started as by [`play`].
///
/// # Errors
/// Something cannot be started or read.
pub async fn rest(program: &Path, workers: u64, processes: u64, span: Duration) -> Result<Rest> {
    let server = server_of(workers).await?;
    let fleet = fleet::FleetSpec { seed: 0, vms: 0, datastores: 1, odd_percent: 0, first_percent: 0 };
    let folder = tempfile::tempdir()?;
    let apart = Apart { fleet, hosts: workers, faster: 1 };
    let mut children = start(program, &server, apart, processes, folder.path())?;
    let until = Instant::now() + PATIENCE;
    while server.query("SELECT count(*) FROM trimtab.host")? != workers.to_string() {
        ensure!(Instant::now() < until, "the workers do not come");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (commits_before, cpu_before) = (commits(&server)?, cpu_of_all(server.pid()?)?);
    tokio::time::sleep(span).await;
    let database_cpu = cpu_of_all(server.pid()?)?.saturating_sub(cpu_before);
    let commits = commits(&server)?.saturating_sub(commits_before);
    let theirs = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'host-%'";
    let connections = server.query(theirs)?.parse()?;
    let database_kib = memory_of_all(server.pid()?)?;
    end(&mut children)?;
    Ok(Rest { connections, commits, database_cpu, database_kib })
}

/// A server with a store, and a role for each of so many hosts.
async fn server_of(hosts: u64) -> Result<Postgres> {
    let server = Postgres::start()?;
    let operator = server.url("trimtab");
    init(&operator, None).await?;
    for host in 0..hosts {
        grant(&operator, &host_name(host), &host_name(host)).await?;
    }
    Ok(server)
}

/// The processes of a fleet; each writes what it saw into a file of this folder.
fn start(
    program: &Path,
    server: &Postgres,
    apart: Apart,
    processes: u64,
    folder: &Path,
) -> Result<Vec<Child>> {
    (0..processes)
        .map(|number| {
            Command::new(program)
                .args(["part", &server.url("HOST"), &number.to_string(), &processes.to_string()])
                .args([apart.fleet.vms, apart.fleet.datastores, apart.hosts].map(|number| number.to_string()))
                .args([apart.fleet.odd_percent, apart.faster.into()].map(|number: u64| number.to_string()))
                .arg(folder.join(number.to_string()))
                .stdin(Stdio::piped())
                .spawn()
                .with_context(|| format!("cannot start {}", program.display()))
        })
        .collect()
}

/// Has them leave, and waits for them.
fn end(children: &mut [Child]) -> Result<()> {
    for child in children.iter_mut() {
        drop(child.stdin.take());
    }
    for (number, child) in children.iter_mut().enumerate() {
        ensure!(child.wait()?.success(), "process {number} failed");
    }
    Ok(())
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
    let own: u64 = times(pid)?.iter().sum();
    // One that ends just now is counted with what its parent has waited for, the next time.
    let others = children_of(pid)?.into_iter().filter_map(|child| times(child).ok());
    let ticks = own + others.map(|its| its.iter().take(2).sum::<u64>()).sum::<u64>();
    // USER_HZ, which is 100 on every architecture that QEMU runs guests of.
    Ok(Duration::from_millis(ticks * 10))
}

/// What a process and its children take of memory, in KiB. What they share is counted once: see proc_pid_smaps(5).
fn memory_of_all(pid: u32) -> Result<u64> {
    let own = |pid: u32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default()
    };
    Ok(own(pid) + children_of(pid)?.into_iter().map(own).sum::<u64>())
}

fn children_of(pid: u32) -> Result<Vec<u32>> {
    let all = fs::read_dir("/proc")?.flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let is_child = |child: &u32| {
        fs::read_to_string(format!("/proc/{child}/status"))
            .is_ok_and(|status| status.lines().any(|line| line == format!("PPid:\t{pid}")))
    };
    Ok(pids.filter(is_child).collect())
}

/// utime, stime, cutime and cstime.
fn times(pid: u32) -> Result<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").context("no name")?.1;
    Ok(after_name.split(' ').skip(11).take(4).map(str::parse).collect::<Result<_, _>>()?)
}
