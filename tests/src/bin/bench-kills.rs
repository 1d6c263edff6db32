//! Part of `make bench`: the real `trimtab worker` is killed a thousand times, at random moments, over campaigns whose every
//! byte is accounted for afterwards. `bench-kills [KILLS [SEED]]`. Exits with 1 when an account does not hold.

#![allow(clippy::arithmetic_side_effects, reason = "a bench that overflows ends")]

use std::{io::Write, process, time::Duration};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use trimtab_controller::campaign::store::{Store, sqlite::SqliteStore};
use trimtab_tests::sim::{fleet::Dice, killing::Rig};

/// Hosts side by side: most of a host's time is waiting.
const HOSTS: u32 = 8;
const VMS: u32 = 16;
/// A kill comes 50 ms to this after the start.
const MOST: Duration = Duration::from_millis(2500);

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let kills: u32 = words.next().map_or(Ok(1000), |word| word.parse()).context("KILLS is no number")?;
    let seed: u64 = words
        .next()
        .map_or_else(|| Ok(process::id().into()), |word| word.parse())
        .context("SEED is no number")?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "a worker killed at {kills} random moments (seed {seed}), {HOSTS} hosts of {VMS} guests side by side"
    )?;
    let mut hosts = JoinSet::new();
    for host in 0..HOSTS {
        let share = kills / HOSTS + u32::from(host < kills % HOSTS);
        hosts.spawn(campaigns(share, seed.wrapping_add(u64::from(host) << 32)));
    }
    let (mut campaigns, mut recovered, mut bytes) = (0_u32, 0_usize, 0_i64);
    while let Some(ended) = hosts.join_next().await {
        let (one, runs, freed) = ended??;
        (campaigns, recovered, bytes) = (campaigns + one, recovered + runs, bytes + freed);
    }
    writeln!(out, "  campaigns         {campaigns}, each carried to its end")?;
    writeln!(out, "  kills in a run    {recovered}: workers that found runs of the one before")?;
    writeln!(out, "  accounted for     {bytes} bytes, as the files say: none lost, none twice")?;
    Ok(())
}

/// One campaign after the other until all kills are done; their number, how many workers found orphans, and what came back.
async fn campaigns(mut kills: u32, seed: u64) -> Result<(u32, usize, i64)> {
    let mut dice = Dice::new(seed);
    let (mut campaigns, mut recovered, mut bytes) = (0, 0, 0);
    while kills > 0 {
        let rig = Rig::new(VMS)?;
        let store = SqliteStore::open(&rig.store()).await?;
        let id = store.apply(&rig.campaign()).await?;
        kills -= rig.kill(&store, id, kills, &mut dice, MOST).await?;
        bytes += rig.carry_on(&store, id).await?.freed_bytes;
        rig.check(&store, id).await?;
        recovered += rig.said().matches("of a worker before this one").count();
        campaigns += 1;
    }
    Ok((campaigns, recovered, bytes))
}
