//! What hosts have seen of their VMs → a plan: who takes part, in which order, and who not and why. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    LeftOut, Plan, PlanDatastore, PlanDisk, PlanHost, PlanVm, Reason,
    shared::Shared,
    spared::{Spared, why_spared},
};
use crate::campaign::{
    account::VmRow,
    limits::Limits,
    order::{self, Gain},
    run::VmKey,
    seen::{SeenDatastore, SeenDisk, SeenVm},
    window::Window,
};

/// Campaigns in a row in which a VM has failed, after which it is set aside.
const MOST_FAILED: u32 = 2;

/// What a person says of a plan.
#[derive(Clone, PartialEq, Debug)]
pub struct Wishes {
    /// What the campaign is called.
    pub name: String,
    /// What it may do.
    pub limits: Limits,
    /// When.
    pub windows: Vec<Window>,
    /// How far ahead.
    pub window_weeks: u16,
    /// VMs that have failed in two campaigns running take part all the same.
    pub include_set_aside: bool,
    /// VMs that were named: none of them is spared.
    pub named: BTreeSet<String>,
}

/// What is known here beside the VMs.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// When the VMs were looked at, or their hosts' word was read.
    pub now: Timestamp,
    /// What the store remembers of VMs; nothing where there is no store yet.
    pub remembered: &'a [VmRow],
    /// VMs that the store or the controller run in.
    pub spared: &'a [Spared],
}

/// A host and its VMs.
#[derive(Clone, PartialEq, Debug)]
pub struct HostView {
    /// Its machine id, what it is called and when it was so.
    pub host: PlanHost,
    /// Where its images lie.
    pub datastores: Vec<SeenDatastore>,
    /// The VMs that a person means.
    pub vms: Vec<SeenVm>,
    /// Its other VMs: who shares an image with one of them matters all the same.
    pub beside: Vec<SeenVm>,
}

/// Makes the plan. `left_out` is who was never asked about: what is excluded, and what hosts cannot answer for. `is_fleet`:
/// of all hosts that published, else of this one.
pub fn build(
    hosts: &[HostView],
    is_fleet: bool,
    mut left_out: Vec<LeftOut>,
    wishes: &Wishes,
    known: &Known<'_>,
) -> Plan {
    let mut taken: Vec<(PlanVm, u128)> = Vec::new();
    let mut datastores: BTreeMap<String, PlanDatastore> = BTreeMap::new();
    let shared = Shared::of(hosts);
    for view in hosts {
        let sight = Sight { view, shared: &shared, wishes, known };
        for vm in &view.vms {
            match sight.take(vm) {
                Ok(planned) => {
                    let gains: Vec<Gain> = vm.going().map(|disk| sight.gain(disk)).collect();
                    vm.disks.iter().for_each(|disk| sight.add_datastore(&mut datastores, disk));
                    taken.push((planned, order::benefit(&gains)));
                }
                Err(why) => left_out.push(why),
            }
        }
    }
    left_out.sort_by(|one, other| {
        (one.reason, &one.name, &one.host).cmp(&(other.reason, &other.name, &other.host))
    });
    // Equal names are in the order of their hosts.
    order::by_benefit(&mut taken, |(_, benefit)| *benefit, |(vm, _)| &vm.name);
    Plan {
        name: wishes.name.clone(),
        hosts: hosts.iter().map(|view| view.host.clone()).collect(),
        is_fleet,
        surveyed: known.now,
        limits: wishes.limits.clone(),
        windows: wishes.windows.clone(),
        window_weeks: wishes.window_weeks,
        datastores: datastores.into_values().collect(),
        vms: taken.into_iter().map(|(vm, _)| vm).collect(),
        left_out,
    }
}

/// One host, with all that its VMs are judged by.
struct Sight<'a> {
    view: &'a HostView,
    shared: &'a Shared,
    wishes: &'a Wishes,
    known: &'a Known<'a>,
}

impl Sight<'_> {
    /// A VM's place in the plan, or why it has none.
    fn take(&self, vm: &SeenVm) -> Result<PlanVm, LeftOut> {
        let host = &self.view.host.id;
        let left =
            |reason, text, paste| LeftOut { name: vm.name.clone(), host: host.clone(), reason, text, paste };
        let remembered = self.remembered(vm);
        let failed = remembered.map_or(0, |row| row.failed_in_a_row);
        if failed >= MOST_FAILED && !self.wishes.include_set_aside {
            let doctor = shlex::try_quote(&vm.name).ok().map(|name| format!("trimtab doctor {name}"));
            let text = format!("it has failed in {failed} campaigns in a row");
            return Err(left(Reason::SetAside, text, doctor));
        }
        if let Some(out) = &vm.out {
            return Err(left(out.reason, out.text.clone(), out.paste.clone()));
        }
        if let Some(text) = self.shared.with_others(self.view, vm) {
            return Err(left(Reason::Guarded, text, None));
        }
        let is_named = self.wishes.named.contains(&vm.name);
        if let Some(why) = why_spared(self.known.spared, vm).filter(|_| !is_named) {
            return Err(left(Reason::Spared, format!("{why}; name it to have it trimmed"), None));
        }
        let slacks = || vm.going().map(|disk| disk.slack);
        Ok(PlanVm {
            name: vm.name.clone(),
            host: host.clone(),
            uuid: vm.uuid.clone(),
            expected_bytes: slacks().flatten().map(|slack| slack.min_bytes).fold(0, u64::saturating_add),
            at_most_bytes: slacks()
                .map(|slack| slack.map(|slack| slack.max_bytes))
                .try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?))),
            first: remembered.is_none_or(|row| row.proven.is_none()),
            notes: vm.notes.clone(),
            disks: planned_disks(vm),
            line: 0,
        })
    }

    /// By its uuid it is known again wherever it runs.
    fn remembered(&self, vm: &SeenVm) -> Option<&VmRow> {
        let key = VmKey { host: self.view.host.id.clone(), name: vm.name.clone(), uuid: vm.uuid.clone() };
        self.known.remembered.iter().find(|row| match &key.uuid {
            Some(_) => row.vm.uuid == key.uuid,
            None => row.vm == key,
        })
    }

    fn datastore(&self, disk: &SeenDisk) -> Option<&SeenDatastore> {
        let name = disk.image.as_ref()?.datastore.as_ref()?;
        self.view.datastores.iter().find(|store| store.name == *name)
    }

    fn gain(&self, disk: &SeenDisk) -> Gain {
        let Some(slack) = disk.slack else { return Gain::default() };
        let store = self.datastore(disk);
        let half = |bytes: u64| bytes.checked_div(2).unwrap_or(0);
        Gain {
            // The middle of the interval.
            slack_bytes: half(slack.min_bytes).saturating_add(half(slack.max_bytes)),
            size_bytes: store.map_or(0, |store| store.size_bytes),
            free_bytes: store.map_or(0, |store| store.free_bytes),
        }
    }

    /// Adds a disk to what its datastore is expected to gain. Several hosts may have the datastore: it is there once.
    fn add_datastore(&self, datastores: &mut BTreeMap<String, PlanDatastore>, disk: &SeenDisk) {
        let Some(store) = self.datastore(disk) else { return };
        let known = datastores.entry(store.name.clone()).or_insert_with(|| PlanDatastore {
            name: store.name.clone(),
            path: store.path.clone(),
            size_bytes: store.size_bytes,
            free_bytes: store.free_bytes,
            expected_bytes: 0,
        });
        if let Some(slack) = disk.slack.filter(|_| disk.goes) {
            known.expected_bytes = known.expected_bytes.saturating_add(slack.min_bytes);
        }
    }
}

/// A VM's disks with an image that can be read.
pub fn planned_disks(vm: &SeenVm) -> Vec<PlanDisk> {
    vm.disks.iter().filter_map(|disk| disk.image.as_ref()).map(PlanDisk::from).collect()
}

#[cfg(test)]
mod tests;
