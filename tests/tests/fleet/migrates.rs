//! VMs that migrate between two hosts with real workers: before their turn, and in the midst of it. What the guest saw and
//! what its image lost is held against what the store says.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use crate::pair::{PATIENCE, PAUSE, Pair};

/// Whether two were at it at the same time.
fn at_once(one: &[(Instant, Instant)], other: &[(Instant, Instant)]) -> bool {
    one.iter().any(|one| other.iter().any(|other| one.0 < other.1 && other.0 < one.1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_its_turn() -> Result<()> {
    let mut fleet = Pair::of(&[("files", 0), ("web", 0), ("mail", 1)]).await?;
    let campaign = fleet.apply().await?;
    fleet.until(campaign, "both hosts trim", |status| status.running.len() == 2).await?;
    ensure!(fleet.guest("web")?.vm.trims().0 == 0, "it is begun already");
    fleet.move_to("web", 1)?;
    fleet.check(campaign, "web").await?;
    let turns = |name: &str| Ok::<_, anyhow::Error>(fleet.guest(name)?.vm.turns());
    ensure!(turns("web")?.len() == 1, "once: {:?}", turns("web")?);
    ensure!(!at_once(&turns("web")?, &turns("mail")?), "two at once on a host that takes one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_midst_of_its_turn() -> Result<()> {
    let mut fleet = Pair::of(&[("web", 0), ("mail", 1)]).await?;
    let campaign = fleet.apply().await?;
    let began = Instant::now();
    while !fleet.guest("web")?.vm.is_trimming() {
        ensure!(began.elapsed() < PATIENCE, "it does not begin\n{}", fleet.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(PAUSE * 3).await;
    let moved = Instant::now();
    fleet.move_to("web", 1)?;
    fleet.check(campaign, "web").await?;
    let web = fleet.guest("web")?.vm.turns();
    ensure!(web.len() == 2 && web[0].0 < moved && web[1].0 > moved, "its rest is another turn's: {web:?}");
    ensure!(!at_once(&web[1..], &fleet.guest("mail")?.vm.turns()), "two at once on a host that takes one");
    Ok(())
}
