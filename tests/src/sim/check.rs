//! What must hold of a campaign, seen from outside: by what the guests saw and what the storage lost.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use tokio::time::Instant;
use trimtab_controller::campaign::{account::RunRow, limits::Limits};

use super::{
    World,
    log::Entry,
    play::{How, Turn},
};

/// Caps, one trim at a time of each VM, and one first trim at a time on each datastore, at each moment.
///
/// # Errors
/// What was exceeded, when.
pub fn caps(entries: &[Entry], limits: &Limits) -> Result<()> {
    let all = |_: &Entry| vec!["all".to_owned()];
    most(entries, all, |_| limits.at_once.get())?;
    most(
        entries,
        |entry| entry.datastores.clone(),
        |name| limits.datastores.get(name).unwrap_or(&limits.per_datastore).get(),
    )?;
    most(entries, |entry| vec![entry.vm.clone()], |_| 1)?;
    let first = |entry: &Entry| if entry.is_first { entry.datastores.clone() } else { Vec::new() };
    most(entries, first, |_| 1)
}

/// At no moment are there more than `cap` of what `of` tells of.
fn most(entries: &[Entry], of: impl Fn(&Entry) -> Vec<String>, cap: impl Fn(&str) -> u32) -> Result<()> {
    let mut moments: Vec<(Instant, i32, String)> = Vec::new();
    for entry in entries {
        for name in of(entry) {
            moments.push((entry.began, 1, name.clone()));
            moments.push((entry.ended, -1, name));
        }
    }
    // What ends in the moment in which another begins makes room for it.
    moments.sort_by_key(|(at, step, _)| (*at, *step));
    let mut now: BTreeMap<String, i32> = BTreeMap::new();
    for (_, step, name) in moments {
        let count = now.entry(name.clone()).or_default();
        *count += step;
        let cap = i32::try_from(cap(&name)).unwrap_or(i32::MAX);
        ensure!(*count <= cap, "{name}: {count} at once, and {cap} are allowed");
    }
    Ok(())
}

/// What the report says came back is what the storage lost, VM by VM and together.
///
/// # Errors
/// Whose figures differ.
pub fn bytes(world: &World, runs: &[RunRow]) -> Result<()> {
    for vm in &world.vms {
        let told: i64 =
            runs.iter().filter(|run| run.vm.name == vm.spec.name).map(|run| run.freed_bytes).sum();
        let lost = vm.freed_bytes();
        ensure!(
            told == lost,
            "{}: the report says {told}, its storage lost {lost}: {:?}",
            vm.spec.name,
            vm.spec
        );
    }
    let told: i64 = runs.iter().map(|run| run.freed_bytes).sum();
    ensure!(told == world.freed_bytes(), "{told} are told, {} were freed", world.freed_bytes());
    Ok(())
}

/// The least time in which these turns could have been had under these limits: what each cap must let through one after
/// the other, and the longest turn.
pub fn lower_bound(world: &World, turns: &[Turn], limits: &Limits) -> Duration {
    let took = |turn: &Turn| turn.ended.map_or(Duration::ZERO, |ended| ended - turn.began);
    let mut by_store: BTreeMap<&str, (Duration, Duration)> = BTreeMap::new();
    let (mut all, mut longest) = (Duration::ZERO, Duration::ZERO);
    for turn in turns {
        all += took(turn);
        longest = longest.max(took(turn));
        let Some(vm) = world.vms.iter().find(|vm| vm.spec.name == turn.vm) else { continue };
        for store in &vm.spec.datastores {
            let (sum, firsts) = by_store.entry(store).or_default();
            *sum += took(turn);
            if vm.spec.is_first {
                *firsts += took(turn);
            }
        }
    }
    let cap = |store: &str| limits.datastores.get(store).unwrap_or(&limits.per_datastore).get();
    let stores = by_store.iter().map(|(store, (sum, firsts))| (*sum / cap(store)).max(*firsts));
    stores.chain([all / limits.at_once.get(), longest]).max().unwrap_or_default()
}

/// How many turns ended in each way.
pub fn ways(turns: &[Turn]) -> BTreeMap<String, usize> {
    let mut ways = BTreeMap::new();
    for turn in turns {
        let way = match turn.how {
            Some(How::Ended(class)) => format!("ended {class:?}"),
            Some(How::PutBack(why)) => format!("put back {why:?}"),
            Some(How::Dropped) => "dropped".to_owned(),
            None => "still at it".to_owned(),
        };
        *ways.entry(way).or_default() += 1;
    }
    ways
}
