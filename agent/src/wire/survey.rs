//! A survey as a message of at most 1 MiB, however much is mounted in this guest.
//!
//! What counts most goes in first: the filesystems that would be trimmed, each after the devices below it, then the
//! other devices, then the skipped filesystems. What does not fit any more is left out, and filesystems that are left
//! out are counted. A device or filesystem is listed only if all that it stands on is.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use trimtab_proto::{MAX_LISTED_SKIPS, MAX_MESSAGE_BYTES, MAX_MISSING, v1};

use crate::model::{DevNum, Device, Filesystem, Identity, Skip, Survey, Timer};

/// Most filesystems that would be trimmed.
const MAX_TRIMMED: usize = 1024;
/// Most devices.
const MAX_DEVICES: usize = 4096;
/// Most devices right below another, and most disks below a filesystem.
const MAX_BELOW: usize = 512;
/// Bytes of a sentence.
const MAX_SENTENCE: usize = 1024;
/// Bytes of a path: the kernel's own limit.
const MAX_PATH: usize = 4096;
/// Bytes of a serial or another name that a device brings along.
const MAX_NAME: usize = 256;
/// Bytes of a word like a type.
const MAX_WORD: usize = 64;
/// What a member of a list costs beside its contents: a tag, and a length of at most four bytes.
const MEMBER: usize = 5;
/// What `not_listed` costs, which is known last.
const COUNTER: usize = 6;

/// The reply to Survey.
pub fn reply(agent: v1::HelloReply, survey: &Survey) -> v1::SurveyReply {
    let Survey { filesystems, devices, fstrim_timer, missing } = survey;
    let mut reply = v1::SurveyReply {
        agent: Some(agent),
        fstrim_timer: Some(timer(*fstrim_timer)),
        missing: missing.iter().take(MAX_MISSING).map(|text| cut(text, MAX_SENTENCE)).collect(),
        ..v1::SurveyReply::default()
    };
    let taken = reply.encoded_len().saturating_add(COUNTER);
    let mut draft = Draft { room: MAX_MESSAGE_BYTES.saturating_sub(taken), ..Draft::default() };
    let known: BTreeMap<DevNum, &Device> = devices.iter().map(|device| (device.id, device)).collect();
    let (skipped, trimmed): (Vec<_>, Vec<_>) = filesystems.iter().partition(|fs| fs.skip.is_some());
    for fs in trimmed {
        draft.list_devices(&mut under(fs), &known);
        let stands = fs.leaves.len() <= MAX_BELOW && under(fs).all(|id| draft.listed.contains(&id));
        if stands && draft.filesystems.len() < MAX_TRIMMED {
            draft.list_filesystem(fs);
        }
    }
    draft.list_devices(&mut known.keys().copied(), &known);
    for fs in skipped.into_iter().take(MAX_LISTED_SKIPS) {
        draft.list_filesystem(fs);
    }
    let left_out = filesystems.len().saturating_sub(draft.filesystems.len());
    reply.not_listed = u32::try_from(left_out).unwrap_or(u32::MAX);
    reply.filesystems = draft.filesystems;
    reply.devices = draft.devices;
    reply
}

/// The lists of a message, and the bytes that are still free in it.
#[derive(Default)]
struct Draft {
    room: usize,
    listed: BTreeSet<DevNum>,
    devices: Vec<v1::Device>,
    filesystems: Vec<v1::Filesystem>,
}

impl Draft {
    /// Takes a member's place, if there is any.
    fn take(&mut self, member: &impl Message) -> bool {
        let left = self.room.checked_sub(member.encoded_len().saturating_add(MEMBER));
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }

    fn list_filesystem(&mut self, fs: &Filesystem) {
        let message = filesystem(fs);
        if self.take(&message) {
            self.filesystems.push(message);
        }
    }

    fn list_devices(&mut self, ids: &mut dyn Iterator<Item = DevNum>, known: &BTreeMap<DevNum, &Device>) {
        for device in bottom_up(ids, known) {
            let stands =
                device.lower.len() <= MAX_BELOW && device.lower.iter().all(|id| self.listed.contains(id));
            if !stands || self.listed.len() >= MAX_DEVICES || self.listed.contains(&device.id) {
                continue;
            }
            let message = device_message(device);
            if self.take(&message) {
                self.listed.insert(device.id);
                self.devices.push(message);
            }
        }
    }
}

/// The devices that a filesystem names.
fn under(fs: &Filesystem) -> impl Iterator<Item = DevNum> + '_ {
    fs.leaves.iter().chain(&fs.device).copied()
}

/// The devices and all below them, each after those that it stands on.
fn bottom_up<'a>(
    ids: &mut dyn Iterator<Item = DevNum>,
    known: &BTreeMap<DevNum, &'a Device>,
) -> Vec<&'a Device> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for id in ids {
        // Each device is met twice: on the way down, and, with the flag, on the way up.
        let mut path = vec![(id, false)];
        while let Some((id, done)) = path.pop() {
            let Some(device) = known.get(&id) else { continue };
            if done {
                order.push(*device);
            } else if seen.insert(id) {
                path.push((id, true));
                path.extend(device.lower.iter().map(|lower| (*lower, false)));
            }
        }
    }
    order
}

fn filesystem(fs: &Filesystem) -> v1::Filesystem {
    v1::Filesystem {
        id: fs.id.to_string(),
        mount: cut(&fs.mount.to_string_lossy(), MAX_PATH),
        mounts: fs.mounts,
        r#type: word(&fs.fs_type),
        device_id: fs.device.map(|id| id.to_string()).unwrap_or_default(),
        leaf_ids: fs.leaves.iter().take(MAX_BELOW).map(DevNum::to_string).collect(),
        size: fs.size,
        used: fs.used,
        free: fs.free,
        skip: fs.skip.as_ref().map(skip),
        free_extents: fs
            .free_extents
            .iter()
            .map(|class| v1::FreeExtents { at_least: class.at_least, bytes: class.bytes })
            .collect(),
        frozen: fs.frozen,
        errors: fs.errors,
    }
}

/// Why a filesystem is left out; runs say it too.
pub fn skip(skip: &Skip) -> v1::Skip {
    v1::Skip {
        reason: skip.reason.into(),
        device_id: skip.device.map(|id| id.to_string()).unwrap_or_default(),
        text: cut(&skip.text, MAX_SENTENCE),
    }
}

fn device_message(device: &Device) -> v1::Device {
    let Device { discard, identity, .. } = device;
    v1::Device {
        id: device.id.to_string(),
        name: word(&device.name),
        kind: device.kind.into(),
        dm_uuid: cut(&device.dm_uuid, MAX_NAME),
        lower_ids: device.lower.iter().map(DevNum::to_string).collect(),
        size: device.size,
        read_only: device.read_only,
        discard_granularity: discard.granularity,
        discard_max_bytes: discard.max_bytes,
        discard_max_hw_bytes: discard.max_hw_bytes,
        discard_zeroes_data: discard.zeroes_data,
        discard_alignment: discard.alignment,
        logical_block: device.logical_block,
        provisioning_mode: word(&device.provisioning_mode),
        identity: Some(identity_message(identity)),
        discarded: device.discarded,
        written: device.written,
        r#use: device.used_for.into(),
    }
}

fn identity_message(identity: &Identity) -> v1::Identity {
    v1::Identity {
        serial: cut(&identity.serial, MAX_NAME),
        serial_may_be_cut: identity.serial_may_be_cut || identity.serial.len() > MAX_NAME,
        wwid: cut(&identity.wwid, MAX_NAME),
        scsi_hctl: word(&identity.scsi_hctl),
        pci_address: word(&identity.pci_address),
    }
}

fn timer(timer: Timer) -> v1::Timer {
    v1::Timer { installed: timer.installed, active: timer.active, next_unix_secs: timer.next_unix_secs }
}

/// At most so many bytes, cut between two characters.
fn cut(text: &str, most: usize) -> String {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}

/// A word for programs: a subtype of FUSE may hold anything, the contract promises visible ASCII.
fn word(text: &str) -> String {
    text.chars().take(MAX_WORD).map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
