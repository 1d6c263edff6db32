//! SurveyReply.
//!
//! References are followed where a later step leans on them: the disks below a filesystem that would be trimmed, and
//! the devices below a device, which form no circle. A skipped filesystem may name a device that is gone (a stick
//! that was pulled out stays in mountinfo until it is unmounted).

use std::collections::{HashMap, HashSet};

use trimtab_proto::{MAX_LISTED_SKIPS, MAX_MISSING, v1, words::Wire};

use super::{
    MAX_BELOW, MAX_DEVICES, MAX_FREE_EXTENTS, MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_SENTENCE_BYTES,
    MAX_TRIMMED_FILESYSTEMS, Nonsense,
    field::{
        bytes, bytes_or_none, count, each_once, id, id_or_none, ids, list, required, text, word,
        word_or_none, wrong,
    },
    hello::hello,
};
use crate::model::guest::{Device, Filesystem, FreeExtents, GuestSurvey, Identity, Skip, Timer};

/// The last second of the year 9999, the last that every calendar library here can show.
const MAX_UNIX_SECS: i64 = 253_402_207_200;

/// Checks what a guest has mounted and on which disks.
pub fn survey(reply: v1::SurveyReply) -> Result<GuestSurvey, Nonsense> {
    let agent = hello(required("agent", reply.agent)?).map_err(|error| error.within("agent"))?;
    count("devices", reply.devices.len(), MAX_DEVICES)?;
    let skipped = reply.filesystems.iter().filter(|fs| fs.skip.is_some()).count();
    count("filesystems (skipped)", skipped, MAX_LISTED_SKIPS)?;
    let trimmed = reply.filesystems.len().saturating_sub(skipped);
    count("filesystems (not skipped)", trimmed, MAX_TRIMMED_FILESYSTEMS)?;

    let devices = list("devices", reply.devices, device)?;
    let filesystems = list("filesystems", reply.filesystems, filesystem)?;
    each_once("filesystems", filesystems.iter().map(|fs| fs.id.as_str()))?;
    let known = each_once("devices", devices.iter().map(|device| device.id.as_str()))?;
    for (index, fs) in filesystems.iter().enumerate().filter(|(_, fs)| fs.skip.is_none()) {
        let mut named = fs.leaf_ids.iter().chain(Some(&fs.device_id).filter(|id| !id.is_empty()));
        resolve(&mut named, &known, "filesystems", index)?;
    }
    for (index, device) in devices.iter().enumerate() {
        resolve(&mut device.lower_ids.iter(), &known, "devices", index)?;
    }
    no_circle(&devices)?;

    let fstrim_timer = reply.fstrim_timer.map(timer).transpose()?;
    count("missing", reply.missing.len(), MAX_MISSING)?;
    let missing = list("missing", reply.missing, |sentence| text("", sentence, MAX_SENTENCE_BYTES))?;
    Ok(GuestSurvey { agent, filesystems, devices, fstrim_timer, not_listed: reply.not_listed, missing })
}

fn filesystem(fs: v1::Filesystem) -> Result<Filesystem, Nonsense> {
    if !fs.mount.starts_with('/') {
        return Err(wrong("mount", &fs.mount, "not an absolute path"));
    }
    Ok(Filesystem {
        id: id("id", fs.id)?,
        mount: text("mount", fs.mount, MAX_PATH_BYTES)?,
        mounts: fs.mounts,
        fs_type: word("type", fs.r#type)?,
        device_id: id_or_none("device_id", fs.device_id)?,
        leaf_ids: ids("leaf_ids", fs.leaf_ids, MAX_BELOW)?,
        size_bytes: bytes_or_none("size", fs.size)?,
        used_bytes: bytes_or_none("used", fs.used)?,
        free_bytes: bytes_or_none("free", fs.free)?,
        skip: fs.skip.map(skip).transpose()?,
        free_extents: free_extents(fs.free_extents)?,
        frozen: fs.frozen,
        errors: fs.errors,
    })
}

/// Sizes rise, and what lies in larger extents is part of what lies in smaller ones.
pub(super) fn free_extents(values: Vec<v1::FreeExtents>) -> Result<Vec<FreeExtents>, Nonsense> {
    let field = "free_extents";
    count(field, values.len(), MAX_FREE_EXTENTS)?;
    let values = list(field, values, |value| {
        Ok(FreeExtents {
            at_least_bytes: bytes("at_least", value.at_least)?,
            bytes: bytes("bytes", value.bytes)?,
        })
    })?;
    for (small, large) in values.iter().zip(values.iter().skip(1)) {
        if small.at_least_bytes >= large.at_least_bytes {
            return Err(Nonsense::new(field, "sizes do not rise"));
        }
        if small.bytes < large.bytes {
            return Err(Nonsense::new(field, "more bytes in large extents than in all"));
        }
    }
    Ok(values)
}

/// Why a filesystem is left out; runs say it too.
pub(super) fn skip(skip: v1::Skip) -> Result<Skip, Nonsense> {
    let checked = || {
        Ok(Skip {
            reason: Wire::read(skip.reason),
            device_id: id_or_none("device_id", skip.device_id)?,
            text: text("text", skip.text, MAX_SENTENCE_BYTES)?,
        })
    };
    checked().map_err(|error: Nonsense| error.within("skip"))
}

fn device(device: v1::Device) -> Result<Device, Nonsense> {
    let identity = device.identity.map(identity).transpose().map_err(|error| error.within("identity"))?;
    Ok(Device {
        id: id("id", device.id)?,
        name: word("name", device.name)?,
        kind: Wire::read(device.kind),
        dm_uuid: text("dm_uuid", device.dm_uuid, MAX_NAME_BYTES)?,
        lower_ids: ids("lower_ids", device.lower_ids, MAX_BELOW)?,
        size_bytes: bytes("size", device.size)?,
        read_only: device.read_only,
        discard_granularity: bytes_or_none("discard_granularity", device.discard_granularity)?,
        discard_max_bytes: bytes_or_none("discard_max_bytes", device.discard_max_bytes)?,
        discard_max_hw_bytes: bytes_or_none("discard_max_hw_bytes", device.discard_max_hw_bytes)?,
        discard_zeroes_data: bytes_or_none("discard_zeroes_data", device.discard_zeroes_data)?,
        discard_alignment: bytes_or_none("discard_alignment", device.discard_alignment)?,
        logical_block_bytes: bytes("logical_block", device.logical_block)?,
        provisioning_mode: word_or_none("provisioning_mode", device.provisioning_mode)?,
        identity: identity.unwrap_or_default(),
        discarded_bytes: bytes_or_none("discarded", device.discarded)?,
        written_bytes: bytes_or_none("written", device.written)?,
        used_for: Wire::read(device.r#use),
    })
}

fn identity(identity: v1::Identity) -> Result<Identity, Nonsense> {
    Ok(Identity {
        serial: text("serial", identity.serial, MAX_NAME_BYTES)?,
        serial_may_be_cut: identity.serial_may_be_cut,
        wwid: text("wwid", identity.wwid, MAX_NAME_BYTES)?,
        scsi_hctl: word_or_none("scsi_hctl", identity.scsi_hctl)?,
        pci_address: word_or_none("pci_address", identity.pci_address)?,
        target: None,
    })
}

fn timer(timer: v1::Timer) -> Result<Timer, Nonsense> {
    match timer.next_unix_secs {
        Some(secs) if !(0..=MAX_UNIX_SECS).contains(&secs) => Err(Nonsense::new(
            "fstrim_timer.next_unix_secs",
            format!("{secs} is no time between 1970 and 9999"),
        )),
        next_unix_secs => Ok(Timer { installed: timer.installed, active: timer.active, next_unix_secs }),
    }
}

fn resolve<'a>(
    named: &mut impl Iterator<Item = &'a String>,
    known: &HashSet<&str>,
    list: &str,
    index: usize,
) -> Result<(), Nonsense> {
    match named.find(|id| !known.contains(id.as_str())) {
        Some(id) => Err(wrong("", id, "not among the devices").within_nth(list, index)),
        None => Ok(()),
    }
}

/// Takes away devices that nothing is left below, until none is left or a circle remains.
fn no_circle(devices: &[Device]) -> Result<(), Nonsense> {
    let mut above: HashMap<&str, Vec<&Device>> = HashMap::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for device in devices {
        open.insert(&device.id, device.lower_ids.len());
        for lower in &device.lower_ids {
            above.entry(lower).or_default().push(device);
        }
    }
    let mut bottom: Vec<&str> =
        devices.iter().filter(|d| d.lower_ids.is_empty()).map(|d| d.id.as_str()).collect();
    while let Some(id) = bottom.pop() {
        open.remove(id);
        for device in above.get(id).into_iter().flatten() {
            if let Some(left) = open.get_mut(device.id.as_str()) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    bottom.push(&device.id);
                }
            }
        }
    }
    match devices.iter().find(|device| open.contains_key(device.id.as_str())) {
        Some(device) => Err(wrong("devices", &device.id, "below itself")),
        None => Ok(()),
    }
}
