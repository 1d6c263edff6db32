//! Diagnosis: what every layer of a VM's way does, top to bottom, and where it ends. Pure.

use crate::{
    layers::{self, Finding, Guard, Layer, State, way},
    model::endpoint::Endpoint,
    trim::{
        look::{DiskLook, Look},
        mended::Mended,
        probe::Probe,
    },
};

/// A VM from top to bottom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnosis {
    /// Of the way to the guest: link and agent.
    pub way: Vec<Finding>,
    /// In the order of [`Look::disks`].
    pub disks: Vec<DiskDiagnosis>,
    /// What was done about it.
    pub mended: Vec<Mended>,
}

/// One disk from top to bottom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskDiagnosis {
    /// From the guest's filesystems down.
    pub findings: Vec<Finding>,
    /// Why a trim would not begin now.
    pub guard: Option<Guard>,
    /// The manager's name of the disk.
    pub target: Option<String>,
    /// Its image could not be read.
    pub unread: bool,
    /// What came of its probe, where one was asked for.
    pub probe: Option<Probe>,
}

impl Diagnosis {
    /// Of a VM that was looked at and is reached at `endpoint`.
    pub fn of(look: &Look, endpoint: Option<&Endpoint>) -> Self {
        Self {
            way: way::findings(&look.vm, endpoint, &look.guest),
            disks: look.disks.iter().map(|disk| DiskDiagnosis::of(look, disk)).collect(),
            mended: Vec::new(),
        }
    }

    /// The first layer of the way to the guest that cuts.
    pub fn way_cut(&self) -> Option<Layer> {
        layers::known_cut(&self.way).map(|finding| finding.layer)
    }

    /// Nothing cuts, and everything that matters could be read.
    pub fn is_open(&self) -> bool {
        let way = self.way.iter().any(|finding| {
            finding.layer == Layer::Agent && matches!(finding.state, State::Open | State::Note)
        });
        way && self.way_cut().is_none()
            && self.disks.iter().all(|disk| disk.is_open() || self.is_mended(disk))
    }

    /// Its only cut is mended, and a power cycle is all that is missing.
    fn is_mended(&self, disk: &DiskDiagnosis) -> bool {
        let cuts: Vec<Layer> = disk
            .findings
            .iter()
            .filter(|finding| finding.state == State::Cut)
            .map(|finding| finding.layer)
            .collect();
        let done = |layer: &Layer| {
            let of_disk = |mended: &&Mended| mended.layer == *layer && mended.disk == disk.target;
            self.mended.iter().find(of_disk).is_some_and(Mended::waits_for_power_cycle)
        };
        !disk.unread && cuts.iter().all(done)
    }
}

impl DiskDiagnosis {
    fn of(look: &Look, disk: &DiskLook) -> Self {
        let mut findings = look.findings(disk);
        findings.sort_by_key(|finding| finding.layer);
        Self {
            findings,
            guard: layers::guard(&look.facts(disk), &[]),
            target: disk.host.target.clone(),
            unread: disk.image_trouble.is_some(),
            probe: None,
        }
    }

    /// The first layer that cuts.
    pub fn first_cut(&self) -> Option<Layer> {
        layers::known_cut(&self.findings).map(|finding| finding.layer)
    }

    /// Whether a probe went all the way; `None` where none was asked for, or it could tell nothing.
    pub fn proven(&self) -> Option<bool> {
        self.probe.as_ref()?.proven
    }

    /// The finding that holds most.
    pub fn holder(&self) -> Option<&Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.state == State::Holds)
            .max_by_key(|finding| finding.held_bytes.unwrap_or(0))
    }

    fn is_open(&self) -> bool {
        self.first_cut().is_none() && !self.unread && self.proven() != Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::samples::{HEADER, Sample},
        model::{
            disk::DriveDiscard,
            image::Qcow2Header,
            trouble::{Kind, Trouble},
        },
        trim::fakes::look_of,
        trim::mended::Outcome,
    };

    fn of(look: &Look) -> Diagnosis {
        Diagnosis::of(look, Some(&"vsock:3".parse().unwrap()))
    }

    #[test]
    fn layers_stand_from_top_to_bottom() {
        let diagnosis = of(&look_of(&[Sample::qcow2(HEADER)]));
        assert!(diagnosis.is_open());
        let layers: Vec<Layer> = diagnosis.disks[0].findings.iter().map(|finding| finding.layer).collect();
        assert!(layers.is_sorted(), "{layers:?}");
        assert_eq!(diagnosis.way.iter().map(|f| f.layer).collect::<Vec<_>>(), [Layer::Link, Layer::Agent]);
    }

    #[test]
    fn where_it_ends() {
        let mut cut = Sample::raw();
        cut.host.discard = DriveDiscard::Ignore;
        let held = Sample::qcow2(Qcow2Header { snapshots: 1, ..HEADER });
        let diagnosis = of(&look_of(&[cut, held]));
        assert!(!diagnosis.is_open());
        assert_eq!(diagnosis.disks[0].first_cut(), Some(Layer::Drive));
        assert_eq!(diagnosis.disks[1].first_cut(), None);
        assert_eq!(diagnosis.disks[1].holder().map(|finding| finding.layer), Some(Layer::Format));
    }

    #[test]
    fn a_cut_that_waits_for_a_power_cycle_is_mended() {
        let mut cut = Sample::raw();
        cut.host.discard = DriveDiscard::Ignore;
        cut.host.target = Some("vdb".into());
        let mut diagnosis = of(&look_of(&[cut]));
        let mended = |disk: &str, outcome| Mended {
            layer: Layer::Drive,
            disk: Some(disk.into()),
            before: None,
            after: None,
            outcome,
        };
        for (disk, outcome, expected) in
            [("vdb", Outcome::Done, true), ("vdb", Outcome::Declined, false), ("vdc", Outcome::Done, false)]
        {
            diagnosis.mended = vec![mended(disk, outcome)];
            assert_eq!(diagnosis.is_open(), expected, "{disk}");
        }
    }

    #[test]
    fn what_was_not_read_is_not_open() {
        let mut look = look_of(&[Sample::raw()]);
        look.disks[0].image_trouble = Some(Trouble::new(Kind::Image, "gone"));
        assert!(!of(&look).is_open());
        let mut look = look_of(&[Sample::raw()]);
        look.guest = Err(Trouble::new(Kind::AgentSilent, "no answer"));
        let diagnosis = of(&look);
        assert!(!diagnosis.is_open());
        assert_eq!(diagnosis.disks.len(), 1, "the host's side is there");
    }
}
