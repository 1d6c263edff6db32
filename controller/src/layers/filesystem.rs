//! The guest's filesystems on the disk, and the guest's own layers between them and it, as the agent's skips name
//! them.

use trimtab_proto::words::{DeviceKind, SkipReason};

use super::{
    DiskFacts, Finding, Guard, Layer, State,
    stack::{OnDisk, filesystems_on},
    words,
};
use crate::model::{
    disk::DriveDiscard,
    guest::{Device, GuestSurvey, Skip},
    image::Format,
};

pub(super) fn findings(facts: &DiskFacts<'_>) -> Vec<Finding> {
    let Some((survey, disk)) = facts.paired() else { return Vec::new() };
    let mut found: Vec<Finding> = filesystems_on(survey, &disk.id)
        .map(|on| match &on.filesystem.skip {
            None => open(on),
            Some(skip) => skipped(survey, disk, on, skip),
        })
        .collect();
    // One filesystem that can be trimmed is a way through the guest; a cut beside it only holds its own part.
    if found.iter().any(|finding| finding.state == State::Open) {
        for finding in found.iter_mut().filter(|finding| finding.state == State::Cut) {
            finding.state = State::Holds;
        }
    }
    if found.is_empty() {
        found.push(
            Finding::new(Layer::Filesystem, State::Note, "the guest has no filesystem of it mounted")
                .short("nothing mounted"),
        );
    }
    found.extend(damaged(facts).map(|(mount, errors)| {
        let times = if errors == 1 { "an error".to_owned() } else { format!("{errors} errors") };
        Finding::new(
            Layer::Filesystem,
            State::Note,
            format!("{mount} has {times}: the guest's kernel counted"),
        )
        .short("filesystem errors")
        .fix("in the guest, check it (fsck, btrfs scrub), then set the count to zero")
    }));
    found.extend(forgetful(facts));
    found
}

/// What must not be trimmed now: a backup reads what it froze, and a damaged filesystem may take for free what is not.
pub(super) fn guard(facts: &DiskFacts<'_>) -> Option<Guard> {
    let (survey, disk) = facts.paired()?;
    if let Some(on) = filesystems_on(survey, &disk.id).find(|on| on.filesystem.frozen) {
        return Some(Guard {
            layer: Layer::Filesystem,
            text: format!("{} is frozen, as a backup does it; trim when that is over", on.filesystem.mount),
            short: "frozen".to_owned(),
            passes_by_itself: true,
        });
    }
    damaged(facts).map(|(mount, errors)| Guard {
        layer: Layer::Filesystem,
        text: format!(
            "the guest's kernel has counted errors on {mount} ({errors}): what a damaged filesystem takes for free may \
             be in use; check it first (fsck, btrfs scrub)"
        ),
        short: "filesystem errors".to_owned(),
        passes_by_itself: false,
    })
}

/// The first filesystem with errors that would be trimmed.
fn damaged<'a>(facts: &DiskFacts<'a>) -> Option<(&'a str, u64)> {
    let (survey, disk) = facts.paired()?;
    filesystems_on(survey, &disk.id).filter(|on| on.filesystem.skip.is_none()).find_map(|on| {
        let errors = on.filesystem.errors.filter(|errors| *errors > 0)?;
        Some((on.filesystem.mount.as_str(), errors))
    })
}

fn open(on: OnDisk<'_>) -> Finding {
    let fs = on.filesystem;
    let size = fs.size_bytes.map(|bytes| format!(", {}", words::size(bytes))).unwrap_or_default();
    Finding::new(Layer::Filesystem, State::Open, format!("{} on {}{size}", fs.fs_type, fs.mount))
}

fn skipped(survey: &GuestSurvey, disk: &Device, on: OnDisk<'_>, skip: &Skip) -> Finding {
    let fs = on.filesystem;
    let held = on.alone.then_some(fs.free_bytes).flatten();
    let text = format!("{} on {} is left out: {}", fs.fs_type, fs.mount, skip.text);
    let holds = |layer| Finding::new(layer, State::Holds, text.clone()).held(held);
    match (skip.reason.known(), survey.device(&skip.device_id)) {
        (Some(SkipReason::NoDiscard), Some(layer)) if layer.id != disk.id => cut_at(layer, &text).held(held),
        // The disk itself: device.rs says so.
        (Some(SkipReason::NoDiscard), _) => {
            Finding::new(Layer::Filesystem, State::Note, text).short("no discard").held(held)
        }
        (Some(SkipReason::Kernel), layer) => holds(layer.map_or(Layer::Filesystem, layer_of))
            .short("kernel at risk")
            .fix("in the guest, boot a kernel that has the fix; the text names where it is described"),
        (Some(SkipReason::Type), _) => holds(Layer::Filesystem).short("type not trusted").fix(
            "if you know that its FITRIM does no harm there: --also-type with its type, or also_allowed_types in the \
             guest's agent.toml",
        ),
        (Some(SkipReason::Frozen), _) => holds(Layer::Filesystem).short("frozen"),
        (Some(SkipReason::ReadOnly), _) => holds(Layer::Filesystem).short("read-only"),
        (Some(SkipReason::OptedOut), _) => holds(Layer::Filesystem).short("owner's veto"),
        _ => holds(Layer::Filesystem).short("left out"),
    }
}

fn layer_of(device: &Device) -> Layer {
    match device.kind.known() {
        Some(DeviceKind::Crypt) => Layer::Crypt,
        Some(DeviceKind::Lvm) => Layer::Lvm,
        Some(DeviceKind::Md) => Layer::Md,
        _ => Layer::Filesystem,
    }
}

/// A layer of the guest's that passes no discards on.
fn cut_at(device: &Device, text: &str) -> Finding {
    let layer = layer_of(device);
    let finding = Finding::new(layer, State::Cut, text);
    match layer {
        Layer::Crypt => finding.short("dm-crypt cuts").fix(
            "in the guest: cryptsetup --allow-discards --persistent refresh NAME, and discard in /etc/crypttab; it then \
             shows to the host which blocks are free",
        ),
        Layer::Lvm => finding
            .short("LVM cuts")
            .fix("in the guest, find the member that cannot discard, or the pool that ignores it:")
            .paste("lsblk -D"),
        Layer::Md => finding.short("RAID cuts").fix(
            "raid4, raid5 and raid6 pass no discards on unless the guest's module raid456 is loaded with \
             devices_handle_discard_safely=Y, which is right only where every member reads zeros after a discard",
        ),
        _ => finding
            .short("guest layer cuts")
            .fix("in the guest, see where the granularity turns to 0:")
            .paste("lsblk -D"),
    }
}

/// ext4 sends nothing for what it remembers as trimmed, whatever became of that.
fn forgetful(facts: &DiskFacts<'_>) -> Option<Finding> {
    let (survey, disk) = facts.paired()?;
    let has_trimmed = disk.discarded_bytes.is_some_and(|bytes| bytes > 0);
    let none_arrived = facts.counters.arrived_bytes == Some(0);
    // A qcow2 image that is new has no clusters to give back: mkfs discards, and nothing arrives.
    let is_raw = facts.host.image.as_ref().is_some_and(|image| image.format == Format::Raw);
    let is_open = facts.host.discard == DriveDiscard::Unmap && !is_raw;
    let ext4 = filesystems_on(survey, &disk.id)
        .find(|on| on.filesystem.skip.is_none() && on.filesystem.fs_type.starts_with("ext"))?;
    (has_trimmed && none_arrived && !is_open).then(|| {
        Finding::new(
            Layer::Filesystem,
            State::Note,
            format!("{} was trimmed before and nothing arrived: ext4 may skip it now", ext4.filesystem.mount),
        )
        .short("trimmed in vain")
        .fix("trim with --again, which makes ext4 look once more")
    })
}

#[cfg(test)]
mod tests;
