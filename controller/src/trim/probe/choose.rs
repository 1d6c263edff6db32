//! Which filesystem of a disk is probed, or why none is. Pure.

use trimtab_proto::words::{DeviceKind, feature};

use super::BYTES;
use crate::{
    layers::{self, Layer, stack::filesystems_on},
    model::guest::{Filesystem, GuestSurvey},
    trim::look::{DiskLook, Look},
};

const GIB: u64 = 1 << 30;

/// What the agent asks for too: ten times the file, and a fiftieth of the filesystem.
const TIMES: u64 = 10;
const SHARE: u64 = 50;

/// The filesystem to be probed.
///
/// # Errors
/// Why the disk is not probed, in a sentence.
pub(super) fn choose<'a>(
    look: &'a Look,
    disk: &'a DiskLook,
    anyway: &[Layer],
) -> Result<(&'a GuestSurvey, &'a Filesystem), String> {
    let survey = look.guest.as_ref().map_err(|trouble| trouble.text.clone())?;
    if !survey.agent.features.iter().any(|word| word == feature::PROBE) {
        return Err(
            "the guest's agent is too old to probe: update the package trimtab-agent in the guest".to_owned()
        );
    }
    if !survey.agent.policy.host_may_probe {
        return Err("the guest's owner forbids probes: host_may_probe in its agent.toml".to_owned());
    }
    if let Some(trouble) = &disk.image_trouble {
        return Err(format!("its image could not be read: {}", trouble.text));
    }
    if let Some(guard) = layers::guard(&look.facts(disk), anyway) {
        return Err(guard.text);
    }
    if disk.datastore().is_some_and(|store| store.free_bytes < GIB) {
        return Err("less than 1 GiB is free where its image lies".to_owned());
    }
    let Some(device) = look.guest_disk(disk) else {
        return Err("it could not be paired with a disk of the guest".to_owned());
    };
    let candidates = filesystems_on(survey, &device.id)
        .filter(|on| on.alone)
        .map(|on| on.filesystem)
        .filter(|fs| fs.skip.is_none() && !fs.frozen && rank(&fs.fs_type).is_some())
        .filter(|fs| !lies_in_a_file(survey, fs));
    let sound = candidates.filter(|fs| fs.errors.unwrap_or(0) == 0).collect::<Vec<_>>();
    if sound.is_empty() {
        return Err("no ext4, xfs or btrfs that is sound and can be trimmed lies on it alone".to_owned());
    }
    sound
        .into_iter()
        .filter(|fs| has_room(fs))
        .max_by_key(|fs| (rank(&fs.fs_type), fs.free_bytes))
        .map(|fs| (survey, fs))
        .ok_or_else(|| "its filesystems are too full for a probe's file".to_owned())
}

/// btrfs comes last: it trims more than is probed.
fn rank(fs_type: &str) -> Option<u8> {
    match fs_type {
        "ext2" | "ext3" | "ext4" | "xfs" => Some(2),
        "btrfs" => Some(1),
        _ => None,
    }
}

/// A discard of a loop-mounted filesystem goes no further than to the one that holds its file.
fn lies_in_a_file(survey: &GuestSurvey, fs: &Filesystem) -> bool {
    let mut below = vec![fs.device_id.as_str()];
    let mut seen: Vec<&str> = Vec::new();
    while let Some(id) = below.pop() {
        let Some(device) = survey.device(id).filter(|_| !seen.contains(&id)) else { continue };
        if device.kind.is(DeviceKind::Loop) {
            return true;
        }
        seen.push(id);
        below.extend(device.lower_ids.iter().map(String::as_str));
    }
    false
}

fn has_room(fs: &Filesystem) -> bool {
    let least = fs.size_bytes.unwrap_or(0).checked_div(SHARE).unwrap_or(0).max(BYTES.saturating_mul(TIMES));
    fs.free_bytes.is_some_and(|free| free >= least)
}
