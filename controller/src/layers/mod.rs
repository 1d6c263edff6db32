//! The rules that turn what was read of a disk's way, from the guest's filesystem down to the host's, into findings
//! and guards. Pure: every fact comes in through [`DiskFacts`], nothing is read here.
//!
//! A finding says of one layer whether discards get through it; a guard says that a trim must not start now. Survey's
//! last column, trim's check beforehand and the verdict all read the same ones.

mod backup;
mod datastore;
mod device;
mod drive;
pub mod extents;
mod filesystem;
mod format;
mod granularity;
mod guest_use;
mod host_filesystem;
mod job;
mod preallocation;
mod protocol;
pub mod sharing;
pub mod stack;
mod underneath;
mod volume;
pub mod way;
pub mod words;

use serde::{Deserialize, Serialize};

pub use crate::model::image::ImageFacts;
use crate::model::{
    disk::{DiskCounters, HostDisk, VmFacts},
    guest::{Device, GuestSurvey},
};

/// The closed list of layers, top to bottom. JSON, `--anyway` and every screen use these words.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Layer {
    /// The VM's vsock device.
    Link,
    /// The agent in the guest.
    Agent,
    /// A filesystem of the guest.
    Filesystem,
    /// dm-crypt in the guest.
    Crypt,
    /// LVM in the guest.
    Lvm,
    /// Software RAID in the guest.
    Md,
    /// The guest's SCSI disk driver.
    Scsi,
    /// The disk that the VM offers.
    Device,
    /// The disk's discard granularity against the image's.
    Granularity,
    /// QEMU's `discard=` of the drive.
    Drive,
    /// The image's format.
    Format,
    /// An image that was given all of its space on purpose.
    Preallocation,
    /// Dirty bitmaps of a backup.
    Backup,
    /// A block job.
    Job,
    /// How QEMU reaches the image.
    Protocol,
    /// The filesystem of the host.
    HostFilesystem,
    /// Room on that filesystem.
    Datastore,
    /// A volume instead of a file.
    Volume,
    /// What lies below the host filesystem.
    Underneath,
}

impl Layer {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Agent => "agent",
            Self::Filesystem => "filesystem",
            Self::Crypt => "crypt",
            Self::Lvm => "lvm",
            Self::Md => "md",
            Self::Scsi => "scsi",
            Self::Device => "device",
            Self::Granularity => "granularity",
            Self::Drive => "drive",
            Self::Format => "format",
            Self::Preallocation => "preallocation",
            Self::Backup => "backup",
            Self::Job => "job",
            Self::Protocol => "protocol",
            Self::HostFilesystem => "host_filesystem",
            Self::Datastore => "datastore",
            Self::Volume => "volume",
            Self::Underneath => "underneath",
        }
    }

    /// Whether it lies below QEMU: the host's own storage.
    pub fn is_on_host(self) -> bool {
        matches!(
            self,
            Self::Protocol | Self::HostFilesystem | Self::Datastore | Self::Volume | Self::Underneath
        )
    }

    /// Whether the guest's administrator mends it, rather than the host's.
    pub fn is_in_guest(self) -> bool {
        matches!(self, Self::Agent | Self::Filesystem | Self::Crypt | Self::Lvm | Self::Md | Self::Scsi)
    }
}

/// What a layer does to discards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Lets them through.
    Open,
    /// Lets them through, with something to know.
    Note,
    /// Drops them.
    Cut,
    /// Lets them through and keeps space nevertheless.
    Holds,
    /// Cannot be told from here.
    Unknown,
}

/// What was found of one layer of one disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Which.
    pub layer: Layer,
    /// What it does.
    pub state: State,
    /// At most so much stays because of it, where that is known.
    pub held_bytes: Option<u64>,
    /// One sentence. May hold a guest's text: escape it where it is shown.
    pub text: String,
    /// How it is mended.
    pub fix: Option<Fix>,
    /// The same in three words at most, for a column of a table.
    pub short: String,
    /// Worth telling whoever starts a trim, although nothing is in its way.
    pub warns: bool,
}

/// How a layer is mended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fix {
    /// What to do, in a sentence; what destroys something is worded as a choice here, and stands nowhere else.
    pub text: String,
    /// Lines that can be pasted into a root shell as they are: whatever came from a guest, a header or a file is quoted.
    pub paste: Vec<String>,
}

impl Fix {
    /// Without a line to paste.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), paste: Vec::new() }
    }
}

impl Finding {
    fn new(layer: Layer, state: State, text: impl Into<String>) -> Self {
        let short = layer.as_str().replace('_', " ");
        Self { layer, state, held_bytes: None, text: text.into(), fix: None, short, warns: false }
    }

    fn short(mut self, words: impl Into<String>) -> Self {
        self.short = words.into();
        debug_assert!(is_short(&self.short), "{:?} does not fit survey's last column", self.short);
        self
    }

    fn warns(mut self) -> Self {
        self.warns = true;
        self
    }

    fn fix(mut self, text: impl Into<String>) -> Self {
        self.fix.get_or_insert_default().text = text.into();
        self
    }

    /// One more line to paste.
    fn paste(mut self, line: impl Into<String>) -> Self {
        self.fix.get_or_insert_default().paste.push(line.into());
        self
    }

    fn held(mut self, bytes: Option<u64>) -> Self {
        self.held_bytes = bytes;
        self
    }
}

/// Three words at most, in the width of survey's last column.
fn is_short(words: &str) -> bool {
    words.split_whitespace().count() <= 3 && words.chars().count() <= 20
}

/// Why a disk is not trimmed now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guard {
    /// The layer that says no; `--anyway=LAYER` overrides it.
    pub layer: Layer,
    /// One sentence.
    pub text: String,
    /// The same in three words at most.
    pub short: String,
    /// It will be over without anybody's help.
    pub passes_by_itself: bool,
}

/// All that is known of one disk before a trim.
#[derive(Clone, Copy, Debug)]
pub struct DiskFacts<'a> {
    /// What the hypervisor says of the whole VM.
    pub vm: &'a VmFacts,
    /// What it says of the disk.
    pub host: &'a HostDisk,
    /// Its image, where it could be read.
    pub image: Option<&'a ImageFacts>,
    /// QEMU's counters so far.
    pub counters: DiskCounters,
    /// The guest's view of everything, where it gave one.
    pub survey: Option<&'a GuestSurvey>,
    /// The guest's disk that was paired with it.
    pub guest: Option<&'a Device>,
    /// Other VMs that use its image, as their own or below it: what [`sharing::used_by_others`] finds.
    pub used_by_others: &'a [String],
}

impl<'a> DiskFacts<'a> {
    /// The guest's view with its disk that was paired with this one.
    pub fn paired(&self) -> Option<(&'a GuestSurvey, &'a Device)> {
        self.survey.zip(self.guest)
    }
}

/// What every layer does to this disk's discards, top to bottom.
pub fn findings(facts: &DiskFacts<'_>) -> Vec<Finding> {
    let mut all = filesystem::findings(facts);
    all.extend(guest_use::findings(facts));
    all.extend(device::findings(facts));
    all.extend(granularity::finding(facts));
    all.push(drive::finding(facts));
    all.extend(format::findings(facts));
    all.extend(preallocation::finding(facts));
    all.extend(backup::finding(facts));
    all.extend(job::finding(facts));
    all.extend(protocol::findings(facts));
    all.extend(host_filesystem::findings(facts));
    all.extend(datastore::finding(facts));
    all.extend(volume::findings(facts));
    all.extend(underneath::finding(facts));
    all
}

/// Why this disk must not be trimmed now; the first reason that is not overridden. What passes by itself stands last: it
/// is worth waiting for only where nothing else is in the way.
pub fn guard(facts: &DiskFacts<'_>, anyway: &[Layer]) -> Option<Guard> {
    let mut reasons: Vec<Guard> = [
        sharing::guard(facts),
        format::guard(facts),
        volume::guard(facts),
        datastore::guard(facts),
        preallocation::guard(facts),
        filesystem::guard(facts),
        job::guard(facts),
    ]
    .into_iter()
    .flatten()
    .filter(|guard| !anyway.contains(&guard.layer))
    .collect();
    reasons.sort_by_key(|guard| guard.passes_by_itself);
    reasons.into_iter().next()
}

/// What the counters of a run said against a pair: nothing that this guest disk said belongs to this image.
pub fn pairing_contradicted() -> Finding {
    Finding::new(
        Layer::Device,
        State::Unknown,
        "the guest's disk wrote more than this image's device saw: they are not the same disk, so what the guest said \
         of it is left out",
    )
    .fix("name the guest's disk in the inventory: guest = \"NAME\" under its [[vm.disk]]")
}

/// The first layer that is known to cut; a trim through it would only burn ext4's memory of what it trimmed.
pub fn known_cut(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().find(|finding| finding.state == State::Cut)
}

#[cfg(test)]
pub(crate) mod samples;
