//! `trimtab.doctor/1`.

use serde::Serialize;

use super::{FindingJson, interval};
use crate::{
    layers::{Finding, ImageFacts},
    ledger::pair::PairedBy,
    model::trouble::Trouble,
    trim::{
        diagnosis::{Diagnosis, DiskDiagnosis},
        look::{DiskLook, Look},
        mended::{Mended, Outcome},
        probe::Probe,
    },
};

/// The document.
#[derive(Serialize, Debug)]
pub struct DoctorDocument {
    schema: &'static str,
    exit: u8,
    vms: Vec<VmJson>,
}

#[derive(Serialize, Debug)]
struct VmJson {
    name: String,
    agent_version: Option<String>,
    kernel: Option<String>,
    /// The hypervisor could not be asked; the guest's own trouble is its agent's finding.
    error: Option<Trouble>,
    findings: Vec<FindingJson>,
    first_cut: Option<&'static str>,
    disks: Vec<DiskJson>,
    mended: Vec<MendedJson>,
}

#[derive(Serialize, Debug)]
struct DiskJson {
    guest_disk: Option<String>,
    device: String,
    image: Option<String>,
    format: Option<String>,
    paired_by: Option<PairedBy>,
    virtual_bytes: Option<u64>,
    allocated_bytes: Option<u64>,
    slack_bytes: Option<[u64; 2]>,
    findings: Vec<FindingJson>,
    first_cut: Option<&'static str>,
    proven: Option<bool>,
    probe: Option<ProbeJson>,
    guard: Option<GuardJson>,
    error: Option<Trouble>,
}

#[derive(Serialize, Debug)]
struct MendedJson {
    layer: &'static str,
    disk: Option<String>,
    before: Option<String>,
    after: Option<String>,
    outcome: &'static str,
    error: Option<Trouble>,
}

impl From<&Mended> for MendedJson {
    fn from(mended: &Mended) -> Self {
        Self {
            layer: mended.layer.as_str(),
            disk: mended.disk.clone(),
            before: mended.before.clone(),
            after: mended.after.clone(),
            outcome: mended.outcome.as_str(),
            error: match &mended.outcome {
                Outcome::Failed(trouble) => Some(trouble.clone()),
                Outcome::Done | Outcome::AlreadyThere | Outcome::Declined => None,
            },
        }
    }
}

#[derive(Serialize, Debug)]
struct ProbeJson {
    ended_at: Option<&'static str>,
    text: String,
    hint: Option<String>,
    mount: Option<String>,
    range_bytes: Option<u64>,
    trimmed_more: bool,
    sent_bytes: Option<u64>,
    arrived_bytes: Option<u64>,
    fell_bytes: Option<i64>,
}

impl From<&Probe> for ProbeJson {
    fn from(probe: &Probe) -> Self {
        Self {
            ended_at: probe.ended_at.map(|layer| layer.as_str()),
            text: probe.text.clone(),
            hint: probe.hint.clone(),
            mount: probe.mount.clone(),
            range_bytes: probe.range_bytes,
            trimmed_more: probe.trimmed_more,
            sent_bytes: probe.sent_bytes,
            arrived_bytes: probe.arrived_bytes,
            fell_bytes: probe.fell_bytes,
        }
    }
}

#[derive(Serialize, Debug)]
struct GuardJson {
    layer: &'static str,
    text: String,
    passes_by_itself: bool,
}

/// A VM that was looked at, or why it could not be.
pub type Examined = Result<(Look, Diagnosis), Trouble>;

impl DoctorDocument {
    /// Of these VMs.
    pub fn new(results: &[(String, Examined)], exit: u8) -> Self {
        Self {
            schema: "trimtab.doctor/1",
            exit,
            vms: results.iter().map(|(name, result)| vm(name, result)).collect(),
        }
    }
}

fn vm(name: &str, result: &Examined) -> VmJson {
    let found = result.as_ref().ok();
    let agent = found.and_then(|(look, _)| look.survey()).map(|survey| &survey.agent);
    VmJson {
        name: name.to_owned(),
        agent_version: agent.map(|agent| agent.version.clone()),
        kernel: agent.map(|agent| agent.kernel.clone()),
        error: result.as_ref().err().cloned(),
        findings: found.map(|(_, diagnosis)| findings(&diagnosis.way)).unwrap_or_default(),
        first_cut: found.and_then(|(_, diagnosis)| diagnosis.way_cut()).map(|layer| layer.as_str()),
        disks: found
            .map(|(look, diagnosis)| {
                look.disks.iter().zip(&diagnosis.disks).map(|(disk, found)| one(look, disk, found)).collect()
            })
            .unwrap_or_default(),
        mended: found
            .iter()
            .flat_map(|(_, diagnosis)| diagnosis.mended.iter().map(MendedJson::from))
            .collect(),
    }
}

fn one(look: &Look, disk: &DiskLook, found: &DiskDiagnosis) -> DiskJson {
    let image = disk.host.image.as_ref();
    DiskJson {
        guest_disk: look.guest_disk(disk).map(|device| device.name.clone()),
        device: disk.host.device.clone(),
        image: image.map(|image| image.path.display().to_string()),
        format: image.map(|image| image.format.as_str().to_owned()),
        paired_by: disk.guest.map(|(_, by)| by),
        virtual_bytes: disk.host.virtual_bytes,
        allocated_bytes: disk.image.as_ref().and_then(ImageFacts::allocated_bytes),
        slack_bytes: interval(look.slack(disk)),
        findings: findings(&found.findings),
        first_cut: found.first_cut().map(|layer| layer.as_str()),
        proven: found.proven(),
        probe: found.probe.as_ref().map(ProbeJson::from),
        guard: found.guard.as_ref().map(|guard| GuardJson {
            layer: guard.layer.as_str(),
            text: guard.text.clone(),
            passes_by_itself: guard.passes_by_itself,
        }),
        error: disk.image_trouble.clone(),
    }
}

fn findings(findings: &[Finding]) -> Vec<FindingJson> {
    findings.iter().map(FindingJson::from).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        layers::{Layer, samples::Sample},
        model::{disk::DriveDiscard, trouble::Kind},
        render::json::schema,
        trim::fakes::look_of,
    };

    #[test]
    fn every_document_validates() {
        let schema = schema("doctor.json");
        let mut cut = Sample::raw();
        cut.host.discard = DriveDiscard::Ignore;
        cut.host.block_job = Some("running".into());
        let examined = |look: Look| -> Examined {
            let diagnosis = Diagnosis::of(&look, None);
            Ok((look, diagnosis))
        };
        let mut silent = look_of(&[Sample::raw()]);
        silent.guest = Err(Trouble::new(Kind::NoAgent, "no answer").hint("look at it"));
        let mut probed = examined(look_of(&[Sample::raw()])).unwrap();
        probed.1.disks[0].probe = Some(Probe {
            proven: Some(false),
            ended_at: Some(Layer::Drive),
            fell_bytes: Some(-5),
            ..Probe::default()
        });
        let failed = Outcome::Failed(Trouble::new(Kind::LibvirtRefused, "it is transient"));
        let mended = Mended { layer: Layer::Link, disk: None, before: None, after: None, outcome: failed };
        probed.1.mended = vec![mended];
        let results = vec![
            ("probed".to_owned(), Ok(probed)),
            ("both".to_owned(), examined(look_of(&[Sample::raw(), cut]))),
            ("silent".to_owned(), examined(silent)),
            ("away".to_owned(), Err(Trouble::new(Kind::NoQmp, "nothing listens"))),
        ];
        let mut value = serde_json::to_value(DoctorDocument::new(&results, 64)).unwrap();
        let problems: Vec<String> =
            schema.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(problems.is_empty(), "{problems:#?}");
        assert_eq!(value["vms"][0]["disks"][0]["probe"]["ended_at"], "drive");
        assert_eq!(value["vms"][1]["disks"][1]["first_cut"], "drive");
        assert_eq!(value["vms"][1]["disks"][1]["guard"]["layer"], "job");
        assert_eq!(value["vms"][2]["first_cut"], "agent");
        value["surprise"] = Value::Bool(true);
        assert!(!schema.is_valid(&value), "the schema refuses what it does not know");
    }
}
