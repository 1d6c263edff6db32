//! What was seen of a VM → what a plan needs to know of it: what its disks give back, or what is in the way of all of them.
//! Pure.

use crate::{
    campaign::{
        plan::Reason,
        seen::{Out, SeenDatastore, SeenDisk, SeenImage, SeenVm, known_as},
    },
    config::datastores::DatastoreNames,
    layers::{self, Finding, words::size},
    model::{
        disk::VmState,
        image::Datastore,
        trouble::{Kind, Trouble},
        vm::Vm,
    },
    trim::look::{DiskLook, Look},
};

/// Less than this in a disk, or than a hundredth of what it occupies, is noise: the verdict's own threshold.
const NOISE_BYTES: u64 = 16 << 20;

/// What a plan needs of a VM of this host, and the datastores that its images lie on.
pub fn assess(
    host: &str,
    vm: &Vm,
    result: &Result<Look, Trouble>,
    names: &DatastoreNames,
) -> (SeenVm, Vec<SeenDatastore>) {
    let mut seen = SeenVm {
        name: vm.name.clone(),
        uuid: vm.uuid().map(str::to_owned),
        labels: vm.labels.clone(),
        is_on: is_on(vm, result),
        disks: Vec::new(),
        out: None,
        notes: Vec::new(),
    };
    let look = match result {
        Ok(look) => look,
        Err(trouble) => {
            seen.out = Some(no_answer(vm, trouble));
            return (seen, Vec::new());
        }
    };
    let disks: Vec<(&DiskLook, Standing)> =
        look.disks.iter().map(|disk| (disk, standing(look, disk))).collect();
    seen.disks = disks.iter().map(|(disk, standing)| seen_disk(host, look, disk, standing, names)).collect();
    seen.notes = disks.iter().filter_map(|(disk, standing)| standing.note(&name(look, disk))).collect();
    seen.notes.extend(look.guest.as_ref().err().map(|trouble| trouble.text.clone()));
    seen.out = match &look.guest {
        // It may go on by the time of its turn, and the host's side says what is in the way all the same.
        Err(trouble) if trouble.kind != Kind::VmPaused => Some(no_answer(vm, trouble)),
        _ => out(vm, look, &disks),
    };
    (seen, look.disks.iter().filter_map(|disk| datastore(disk, names)).collect())
}

/// Why a plan would leave this VM out by what its host says of its disks; `None`: at least one would be trimmed. Its guest
/// need not have been asked.
pub fn in_the_way(vm: &Vm, look: &Look) -> Option<Out> {
    let disks: Vec<(&DiskLook, Standing)> =
        look.disks.iter().map(|disk| (disk, standing(look, disk))).collect();
    let goes = disks.iter().any(|(_, standing)| matches!(standing, Standing::Goes));
    (!goes).then(|| nothing_goes(vm, look, &disks))
}

/// An image as it is known again; `None` where the disk has none on this host that can be read.
pub fn image(host: &str, disk: &DiskLook, names: &DatastoreNames) -> Option<SeenImage> {
    let path = &disk.host.image.as_ref()?.path;
    let inode = disk.image.as_ref()?.allocation.file.1;
    Some(SeenImage {
        known_as: known(host, disk, |store| names.of(store)),
        path: path.display().to_string(),
        inode,
        datastore: disk.datastore().map(|store| names.of(store)),
    })
}

/// Whether this host has it: whoever does not know says yes, since a VM that runs must not be taken for another's.
fn is_on(vm: &Vm, result: &Result<Look, Trouble>) -> bool {
    let told = match result {
        Ok(look) => look.vm.state != Some(VmState::Off),
        Err(trouble) => trouble.kind != Kind::VmOff,
    };
    told && vm.domain.as_ref().is_none_or(|domain| domain.state != Some(VmState::Off))
}

/// Why none of its disks is worth a trim.
fn out(vm: &Vm, look: &Look, disks: &[(&DiskLook, Standing<'_>)]) -> Option<Out> {
    let goes = disks.iter().filter(|(_, standing)| matches!(standing, Standing::Goes));
    let goes: Vec<&DiskLook> = goes.map(|(disk, _)| *disk).collect();
    if goes.is_empty() {
        return Some(nothing_goes(vm, look, disks));
    }
    let nothing_to_free = goes.iter().all(|disk| has_nothing_to_free(look, disk));
    nothing_to_free.then(|| left(Reason::NothingToFree, little_to_free(look, &goes)))
}

/// What the image of a disk is known by on other hosts.
pub fn known(host: &str, disk: &DiskLook, name: impl Fn(&Datastore) -> String) -> Vec<String> {
    let (Some(image), Some(facts), Some(store)) = (&disk.host.image, &disk.image, disk.datastore()) else {
        return Vec::new();
    };
    known_as(host, (&store.identity, &name(store)), &image.path, facts.allocation.file.1)
}

fn seen_disk(
    host: &str,
    look: &Look,
    disk: &DiskLook,
    standing: &Standing<'_>,
    names: &DatastoreNames,
) -> SeenDisk {
    SeenDisk {
        name: name(look, disk),
        image: image(host, disk, names),
        slack: look.slack(disk),
        allocated_bytes: disk.image.as_ref().and_then(|image| image.allocated_bytes()),
        used_bytes: look.used_bytes(disk),
        goes: matches!(standing, Standing::Goes),
    }
}

fn datastore(disk: &DiskLook, names: &DatastoreNames) -> Option<SeenDatastore> {
    let store = disk.datastore()?;
    Some(SeenDatastore {
        name: names.of(store),
        identity: store.identity.clone(),
        path: store.path.display().to_string(),
        size_bytes: store.size_bytes,
        free_bytes: store.free_bytes,
    })
}

fn left(reason: Reason, text: impl Into<String>) -> Out {
    Out { reason, text: text.into(), paste: None }
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
fn nothing_goes(vm: &Vm, look: &Look, disks: &[(&DiskLook, Standing<'_>)]) -> Out {
    let find = |is: fn(&Standing<'_>) -> bool| disks.iter().find(|(_, standing)| is(standing));
    let cut = find(|standing| matches!(standing, Standing::Cut(_))).map(|found| (Reason::Cut, found));
    let guarded =
        || find(|standing| matches!(standing, Standing::Guarded(_))).map(|found| (Reason::Guarded, found));
    let unread = || disks.first().map(|found| (Reason::NoImage, found));
    let Some((reason, (disk, standing))) = cut.or_else(guarded).or_else(unread) else {
        return left(Reason::NoImage, "it has no disk");
    };
    let mut out = left(reason, format!("{}: {}", name(look, disk), standing.text().unwrap_or_default()));
    let mends =
        matches!(standing, Standing::Cut(cut) if cut.layer == layers::Layer::Drive && vm.domain.is_some());
    out.paste = command("doctor", vm, if mends { " --fix" } else { "" });
    out
}

fn no_answer(vm: &Vm, trouble: &Trouble) -> Out {
    let reason = match trouble.kind {
        Kind::VmOff => Reason::Off,
        Kind::NoAgent | Kind::NoLink => Reason::NoAgent,
        _ => Reason::NoAnswer,
    };
    let mut out = left(reason, trouble.text.clone());
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

/// The guest's name of a disk, or the host's.
fn name(look: &Look, disk: &DiskLook) -> String {
    look.guest_disk(disk).map_or(disk.host.name(), |device| &device.name).to_owned()
}
