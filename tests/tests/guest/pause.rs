//! A trim that is paused from the host: nothing is discarded meanwhile, and nothing is left out afterwards.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use trimtab_tests::MIB;
use trimtab_tests::guest::Guest;
use trimtab_tests::trimtab::Running;
use trimtab_tests::walk::{DELETED_MIB, Walk, ruling};

use crate::common::checked;
use crate::ends::{in_the_middle, slow, workers};

/// Requests of discard that the guest's disk has been sent (Documentation/block/stat.rst).
fn discards(walk: &Walk<'_>) -> Result<u64> {
    let name = walk.disk.device.trim_start_matches("/dev/");
    Ok(walk.guest.sh(&format!("awk '{{ print $12 }}' /sys/block/{name}/stat"))?.trim().parse()?)
}

/// Waits until this stage is told.
fn stage(running: &mut Running, stage: &str) -> Result<()> {
    running.wait_for(|event| event["event"] == "stage" && event["stage"] == stage)?;
    Ok(())
}

#[test]
fn nothing_is_discarded_while_it_is_paused_and_all_of_it_afterwards() -> Result<()> {
    let guest = Guest::lease()?;
    let walk = slow(&guest)?;
    let before = walk.disk.allocated_bytes()?;
    let mut running = in_the_middle(&guest)?;
    // As a terminal does it for Ctrl-Z.
    running.signal(Signal::SIGTSTP)?;
    stage(&mut running, "paused")?;
    // A call that is under way ends within half a second, and what the disk has by then comes to its end.
    sleep(Duration::from_secs(3));
    let sent = discards(&walk)?;
    // For longer than the agent goes on without a caller.
    sleep(Duration::from_secs(12));
    ensure!(discards(&walk)? == sent, "{} discards in a pause", discards(&walk)?.saturating_sub(sent));
    guest.limit_writes(&walk.disk, 0)?;
    running.signal(Signal::SIGTSTP)?;
    stage(&mut running, "trimming")?;

    let ended = running.end()?;

    let document = checked(&ended)?;
    ensure!(ended.exit == 0 && document.only_vm()?["stop"] == "done", "exit {}: {document}", ended.exit);
    ensure!(ruling(document.disk(&walk.disk)?) == "reclaimed by rule 5", "{document}");
    let freed = before.saturating_sub(walk.disk.allocated_bytes()?);
    ensure!(freed >= DELETED_MIB * MIB / 100 * 95, "only {freed} bytes came back");
    Ok(())
}

#[test]
fn a_paused_trim_is_cancelled_at_once_and_kill_cont_lets_one_go_on() -> Result<()> {
    let guest = Guest::lease()?;
    let walk = slow(&guest)?;
    let mut running = in_the_middle(&guest)?;
    running.signal(Signal::SIGTSTP)?;
    stage(&mut running, "paused")?;
    running.signal(Signal::SIGCONT)?;
    stage(&mut running, "trimming")?;
    running.signal(Signal::SIGTSTP)?;
    stage(&mut running, "paused")?;
    running.signal(Signal::SIGINT)?;

    let ended = running.end()?;

    let document = checked(&ended)?;
    ensure!(
        ended.exit == 130 && document.only_vm()?["stop"] == "cancelled",
        "exit {}: {document}",
        ended.exit
    );
    let said = document.disk(&walk.disk)?;
    ensure!(said["because"].as_str().context("no reason")?.contains("cancelled"), "{said:#}");
    ensure!(workers(&guest)? == 0, "a worker still runs");
    Ok(())
}
