//! Plans: who is to be trimmed, where, in which order, under which limits, and who is not and why. A plan is a file that a
//! person reads and edits; nothing is trimmed by it until it is applied.
//!
//! ```text
//! look ──assess──> SeenVm ──build──> Plan ──write──> plan.toml ──(a person)──> read ──> Plan ──drift: still so?──> NewCampaign
//!                    └─ published by each host of a fleet ─┘
//! ```
//!
//! Everything here is pure: looking at the host, and reading what hosts published, is the caller's.

pub mod assess;
pub mod build;
pub mod drift;
pub mod published;
pub mod read;
mod shared;
pub mod spared;
pub mod write;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    hosts::HostNames,
    limits::Limits,
    run::{NewRun, VmKey},
    seen::SeenImage,
    store::NewCampaign,
    window::{self, Window},
};

/// The first word of a plan.
pub const SCHEMA: &str = "trimtab.plan/1";

/// A plan.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// What the campaign is called.
    pub name: String,
    /// The hosts whose VMs these are.
    pub hosts: Vec<PlanHost>,
    /// It is of all hosts that had published what they have; else of the one that it was made on.
    pub is_fleet: bool,
    /// When they were looked at, or their hosts' word was read.
    pub surveyed: Timestamp,
    /// What the campaign may do.
    pub limits: Limits,
    /// When it may start trims; none: always.
    pub windows: Vec<Window>,
    /// How far windows are expanded when it is applied.
    pub window_weeks: u16,
    /// Where the images lie.
    pub datastores: Vec<PlanDatastore>,
    /// Who, in the order in which they go.
    pub vms: Vec<PlanVm>,
    /// Who not. Only to be read: applying a plan looks at none of it.
    pub left_out: Vec<LeftOut>,
}

/// A host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PlanHost {
    /// Its machine id.
    pub id: String,
    /// As people call it.
    pub name: String,
    /// When it said last that its VMs are as the plan says.
    pub published: Timestamp,
}

/// A datastore, as it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PlanDatastore {
    /// Its name in trimtab.toml, or its identity.
    pub name: String,
    /// Its mount point, or its pool's device.
    pub path: String,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// What was free, in bytes.
    pub free_bytes: u64,
    /// What the plan's VMs give back on it at least, in bytes, as it was made.
    pub expected_bytes: u64,
}

/// A VM that is to be trimmed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PlanVm {
    /// As the inventory has it.
    pub name: String,
    /// The machine id of its host.
    pub host: String,
    /// libvirt's, where it is a domain.
    pub uuid: Option<String>,
    /// What a trim gives back at least, in bytes.
    pub expected_bytes: u64,
    /// At most; `None` where the slack of one of its disks is not known.
    pub at_most_bytes: Option<u64>,
    /// No trim of it is known: its backlog is heavy.
    pub first: bool,
    /// What is worth knowing, beside the plan's line.
    pub notes: Vec<String>,
    /// Its disks with an image on this host.
    pub disks: Vec<PlanDisk>,
    /// Where it stands in the file, counted from 1; 0 before there is one.
    #[serde(skip)]
    pub line: usize,
}

/// A disk of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PlanDisk {
    /// The image.
    pub image: String,
    /// Which file that was (st_ino): another one under its name is another image.
    pub inode: u64,
    /// The name of its datastore; `None`: a volume that shares its room with nobody.
    pub datastore: Option<String>,
}

/// A VM that is left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LeftOut {
    /// As the inventory has it.
    pub name: String,
    /// The machine id of its host.
    pub host: String,
    /// Why.
    pub reason: Reason,
    /// One line. May hold a guest's text.
    pub text: String,
    /// A line to paste that helps, where there is one.
    pub paste: Option<String>,
}

/// Why a VM is left out of a plan. A closed list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Every disk is cut by some layer: a trim would free nothing.
    Cut,
    /// A guard that does not pass by itself stands before every disk.
    Guarded,
    /// There is next to nothing to free.
    NothingToFree,
    /// None of its disks has an image that can be measured here.
    NoImage,
    /// It is off.
    Off,
    /// It has no agent, or no way to one.
    NoAgent,
    /// It did not answer, or not sensibly.
    NoAnswer,
    /// Its host has told of it, and has not looked at it yet.
    NotLookedAt,
    /// It has failed in two campaigns running.
    SetAside,
    /// The store's database runs in it, or trimtab itself.
    Spared,
    /// Its host was not heard for longer than a lease.
    HostSilent,
    /// Another host published it first, and has not released it.
    Claimed,
    /// `--exclude` says so.
    Excluded,
}

impl Reason {
    /// As a person reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Guarded => "guarded",
            Self::NothingToFree => "nothing to free",
            Self::NoImage => "no image here",
            Self::Off => "off",
            Self::NoAgent => "no agent",
            Self::NoAnswer => "no answer",
            Self::NotLookedAt => "not looked at yet",
            Self::SetAside => "set aside",
            Self::Spared => "spared",
            Self::HostSilent => "host silent",
            Self::Claimed => "claimed by two hosts",
            Self::Excluded => "excluded",
        }
    }
}

impl Plan {
    /// What its VMs give back at least, in bytes.
    pub fn expected_bytes(&self) -> u64 {
        self.vms.iter().map(|vm| vm.expected_bytes).fold(0, u64::saturating_add)
    }

    /// And at most, where that is known of all.
    pub fn at_most_bytes(&self) -> Option<u64> {
        self.vms.iter().try_fold(0_u64, |sum, vm| Some(sum.saturating_add(vm.at_most_bytes?)))
    }

    /// As a store takes it on: `text` is the file, for the record, `now` is when its windows begin to count.
    pub fn campaign(&self, text: &str, who: &str, now: Timestamp) -> NewCampaign {
        NewCampaign {
            name: self.name.clone(),
            who: who.to_owned(),
            plan: text.to_owned(),
            limits: self.limits.clone(),
            windows: window::expand(&self.windows, now, self.window_weeks),
            runs: (0..).zip(&self.vms).map(|(position, vm)| vm.run(position)).collect(),
        }
    }

    /// What its hosts are called.
    pub fn host_names(&self) -> HostNames {
        HostNames::of(self.hosts.iter().map(|host| (host.id.as_str(), host.name.as_str())))
    }
}

impl From<&SeenImage> for PlanDisk {
    fn from(image: &SeenImage) -> Self {
        Self { image: image.path.clone(), inode: image.inode, datastore: image.datastore.clone() }
    }
}

impl PlanVm {
    fn run(&self, position: u32) -> NewRun {
        NewRun {
            vm: VmKey { host: self.host.clone(), name: self.name.clone(), uuid: self.uuid.clone() },
            datastores: self.datastores(),
            position,
            expected_bytes: self.expected_bytes,
            is_first: self.first,
        }
    }

    /// Where its images lie, each datastore once.
    pub fn datastores(&self) -> Vec<String> {
        let mut names: Vec<String> = self.disks.iter().filter_map(|disk| disk.datastore.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}

#[cfg(test)]
pub(crate) mod samples;
