//! "trimtab-agent.survey/1". Bytes are integers, what is not known is null. Field names are a contract: they are only
//! ever added to.

use serde::Serialize;
use serde_json::{Value, json};

use crate::model::{DevNum, Device, Filesystem, Skip, Survey, Timer};
use crate::sys::{SysError, system::System};

const SCHEMA: &str = "trimtab-agent.survey/1";

/// The document of a survey.
pub(super) fn document(system: &System, survey: &Survey) -> serde_json::Result<String> {
    let Survey { filesystems, devices, fstrim_timer, missing } = survey;
    let Timer { installed, active, next_unix_secs } = fstrim_timer;
    print(&json!({
        "schema": SCHEMA,
        "agent": {
            "version": env!("CARGO_PKG_VERSION"),
            "kernel": system.kernel,
            "boot_id": system.boot_id,
        },
        "filesystems": filesystems.iter().map(filesystem).collect::<Vec<_>>(),
        "devices": devices.iter().map(device).collect::<Vec<_>>(),
        "fstrim_timer": { "installed": installed, "active": active, "next_unix_secs": next_unix_secs },
        "missing": missing,
    }))
}

/// The document that stands in its place after an error.
pub(super) fn failure(error: &SysError) -> serde_json::Result<String> {
    print(&json!({ "schema": SCHEMA, "error": { "text": chain(error) } }))
}

fn chain(error: &SysError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn print(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n")
}

fn filesystem(fs: &Filesystem) -> Value {
    let extents = fs.free_extents.iter().map(|e| json!({ "at_least_bytes": e.at_least, "bytes": e.bytes }));
    json!({
        "id": id(fs.id),
        "mount": fs.mount.to_string_lossy(),
        "mounts": fs.mounts,
        "type": fs.fs_type,
        "device": fs.device.map(id),
        "on": ids(&fs.leaves),
        "inside": ids(&fs.inside),
        "size_bytes": fs.size,
        "used_bytes": fs.used,
        "free_bytes": fs.free,
        "free_extents": extents.collect::<Vec<_>>(),
        "frozen": fs.frozen,
        "skipped": fs.skip.as_ref().map(skip),
    })
}

fn skip(skip: &Skip) -> Value {
    json!({ "reason": skip.reason, "device": skip.device.map(id), "text": skip.text })
}

fn device(device: &Device) -> Value {
    let Device { discard, identity, .. } = device;
    json!({
        "id": id(device.id),
        "name": device.name,
        "kind": device.kind,
        "use": device.used_for,
        "on": ids(&device.lower),
        "size_bytes": device.size,
        "read_only": device.read_only,
        "logical_block_bytes": device.logical_block,
        "discard_granularity": discard.granularity,
        "discard_max_bytes": discard.max_bytes,
        "discard_max_hw_bytes": discard.max_hw_bytes,
        "discard_zeroes_data": discard.zeroes_data,
        "discard_alignment": discard.alignment,
        "provisioning_mode": text(&device.provisioning_mode),
        "dm_uuid": text(&device.dm_uuid),
        "serial": text(&identity.serial),
        "serial_may_be_cut": identity.serial_may_be_cut,
        "wwid": text(&identity.wwid),
        "scsi_hctl": text(&identity.scsi_hctl),
        "pci_address": text(&identity.pci_address),
        "discarded_bytes": device.discarded,
        "written_bytes": device.written,
    })
}

fn id(id: DevNum) -> String {
    id.to_string()
}

fn ids(list: &[DevNum]) -> Vec<String> {
    list.iter().copied().map(id).collect()
}

/// An empty text stands for something that is not there.
fn text(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
