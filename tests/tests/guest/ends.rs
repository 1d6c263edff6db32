//! What may end a trim in its middle: a person, a deadline, a crash of any part. Each is said, none hangs, nothing goes
//! on in the guest that nobody listens to, and the host's own figures are there all the same.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use trimtab_tests::guest::{DiskSpec, Guest};
use trimtab_tests::trimtab::{Document, Ended, Running, Trimtab};
use trimtab_tests::{GIB, MIB};

use crate::common::checked;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk, ruling};

const DELETED: u64 = DELETED_MIB * MIB;

/// A filesystem of 32 block groups on a disk that QEMU slows down: at the gentle pace each group is a call, and each
/// call at least one discard.
pub(crate) fn slow(guest: &Guest) -> Result<Walk<'_>> {
    let walk = Walk::add(guest, Kind::Ext4, DiskSpec::new("slow", 4 * GIB).throttled())?;
    walk.write_and_delete(DELETED_MIB)?;
    guest.start_agent("")?;
    guest.limit_writes(&walk.disk, 2)?;
    Ok(walk)
}

/// Starts a trim that takes a quarter of a minute, and returns when it is at it.
pub(crate) fn in_the_middle(guest: &Guest) -> Result<Running> {
    let mut running = Trimtab::of(guest)?.start_trim(&[guest.name(), "--pace", "gentle"])?;
    running.wait_for_the_middle()?;
    ensure!(workers(guest)? == 1, "no worker is at it");
    Ok(running)
}

/// A trim at full speed that must succeed.
fn trim_all(walk: &Walk<'_>) -> Result<Document> {
    walk.guest.limit_writes(&walk.disk, 0)?;
    let ended = Trimtab::of(walk.guest)?.trim(&[walk.guest.name()])?;
    let document = checked(&ended)?;
    ensure!(ended.exit == 0, "exit {}: {document}", ended.exit);
    Ok(document)
}

/// How many of the agent's workers run in the guest.
pub(crate) fn workers(guest: &Guest) -> Result<u64> {
    Ok(guest.sh("ps | grep -c '[t]rimtab-agent worker' || true")?.trim().parse()?)
}

/// Waits until no worker is left, and returns how long that took.
fn workers_gone(guest: &Guest, limit: Duration) -> Result<Duration> {
    let began = Instant::now();
    while workers(guest)? > 0 {
        ensure!(began.elapsed() <= limit, "a worker still runs after {limit:?}; {}", guest.agent_log()?);
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(began.elapsed())
}

/// The trouble of the only VM, whose kind must be one of these.
fn trouble(ended: &Ended, exit: i32, kinds: &[&str]) -> Result<(Document, Value)> {
    let document = checked(ended)?;
    ensure!(ended.exit == exit, "exit {} instead of {exit}: {document}", ended.exit);
    let error = document.only_vm()?["error"].clone();
    ensure!(kinds.iter().any(|kind| error["kind"] == *kind), "{error:#} is none of {kinds:?}");
    ensure!(error["hint"].is_string(), "it does not say what to do next: {error:#}");
    Ok((document, error))
}

#[test]
fn an_interrupt_cancels_the_run_and_the_ledger_is_still_printed() -> Result<()> {
    let guest = Guest::lease()?;
    let walk = slow(&guest)?;
    let before = walk.disk.allocated_bytes()?;
    let running = in_the_middle(&guest)?;
    let interrupted = Instant::now();
    running.signal(Signal::SIGINT)?;

    let ended = running.end()?;

    ensure!(interrupted.elapsed() < Duration::from_secs(15), "it took {:?}", interrupted.elapsed());
    let document = checked(&ended)?;
    ensure!(ended.exit == 130, "exit {}: {document}", ended.exit);
    let vm = document.only_vm()?;
    ensure!(vm["stop"] == "cancelled" && vm["error"].is_null(), "{document}");
    let said = document.disk(&walk.disk)?;
    ensure!(said["freed_bytes"].is_i64() && said["sent_bytes"].as_u64() > Some(0), "{said:#}");
    ensure!(said["because"].as_str().is_some_and(|why| why.contains("cancelled")), "{said:#}");
    ensure!(document.filesystem(&walk.mount)?["state"] == "partial", "{document}");
    workers_gone(&guest, Duration::ZERO)?;
    // Nothing is lost by it: a later trim picks up the rest.
    trim_all(&walk)?;
    let freed = before.saturating_sub(walk.disk.allocated_bytes()?);
    ensure!(freed >= DELETED / 100 * 95, "only {freed} bytes came back in all");
    Ok(())
}

#[test]
fn a_second_caller_is_told_since_when_the_guest_is_busy() -> Result<()> {
    let guest = Guest::lease()?;
    let walk = slow(&guest)?;
    let first = in_the_middle(&guest)?;

    let second = Trimtab::of(&guest)?.trim(&[guest.name()])?;

    let (_, error) = trouble(&second, 75, &["busy"])?;
    ensure!(error["text"].as_str().is_some_and(|text| text.contains("under way since 20")), "{error:#}");
    // The first one has noticed nothing.
    guest.limit_writes(&walk.disk, 0)?;
    let ended = first.end()?;
    let document = checked(&ended)?;
    ensure!(ended.exit == 0 && document.only_vm()?["stop"] == "done", "exit {}: {document}", ended.exit);
    ensure!(ruling(document.disk(&walk.disk)?) == "reclaimed by rule 5", "{document}");
    Ok(())
}

#[test]
fn a_deadline_ends_the_run_and_says_so() -> Result<()> {
    let guest = Guest::lease()?;
    let walk = slow(&guest)?;

    let ended = Trimtab::of(&guest)?.trim(&[guest.name(), "--pace", "gentle", "--deadline", "4s"])?;

    let document = checked(&ended)?;
    ensure!(document.only_vm()?["stop"] == "deadline", "{document}");
    let said = document.disk(&walk.disk)?;
    ensure!(said["because"].as_str().is_some_and(|why| why.contains("deadline")), "{said:#}");
    ensure!(document.filesystem(&walk.mount)?["state"] == "partial", "{document}");
    workers_gone(&guest, Duration::ZERO)?;
    trim_all(&walk)?;
    Ok(())
}

#[test]
fn a_controller_that_is_killed_leaves_no_run_behind() -> Result<()> {
    let guest = Guest::lease()?;
    let walk = slow(&guest)?;
    let running = in_the_middle(&guest)?;
    running.signal(Signal::SIGKILL)?;
    ensure!(running.end()?.exit == 137, "it was not killed");

    // The linger of 5 s and, were the end of its connection not seen, keepalive and its answer: 35 s; and one discard.
    let took = workers_gone(&guest, Duration::from_secs(40))?;

    ensure!(took > Duration::from_secs(2), "it did not linger: {took:?}");
    let sent = guest.discarded_bytes(&walk.disk)?;
    std::thread::sleep(Duration::from_secs(2));
    ensure!(guest.discarded_bytes(&walk.disk)? == sent, "discards still go out");
    trim_all(&walk)?;
    Ok(())
}

#[test]
fn an_agent_that_dies_is_lost_and_the_hosts_figures_are_there() -> Result<()> {
    let guest = Guest::lease()?;
    let walk = slow(&guest)?;
    let running = in_the_middle(&guest)?;
    guest.sh("kill -KILL $(cat /run/agent.pid)")?;
    // Its worker goes with it.
    workers_gone(&guest, Duration::from_secs(10))?;

    let ended = running.end()?;

    ensure!(ended.took < Duration::from_secs(60), "it took {:?}", ended.took);
    let (document, _) = trouble(&ended, 32, &["agent_lost"])?;
    let said = document.disk(&walk.disk)?;
    ensure!(ruling(said) == "failed by rule 1", "{said:#}");
    ensure!(said["freed_bytes"].is_i64() && said["arrived_bytes"].is_u64(), "{said:#}");
    ensure!(said["sent_bytes"].is_null(), "nobody knows what the guest sent: {said:#}");
    guest.start_agent("")?;
    trim_all(&walk)?;
    Ok(())
}

#[test]
fn a_guest_that_boots_again_in_the_middle_is_lost_and_the_hosts_figures_are_there() -> Result<()> {
    let mut guest = Guest::lease()?;
    // A caller that gives up on a guest without a vsock driver wedges vhost-device-vsock 0.3.0 for good.
    guest.spoil();
    let walk = slow(&guest)?;
    let running = in_the_middle(&guest)?;
    guest.limit_writes(&walk.disk, 0)?;
    guest.reboot()?;

    let ended = running.end()?;

    ensure!(ended.took < Duration::from_secs(90), "it took {:?}", ended.took);
    let (document, _) = trouble(&ended, 32, &["guest_rebooted", "agent_lost"])?;
    let said = document.disk(&walk.disk)?;
    ensure!(ruling(said) == "failed by rule 1", "{said:#}");
    ensure!(said["freed_bytes"].is_i64() && said["arrived_bytes"].is_u64(), "{said:#}");
    ensure!(said["sent_bytes"].is_null(), "nobody knows what the guest sent: {said:#}");
    // What was trimmed until then has harmed nothing.
    let walk = Walk::mounted(&guest, Kind::Ext4, guest.disk("slow")?)?;
    walk.unmount_and_check()
}

#[test]
fn a_guest_that_is_paused_in_the_middle_is_not_called_again() -> Result<()> {
    let mut guest = Guest::lease()?;
    // The end of a connection to a paused guest wedges vhost-device-vsock 0.3.0 for good.
    guest.spoil();
    let walk = slow(&guest)?;
    let running = in_the_middle(&guest)?;
    guest.pause()?;

    let ended = running.end()?;

    guest.cont()?;
    // Its silence is noticed by keepalive: 10 s and 20 s.
    ensure!(ended.took < Duration::from_secs(60), "it took {:?}", ended.took);
    let (document, error) = trouble(&ended, 32, &["vm_paused"])?;
    ensure!(error["hint"].as_str().is_some_and(|hint| hint.contains("cont")), "{error:#}");
    ensure!(document.disk(&walk.disk)?["freed_bytes"].is_i64(), "{document}");
    // The agent finds out by itself that nobody listens: its own keepalive, then the linger.
    workers_gone(&guest, Duration::from_secs(40))?;
    Ok(())
}

#[test]
fn a_paused_guest_is_not_called() -> Result<()> {
    let guest = Guest::lease()?;
    let walk = Walk::add(&guest, Kind::Ext4, DiskSpec::new("slow", GIB).throttled())?;
    walk.write_and_delete(DELETED_MIB)?;
    guest.start_agent("")?;
    guest.pause()?;

    let ended = Trimtab::of(&guest)?.trim(&[guest.name()])?;

    guest.cont()?;
    trouble(&ended, 32, &["vm_paused"])?;
    ensure!(ended.took < Duration::from_secs(5), "it took {:?}: was the guest called?", ended.took);
    let document = trim_all(&walk)?;
    ensure!(ruling(document.disk(&walk.disk)?) == "reclaimed by rule 5", "{document}");
    Ok(())
}

#[test]
fn an_image_that_vanishes_is_no_success() -> Result<()> {
    let guest = Guest::lease()?;
    let walk = slow(&guest)?;
    let running = in_the_middle(&guest)?;
    let elsewhere = walk.disk.image.with_extension("elsewhere");
    std::fs::rename(&walk.disk.image, &elsewhere)?;
    guest.limit_writes(&walk.disk, 0)?;

    let ended = running.end()?;

    std::fs::rename(&elsewhere, &walk.disk.image)?;
    let document = checked(&ended)?;
    ensure!(ended.exit == 32, "exit {}: {document}", ended.exit);
    let said = document.disk(&walk.disk)?;
    ensure!(ruling(said) == "failed by rule 1", "{said:#}");
    let image = walk.disk.image.to_str().context("not UTF-8")?;
    ensure!(said["because"].as_str().is_some_and(|why| why.contains(image)), "{said:#}");
    ensure!(said["freed_bytes"].is_null() && said["allocated_after_bytes"].is_null(), "{said:#}");
    ensure!(document.only_vm()?["stop"] == "done", "the guest's run was not disturbed: {document}");
    trim_all(&walk)?;
    Ok(())
}
