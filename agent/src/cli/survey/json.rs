//! "trimtab-agent.survey/1". Bytes are integers, what is not known is null. Field names are a contract: they are only
//! ever added to.

use serde::Serialize;
use trimtab_proto::words::{DeviceKind, DeviceUse, SkipReason};

use crate::{
    model::{self, DevNum},
    sys::{SysError, system::System},
};

const SCHEMA: &str = "trimtab-agent.survey/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    agent: Agent<'a>,
    filesystems: Vec<Filesystem<'a>>,
    devices: Vec<Device<'a>>,
    fstrim_timer: Timer,
    missing: &'a [String],
}

#[derive(Serialize)]
struct Agent<'a> {
    version: &'static str,
    kernel: &'a str,
    boot_id: &'a str,
}

#[derive(Serialize)]
struct Filesystem<'a> {
    id: String,
    mount: String,
    mounts: u32,
    r#type: &'a str,
    device: Option<String>,
    /// The disks at the bottom.
    on: Vec<String>,
    /// The filesystems that hold the files of its loop devices.
    inside: Vec<String>,
    size_bytes: Option<u64>,
    used_bytes: Option<u64>,
    free_bytes: Option<u64>,
    free_extents: Vec<FreeExtents>,
    frozen: bool,
    /// What the kernel has counted.
    errors: Option<u64>,
    skipped: Option<Skip<'a>>,
}

#[derive(Serialize)]
struct FreeExtents {
    at_least_bytes: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Skip<'a> {
    reason: SkipReason,
    device: Option<String>,
    text: &'a str,
}

#[derive(Serialize)]
struct Device<'a> {
    id: String,
    name: &'a str,
    kind: DeviceKind,
    r#use: DeviceUse,
    /// Right below it.
    on: Vec<String>,
    size_bytes: u64,
    read_only: bool,
    logical_block_bytes: u64,
    discard_granularity: Option<u64>,
    discard_max_bytes: Option<u64>,
    discard_max_hw_bytes: Option<u64>,
    discard_zeroes_data: Option<u64>,
    discard_alignment: Option<u64>,
    provisioning_mode: Option<&'a str>,
    dm_uuid: Option<&'a str>,
    serial: Option<&'a str>,
    serial_may_be_cut: bool,
    wwid: Option<&'a str>,
    scsi_hctl: Option<&'a str>,
    pci_address: Option<&'a str>,
    discarded_bytes: Option<u64>,
    written_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Timer {
    installed: bool,
    active: bool,
    next_unix_secs: Option<i64>,
}

#[derive(Serialize)]
struct Failure {
    schema: &'static str,
    error: Trouble,
}

#[derive(Serialize)]
struct Trouble {
    text: String,
}

/// The document of a survey.
pub(super) fn document(system: &System, survey: &model::Survey) -> serde_json::Result<String> {
    let timer = survey.fstrim_timer;
    print(&Document {
        schema: SCHEMA,
        agent: Agent { version: env!("CARGO_PKG_VERSION"), kernel: &system.kernel, boot_id: &system.boot_id },
        filesystems: survey.filesystems.iter().map(filesystem).collect(),
        devices: survey.devices.iter().map(device).collect(),
        fstrim_timer: Timer {
            installed: timer.installed,
            active: timer.active,
            next_unix_secs: timer.next_unix_secs,
        },
        missing: &survey.missing,
    })
}

/// The document that stands in its place after an error.
pub(super) fn failure(error: &SysError) -> serde_json::Result<String> {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    print(&Failure { schema: SCHEMA, error: Trouble { text } })
}

fn print(document: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(document).map(|text| text + "\n")
}

fn filesystem(fs: &model::Filesystem) -> Filesystem<'_> {
    let class =
        |class: &model::FreeExtents| FreeExtents { at_least_bytes: class.at_least, bytes: class.bytes };
    Filesystem {
        id: id(fs.id),
        mount: fs.mount.to_string_lossy().into_owned(),
        mounts: fs.mounts,
        r#type: &fs.fs_type,
        device: fs.device.map(id),
        on: ids(&fs.leaves),
        inside: ids(&fs.inside),
        size_bytes: fs.size,
        used_bytes: fs.used,
        free_bytes: fs.free,
        free_extents: fs.free_extents.iter().map(class).collect(),
        frozen: fs.frozen,
        errors: fs.errors,
        skipped: fs.skip.as_ref().map(skip),
    }
}

fn skip(skip: &model::Skip) -> Skip<'_> {
    Skip { reason: skip.reason, device: skip.device.map(id), text: &skip.text }
}

fn device(device: &model::Device) -> Device<'_> {
    let model::Device { discard, identity, .. } = device;
    Device {
        id: id(device.id),
        name: &device.name,
        kind: device.kind,
        r#use: device.used_for,
        on: ids(&device.lower),
        size_bytes: device.size,
        read_only: device.read_only,
        logical_block_bytes: device.logical_block,
        discard_granularity: discard.granularity,
        discard_max_bytes: discard.max_bytes,
        discard_max_hw_bytes: discard.max_hw_bytes,
        discard_zeroes_data: discard.zeroes_data,
        discard_alignment: discard.alignment,
        provisioning_mode: said(&device.provisioning_mode),
        dm_uuid: said(&device.dm_uuid),
        serial: said(&identity.serial),
        serial_may_be_cut: identity.serial_may_be_cut,
        wwid: said(&identity.wwid),
        scsi_hctl: said(&identity.scsi_hctl),
        pci_address: said(&identity.pci_address),
        discarded_bytes: device.discarded,
        written_bytes: device.written,
    }
}

fn id(id: DevNum) -> String {
    id.to_string()
}

fn ids(list: &[DevNum]) -> Vec<String> {
    list.iter().copied().map(id).collect()
}

/// An empty text stands for something that is not there.
fn said(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
