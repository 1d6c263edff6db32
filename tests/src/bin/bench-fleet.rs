//! Part of `make bench`: one campaign over 10,000 simulated VMs on 50 hosts and 20 datastores, by 1, 8 and 50 processes over a
//! real PostgreSQL, and what workers cost it that wait. `bench-fleet [VMS [PROCESSES...]]`, `bench-fleet rest [WORKERS...]`. Exits
//! with 1 when a campaign is over its budget.
//!
//! `bench-fleet part …` is such a process; it lives until its standard input ends.

use std::{
    env, fs,
    io::{Read, Write},
    num::NonZeroU32,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::sync::watch;
use trimtab_controller::campaign::limits::{Limits, Share};
use trimtab_tests::{
    bench::fleet::{Rest, play, rest},
    sim::{apart::Apart, fleet::FleetSpec},
};

/// Of the time that the limits ask for.
const MOST_PERCENT: u128 = 105;
const MOST_MEMORY_KIB: u64 = 64 * 1024;
const SEED: u64 = 20_260_101;
/// Than real trims, which take minutes. A worker looks every second, and the database answers as fast as in a real night: the
/// faster trims are, the more of a slot's time those take.
const FASTER: u32 = 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let words: Vec<String> = env::args().skip(1).collect();
    let numbers = |words: &[String]| -> Result<Vec<u64>> {
        words.iter().map(|word| word.parse().with_context(|| format!("{word} is no number"))).collect()
    };
    match words.split_first() {
        Some((word, [url, given @ .., file])) if word == "part" => match numbers(given)?.as_slice() {
            [part, of, vms, datastores, hosts, odd_percent, faster] => {
                let faster = u32::try_from(*faster)?;
                let apart = apart(*vms, *datastores, *hosts, *odd_percent, faster);
                let record =
                    apart.work(|role| url.replace("HOST", role), *part, *of, until_input_ends()).await?;
                fs::write(file, serde_json::to_string(&record)?)?;
                Ok(ExitCode::SUCCESS)
            }
            _ => bail!("a part is told URL PART OF VMS DATASTORES HOSTS ODD FASTER FILE"),
        },
        Some((word, given)) if word == "rest" => match numbers(given)?.as_slice() {
            [] => at_rest(&[20, 50, 140]).await,
            workers => at_rest(workers).await,
        },
        _ => match numbers(&words)?.as_slice() {
            [] => {
                let ended = table(10_000, &[1, 8, 50]).await?;
                at_rest(&[20, 50, 140]).await?;
                Ok(ended)
            }
            [vms] => table(*vms, &[1, 8, 50]).await,
            [vms, processes @ ..] => table(*vms, processes).await,
        },
    }
}

/// What a minute of so many workers without work costs.
async fn at_rest(workers: &[u64]) -> Result<ExitCode> {
    const MINUTE: Duration = Duration::from_secs(60);
    let mut out = std::io::stdout();
    writeln!(out, "workers that have nothing to do")?;
    writeln!(out, "| workers | connections | transactions/s | of a core, % | PostgreSQL, MiB |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    for workers in workers {
        let Rest { connections, commits, database_cpu, database_kib } =
            rest(&env::current_exe()?, *workers, 4, MINUTE).await?;
        let second = |sum: f64| sum / MINUTE.as_secs_f64();
        writeln!(
            out,
            "| {workers} | {connections} | {:.0} | {:.1} | {} |",
            second(f64::from(u32::try_from(commits)?)),
            second(database_cpu.as_secs_f64() * 100.0),
            database_kib / 1024,
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn apart(vms: u64, datastores: u64, hosts: u64, odd_percent: u64, faster: u32) -> Apart {
    let fleet = FleetSpec { seed: SEED, vms, datastores, odd_percent, first_percent: 0 };
    Apart { fleet, hosts, faster }
}

fn until_input_ends() -> watch::Receiver<bool> {
    let (leave, leaves) = watch::channel(false);
    thread::spawn(move || {
        // Whatever ends it, there is nothing more to do.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        leave.send_replace(true);
    });
    leaves
}

async fn table(vms: u64, processes: &[u64]) -> Result<ExitCode> {
    let some = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let limits = Limits {
        at_once: some(240),
        per_host: Some(some(8)),
        per_datastore: some(24),
        ramp: Vec::new(),
        failure_budget: Share::Percent(100),
        ..Limits::default()
    };
    let apart = apart(vms, 20, 50, 0, FASTER);
    let mut out = std::io::stdout();
    writeln!(
        out,
        "campaign of {vms} VMs on 50 hosts and 20 datastores (seed {SEED}), 240 at once, 24 on each datastore"
    )?;
    writeln!(
        out,
        "| processes | makespan, s | least, s | ratio | CPU of all workers, s | of PostgreSQL, s | transactions/s | largest, KiB |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    let mut is_within = true;
    for processes in processes {
        let figures = play(&env::current_exe()?, apart, *processes, &limits).await?;
        let ratio = figures.makespan.as_secs_f64() / figures.bound.as_secs_f64();
        writeln!(
            out,
            "| {processes} | {:.1} | {:.1} | {ratio:.3} | {:.1} | {:.1} | {:.0} | {} |",
            figures.makespan.as_secs_f64(),
            figures.bound.as_secs_f64(),
            figures.workers_cpu.as_secs_f64(),
            figures.database_cpu.as_secs_f64(),
            f64::from(u32::try_from(figures.commits)?) / figures.makespan.as_secs_f64(),
            figures.peak_kib,
        )?;
        let most = figures.bound.as_millis().saturating_mul(MOST_PERCENT);
        is_within &= figures.makespan.as_millis().saturating_mul(100) <= most;
        is_within &= figures.peak_kib <= MOST_MEMORY_KIB;
    }
    Ok(if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
