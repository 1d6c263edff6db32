//! `trimtab.survey/1`.

use serde::Serialize;

use super::{FindingJson, SkipJson, interval};
use crate::{
    layers::{ImageFacts, extents},
    ledger::pair::PairedBy,
    model::{guest::GuestSurvey, image::Datastore, trouble::Trouble},
    trim::look::{DiskLook, Look, not_read},
};

/// The document.
#[derive(Serialize, Debug)]
pub struct SurveyDocument {
    schema: &'static str,
    exit: u8,
    vms: Vec<VmJson>,
    datastores: Vec<DatastoreJson>,
}

#[derive(Serialize, Debug)]
struct VmJson {
    name: String,
    agent_version: Option<String>,
    kernel: Option<String>,
    error: Option<Trouble>,
    disks: Vec<DiskJson>,
    filesystems: Vec<FilesystemJson>,
}

#[derive(Serialize, Debug)]
struct DiskJson {
    guest_disk: Option<String>,
    image: Option<String>,
    format: Option<String>,
    paired_by: Option<PairedBy>,
    virtual_bytes: Option<u64>,
    allocated_bytes: Option<u64>,
    used_bytes: Option<u64>,
    slack_bytes: Option<[u64; 2]>,
    /// Of the guest's filesystems on it.
    free_bytes: Option<u64>,
    /// In extents that are large enough for the image to free.
    free_reachable_bytes: Option<u64>,
    discard_granularity_bytes: Option<u64>,
    discard_max_bytes: Option<u64>,
    error: Option<Trouble>,
    findings: Vec<FindingJson>,
}

#[derive(Serialize, Debug)]
struct FilesystemJson {
    mount: String,
    #[serde(rename = "type")]
    fs_type: String,
    on: Vec<String>,
    size_bytes: Option<u64>,
    used_bytes: Option<u64>,
    free_bytes: Option<u64>,
    skipped: Option<SkipJson>,
}

/// A datastore as it is now.
#[derive(Serialize, Debug)]
struct DatastoreJson {
    id: String,
    path: String,
    #[serde(rename = "type")]
    fs_type: String,
    size_bytes: u64,
    free_bytes: u64,
}

impl SurveyDocument {
    /// Of these VMs.
    pub fn new(results: &[(String, Result<Look, Trouble>)], exit: u8) -> Self {
        let mut datastores: Vec<&Datastore> = Vec::new();
        let looks = results.iter().filter_map(|(_, result)| result.as_ref().ok());
        for store in looks.flat_map(|look| &look.disks).filter_map(|disk| disk.datastore()) {
            if !datastores.iter().any(|known| known.id == store.id) {
                datastores.push(store);
            }
        }
        Self {
            schema: "trimtab.survey/1",
            exit,
            vms: results.iter().map(|(name, result)| vm(name, result)).collect(),
            datastores: datastores
                .into_iter()
                .map(|store| DatastoreJson {
                    id: store.id.clone(),
                    path: store.path.display().to_string(),
                    fs_type: store.fs_type.clone(),
                    size_bytes: store.size_bytes,
                    free_bytes: store.free_bytes,
                })
                .collect(),
        }
    }
}

fn vm(name: &str, result: &Result<Look, Trouble>) -> VmJson {
    let look = result.as_ref().ok();
    let survey = look.and_then(Look::survey);
    VmJson {
        name: name.to_owned(),
        agent_version: survey.map(|survey| survey.agent.version.clone()),
        kernel: survey.map(|survey| survey.agent.kernel.clone()),
        error: not_read(result).cloned(),
        disks: look.iter().flat_map(|look| look.disks.iter().map(|d| disk(look, d))).collect(),
        filesystems: survey.map(filesystems).unwrap_or_default(),
    }
}

fn disk(look: &Look, disk: &DiskLook) -> DiskJson {
    let guest = look.guest_disk(disk);
    let image = disk.host.image.as_ref();
    let reachable = extents::reachable(&look.facts(disk));
    DiskJson {
        guest_disk: guest.map(|device| device.name.clone()),
        image: image.map(|image| image.path.display().to_string()),
        format: image.map(|image| image.format.as_str().to_owned()),
        paired_by: disk.guest.map(|(_, by)| by),
        virtual_bytes: disk.host.virtual_bytes,
        allocated_bytes: disk.image.as_ref().and_then(ImageFacts::allocated_bytes),
        used_bytes: look.used_bytes(disk),
        slack_bytes: interval(look.slack(disk)),
        free_bytes: reachable.map(|(_, all)| all),
        free_reachable_bytes: reachable.map(|(reachable, _)| reachable),
        discard_granularity_bytes: guest.and_then(|device| device.discard_granularity),
        discard_max_bytes: guest.and_then(|device| device.discard_max_bytes),
        error: disk.image_trouble.clone(),
        findings: look.findings(disk).iter().map(FindingJson::from).collect(),
    }
}

fn filesystems(survey: &GuestSurvey) -> Vec<FilesystemJson> {
    survey
        .filesystems
        .iter()
        .map(|fs| FilesystemJson {
            mount: fs.mount.clone(),
            fs_type: fs.fs_type.clone(),
            on: survey.disk_names(fs),
            size_bytes: fs.size_bytes,
            used_bytes: fs.used_bytes,
            free_bytes: fs.free_bytes,
            skipped: fs.skip.as_ref().map(SkipJson::from),
        })
        .collect()
}
