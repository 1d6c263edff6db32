//! What was seen of VMs → a plan: who takes part, in which order, and who not and why. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{LeftOut, Plan, PlanDatastore, PlanDisk, PlanVm, Reason};
use crate::{
    campaign::{
        account::VmRow,
        limits::Limits,
        order::{self, Gain},
        window::Window,
    },
    config::datastores::DatastoreNames,
    layers::{self, Finding, words::size},
    model::{
        trouble::{Kind, Trouble},
        vm::Vm,
    },
    trim::look::{DiskLook, Look},
};

/// Less than this in a disk, or than a hundredth of what it occupies, is noise: the verdict's own threshold.
const NOISE_BYTES: u64 = 16 << 20;

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
}

/// What is known here beside the VMs.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// This host's id.
    pub host: &'a str,
    /// When the VMs were looked at.
    pub now: Timestamp,
    /// What datastores are called.
    pub datastores: &'a DatastoreNames,
    /// What the store remembers of VMs; nothing where there is no store yet.
    pub remembered: &'a [VmRow],
}

/// A VM with what was seen of it.
pub type Seen = (Vm, Result<Look, Trouble>);

/// Makes the plan. `excluded` were not looked at.
pub fn build(seen: &[Seen], excluded: &[Vm], wishes: &Wishes, known: &Known<'_>) -> Plan {
    let mut left_out: Vec<LeftOut> = Vec::new();
    let mut taken: Vec<(PlanVm, u128)> = Vec::new();
    let mut datastores: BTreeMap<String, PlanDatastore> = BTreeMap::new();
    for (vm, result) in seen {
        match take(vm, result, wishes, known) {
            Ok((planned, look)) => {
                let gains: Vec<Gain> = look.disks.iter().map(|disk| gain(look, disk)).collect();
                for disk in &look.disks {
                    add_datastore(&mut datastores, look, disk, known.datastores);
                }
                taken.push((planned, order::benefit(&gains)));
            }
            Err(why) => left_out.push(why),
        }
    }
    left_out.extend(excluded.iter().map(|vm| left(vm, Reason::Excluded, "--exclude says so")));
    left_out.sort_by(|one, other| (one.reason, &one.name).cmp(&(other.reason, &other.name)));
    order::by_benefit(&mut taken, |(_, benefit)| *benefit, |(vm, _)| &vm.name);
    Plan {
        name: wishes.name.clone(),
        host: known.host.to_owned(),
        surveyed: known.now,
        limits: wishes.limits.clone(),
        windows: wishes.windows.clone(),
        window_weeks: wishes.window_weeks,
        datastores: datastores.into_values().collect(),
        vms: taken.into_iter().map(|(vm, _)| vm).collect(),
        left_out,
    }
}

/// Adds a disk to what its datastore is expected to gain.
fn add_datastore(
    datastores: &mut BTreeMap<String, PlanDatastore>,
    look: &Look,
    disk: &DiskLook,
    names: &DatastoreNames,
) {
    let Some(store) = disk.datastore() else { return };
    let name = names.of(store);
    let known = datastores.entry(name.clone()).or_insert_with(|| PlanDatastore {
        name,
        path: store.path.display().to_string(),
        size_bytes: store.size_bytes,
        free_bytes: store.free_bytes,
        expected_bytes: 0,
    });
    if let (Some(slack), Standing::Goes) = (look.slack(disk), standing(look, disk)) {
        known.expected_bytes = known.expected_bytes.saturating_add(slack.min_bytes);
    }
}

fn left(vm: &Vm, reason: Reason, text: impl Into<String>) -> LeftOut {
    LeftOut { name: vm.name.clone(), reason, text: text.into(), paste: None }
}

/// A VM's place in the plan, or why it has none.
fn take<'s>(
    vm: &Vm,
    result: &'s Result<Look, Trouble>,
    wishes: &Wishes,
    known: &Known<'_>,
) -> Result<(PlanVm, &'s Look), LeftOut> {
    let look = result.as_ref().map_err(|trouble| no_answer(vm, trouble))?;
    let remembered = remembered(vm, known);
    if let Some(row) =
        remembered.filter(|row| row.failed_in_a_row >= MOST_FAILED && !wishes.include_set_aside)
    {
        let text = format!("it has failed in {} campaigns in a row", row.failed_in_a_row);
        let mut out = left(vm, Reason::SetAside, text);
        out.paste = command("doctor", vm, "");
        return Err(out);
    }
    match &look.guest {
        // It may go on by the time of its turn, and the host's side says what is in the way all the same.
        Err(trouble) if trouble.kind == Kind::VmPaused => {}
        Err(trouble) => return Err(no_answer(vm, trouble)),
        Ok(_) => {}
    }
    let disks: Vec<(&DiskLook, Standing)> =
        look.disks.iter().map(|disk| (disk, standing(look, disk))).collect();
    let goes: Vec<&DiskLook> = disks
        .iter()
        .filter(|(_, standing)| matches!(standing, Standing::Goes))
        .map(|(disk, _)| *disk)
        .collect();
    if goes.is_empty() {
        return Err(nothing_goes(vm, look, &disks));
    }
    if goes.iter().all(|disk| has_nothing_to_free(look, disk)) {
        return Err(left(vm, Reason::NothingToFree, little_to_free(look, &goes)));
    }
    let slacks = || goes.iter().map(|disk| look.slack(disk));
    let mut notes: Vec<String> =
        disks.iter().filter_map(|(disk, standing)| standing.note(&name(look, disk))).collect();
    notes.extend(look.guest.as_ref().err().map(|trouble| trouble.text.clone()));
    let planned = PlanVm {
        name: vm.name.clone(),
        uuid: uuid(vm),
        expected_bytes: slacks().flatten().map(|slack| slack.min_bytes).fold(0, u64::saturating_add),
        at_most_bytes: slacks()
            .map(|slack| slack.map(|slack| slack.max_bytes))
            .try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?))),
        first: remembered.is_none_or(|row| row.proven.is_none()),
        notes,
        disks: look.disks.iter().filter_map(|disk| planned_disk(disk, known.datastores)).collect(),
        line: 0,
    };
    Ok((planned, look))
}

/// Why a plan would leave this VM out by what its host says of its disks; `None`: at least one would be trimmed. Its guest
/// need not have been asked.
pub fn in_the_way(vm: &Vm, look: &Look) -> Option<LeftOut> {
    let disks: Vec<(&DiskLook, Standing)> =
        look.disks.iter().map(|disk| (disk, standing(look, disk))).collect();
    let goes = disks.iter().any(|(_, standing)| matches!(standing, Standing::Goes));
    (!goes).then(|| nothing_goes(vm, look, &disks))
}

/// What stands before a disk.
enum Standing<'a> {
    /// Nothing that will not pass by itself.
    Goes,
    /// Its image is none of this host's, or could not be read.
    NoImage(&'a str),
    /// A guard.
    Guarded(String),
    /// A layer cuts.
    Cut(Finding),
}

impl Standing<'_> {
    fn text(&self) -> Option<String> {
        match self {
            Self::Goes => None,
            Self::NoImage(why) => Some((*why).to_owned()),
            Self::Guarded(why) => Some(why.clone()),
            Self::Cut(cut) => Some(format!("{}: {}", cut.layer.as_str(), cut.text)),
        }
    }

    fn note(&self, disk: &str) -> Option<String> {
        Some(format!("{disk} stays as it is: {}", self.text()?))
    }
}

fn standing<'a>(look: &Look, disk: &'a DiskLook) -> Standing<'a> {
    if let Some(trouble) = &disk.image_trouble {
        return Standing::NoImage(&trouble.text);
    }
    if disk.image.is_none() {
        return Standing::NoImage("its image is not a file or device of this host");
    }
    let guard = layers::guard(&look.facts(disk), &[]).filter(|guard| !guard.passes_by_itself);
    if let Some(guard) = guard {
        return Standing::Guarded(format!("{}: {}", guard.layer.as_str(), guard.text));
    }
    match layers::known_cut(&look.findings(disk)) {
        Some(cut) => Standing::Cut(cut.clone()),
        None => Standing::Goes,
    }
}

/// A VM all of whose disks are held back: the reason that can be mended first.
fn nothing_goes(vm: &Vm, look: &Look, disks: &[(&DiskLook, Standing<'_>)]) -> LeftOut {
    let find = |is: fn(&Standing<'_>) -> bool| disks.iter().find(|(_, standing)| is(standing));
    let cut = find(|standing| matches!(standing, Standing::Cut(_))).map(|found| (Reason::Cut, found));
    let guarded =
        || find(|standing| matches!(standing, Standing::Guarded(_))).map(|found| (Reason::Guarded, found));
    let unread = || disks.first().map(|found| (Reason::NoImage, found));
    let Some((reason, (disk, standing))) = cut.or_else(guarded).or_else(unread) else {
        return left(vm, Reason::NoImage, "it has no disk");
    };
    let mut out = left(vm, reason, format!("{}: {}", name(look, disk), standing.text().unwrap_or_default()));
    let mends =
        matches!(standing, Standing::Cut(cut) if cut.layer == layers::Layer::Drive && vm.domain.is_some());
    out.paste = command("doctor", vm, if mends { " --fix" } else { "" });
    out
}

fn no_answer(vm: &Vm, trouble: &Trouble) -> LeftOut {
    let reason = match trouble.kind {
        Kind::VmOff => Reason::Off,
        Kind::NoAgent | Kind::NoLink => Reason::NoAgent,
        _ => Reason::NoAnswer,
    };
    let mut out = left(vm, reason, trouble.text.clone());
    if reason != Reason::Off {
        out.paste = command("doctor", vm, "");
    }
    out
}

/// A line to paste; none where the name cannot stand in one.
fn command(verb: &str, vm: &Vm, options: &str) -> Option<String> {
    Some(format!("trimtab {verb} {}{options}", shlex::try_quote(&vm.name).ok()?))
}

/// "76.0 MiB are allocated, and its guest uses 63.1 MiB".
fn little_to_free(look: &Look, disks: &[&DiskLook]) -> String {
    let sum = |bytes: &dyn Fn(&DiskLook) -> Option<u64>| {
        size(disks.iter().filter_map(|disk| bytes(disk)).fold(0, u64::saturating_add))
    };
    let allocated = sum(&|disk| disk.image.as_ref()?.allocated_bytes());
    let used = sum(&|disk| look.used_bytes(disk));
    format!("{allocated} are allocated, and its guest uses {used}")
}

fn has_nothing_to_free(look: &Look, disk: &DiskLook) -> bool {
    let allocated = disk.image.as_ref().and_then(|image| image.allocated_bytes()).unwrap_or(0);
    let noise = NOISE_BYTES.max(allocated.checked_div(100).unwrap_or(0));
    look.slack(disk).is_some_and(|slack| slack.max_bytes < noise)
}

fn gain(look: &Look, disk: &DiskLook) -> Gain {
    let Some(slack) = look.slack(disk).filter(|_| matches!(standing(look, disk), Standing::Goes)) else {
        return Gain::default();
    };
    let store = disk.datastore();
    let half = |bytes: u64| bytes.checked_div(2).unwrap_or(0);
    Gain {
        // The middle of the interval.
        slack_bytes: half(slack.min_bytes).saturating_add(half(slack.max_bytes)),
        size_bytes: store.map_or(0, |store| store.size_bytes),
        free_bytes: store.map_or(0, |store| store.free_bytes),
    }
}

/// A disk as a plan has it; `None` where it has no image on this host that can be read.
pub fn planned_disk(disk: &DiskLook, names: &DatastoreNames) -> Option<PlanDisk> {
    Some(PlanDisk {
        image: disk.host.image.as_ref()?.path.display().to_string(),
        inode: disk.image.as_ref()?.allocation.file.1,
        datastore: disk.datastore().map(|store| names.of(store)),
    })
}

fn remembered<'a>(vm: &Vm, known: &Known<'a>) -> Option<&'a VmRow> {
    let uuid = uuid(vm);
    known
        .remembered
        .iter()
        .find(|row| row.vm.host == known.host && row.vm.name == vm.name && row.vm.uuid == uuid)
}

fn uuid(vm: &Vm) -> Option<String> {
    vm.domain.as_ref().map(|domain| domain.id.uuid.clone())
}

/// The guest's name of a disk, or the host's.
fn name(look: &Look, disk: &DiskLook) -> String {
    look.guest_disk(disk).map_or(disk.host.name(), |device| &device.name).to_owned()
}

#[cfg(test)]
mod tests;
