//! `make bench`: a campaign over 2,000 simulated VMs on 8 datastores, by the worker's own code over a real store: how long it
//! takes against what its limits ask for at least, and what it costs this process. `bench-campaign [VMS]`. Exits with 1
//! when it is over its budget.

use std::{io::Write, num::NonZeroU32, process::ExitCode, time::Instant};

use anyhow::{Context, Result, ensure};
use trimtab_controller::campaign::{
    account::CampaignState,
    limits::{Limits, Share},
    store::Store,
};
use trimtab_tests::{
    bench::own::{cpu, peak_kib},
    sim::{
        check,
        fleet::{FleetSpec, campaign, fleet},
        play::Play,
    },
};

/// Of the time that the limits ask for.
const MOST_PERCENT: u128 = 105;
const MOST_MEMORY_KIB: u64 = 64 * 1024;

fn main() -> Result<ExitCode> {
    let vms = std::env::args().nth(1).map_or(Ok(2000), |word| word.parse()).context("VMS is no number")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(night(vms))
}

async fn night(vms: u64) -> Result<ExitCode> {
    let seed = 20_260_101;
    let spec = FleetSpec { seed, vms, datastores: 8, odd_percent: 0, first_percent: 0 };
    let folder = tempfile::tempdir()?;
    let play = Play::new(fleet(spec), folder.path()).await?;
    let limits = Limits {
        at_once: NonZeroU32::new(12).unwrap_or(NonZeroU32::MIN),
        ramp: Vec::new(),
        failure_budget: Share::Percent(100),
        ..Limits::default()
    };
    let (clock, cpu_before) = (Instant::now(), cpu()?);
    let (id, took) = play.carry(&campaign(&play.world, limits.clone())).await?;
    let (real, cpu) = (clock.elapsed(), cpu()?.saturating_sub(cpu_before));
    let state = play.store.status(id).await?.summary.state;
    ensure!(state == CampaignState::Done, "it ended {state:?}");
    check::caps(&play.world.log.entries(), &limits)?;
    check::bytes(&play.world, &play.store.runs(id).await?)?;
    let bound = check::lower_bound(&play.world, &play.ear.turns(), &limits);
    let per_mille = took.as_millis().saturating_mul(1000).checked_div(bound.as_millis()).unwrap_or(0);
    let memory = peak_kib()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "campaign of {vms} VMs on 8 datastores (seed {seed}), a night under a clock that jumps")?;
    writeln!(
        out,
        "  makespan          {} s; {} s are the least: {} ‰",
        took.as_secs(),
        bound.as_secs(),
        per_mille
    )?;
    writeln!(out, "  carried out in    {:.1} s", real.as_secs_f64())?;
    let per_vm = cpu.as_micros().checked_div(vms.into()).unwrap_or(0);
    writeln!(out, "  CPU               {:.1} s, {per_vm} µs a VM", cpu.as_secs_f64())?;
    writeln!(out, "  memory, at most   {memory} KiB")?;
    let is_within = per_mille <= MOST_PERCENT.saturating_mul(10) && memory <= MOST_MEMORY_KIB;
    Ok(if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
