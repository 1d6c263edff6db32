//! A VM as its host saw it: all of it that a plan needs, and that a host which cannot be asked may be judged by. Nouns.
//!
//! One host plans from what it has just seen; of a fleet each worker publishes it, and whoever plans reads it in the store.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::plan::Reason;
use crate::ledger::slack::Slack;

/// One VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SeenVm {
    /// Unique on its host.
    pub name: String,
    /// libvirt's, where it is a domain.
    pub uuid: Option<String>,
    /// What `--select label=…` looks at.
    pub labels: Vec<String>,
    /// It runs, or is paused: its host has it.
    pub is_on: bool,
    /// Its disks, in the hypervisor's order; none where they could not be read.
    pub disks: Vec<SeenDisk>,
    /// Why it takes part in no plan; `None`: at least one disk gives something back.
    pub out: Option<Out>,
    /// What is worth knowing, a line each. May hold a guest's text.
    pub notes: Vec<String>,
}

/// Why a VM takes part in no plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Out {
    /// In a word.
    pub reason: Reason,
    /// One line. May hold a guest's text.
    pub text: String,
    /// A line to paste on its host that helps, where there is one.
    pub paste: Option<String>,
}

/// A disk of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SeenDisk {
    /// The guest's name of it, or the hypervisor's.
    pub name: String,
    /// Its image, where that is a file or device of the host that could be read.
    pub image: Option<SeenImage>,
    /// What a trim could free; `None`: not known.
    pub slack: Option<Slack>,
    /// What the image occupies, in bytes.
    pub allocated_bytes: Option<u64>,
    /// What the guest's filesystems on it use, in bytes.
    pub used_bytes: Option<u64>,
    /// Nothing stands before it that does not pass by itself.
    pub goes: bool,
}

/// An image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SeenImage {
    /// Its path on its host.
    pub path: String,
    /// Which file it is (st_ino).
    pub inode: u64,
    /// The name of its datastore; `None`: a volume that shares its room with nobody.
    pub datastore: Option<String>,
    /// What it is known by on every host that has it; none where no other host can have it.
    pub known_as: Vec<String>,
}

/// By what an image is known on every host that has it: its file's number on its datastore; where people gave several hosts'
/// datastores one name, also that with its number and its file's name. None, where its datastore is `host`'s alone.
pub fn known_as(host: &str, (identity, name): (&str, &str), image: &Path, inode: u64) -> Vec<String> {
    if identity.ends_with(&format!("@{host}")) {
        return Vec::new();
    }
    let mut keys = vec![format!("{identity}\n{inode}")];
    if name != identity {
        let file = image.file_name().unwrap_or_default().to_string_lossy();
        keys.push(format!("{name}\n{inode}\n{file}"));
    }
    keys
}

/// A datastore, as a host sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SeenDatastore {
    /// What plans call it: its name in trimtab.toml, or its identity.
    pub name: String,
    /// What tells it from all others.
    pub identity: String,
    /// Its mount point on the host, or its pool's device.
    pub path: String,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// What is free, in bytes.
    pub free_bytes: u64,
}

/// What a host says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SeenHost {
    /// As people call it.
    pub name: String,
    /// Where its VMs' images lie, by name.
    pub datastores: Vec<SeenDatastore>,
    /// The gates that its trimtab.toml defines, by name.
    pub gates: Vec<String>,
}

impl SeenVm {
    /// A VM that nobody has looked at yet.
    pub fn not_looked_at(name: String, uuid: Option<String>, labels: Vec<String>, is_on: bool) -> Self {
        let out = match is_on {
            true => Out {
                reason: Reason::NotLookedAt,
                text: "its host has not looked at it yet".to_owned(),
                paste: None,
            },
            false => Out { reason: Reason::Off, text: "the VM is off".to_owned(), paste: None },
        };
        Self { name, uuid, labels, is_on, disks: Vec::new(), out: Some(out), notes: Vec::new() }
    }

    /// With what a guest may have made long cut off, so that one guest does not keep its host from publishing.
    pub fn bounded(mut self) -> Self {
        cut(&mut self.notes, 4096);
        cut(&mut self.labels, 4096);
        self.disks.truncate(64);
        for disk in &mut self.disks {
            shorten(&mut disk.name, 100);
        }
        if let Some(out) = &mut self.out {
            shorten(&mut out.text, 1000);
        }
        self
    }

    /// Its disks that a trim gives something back of.
    pub fn going(&self) -> impl Iterator<Item = &SeenDisk> {
        self.disks.iter().filter(|disk| disk.goes)
    }
}

/// Keeps so many of the lines that they are no longer than this together.
fn cut(lines: &mut Vec<String>, most_bytes: usize) {
    let mut left = most_bytes;
    lines.retain_mut(|line| {
        shorten(line, 1000);
        let fits = line.len() <= left;
        left = left.saturating_sub(line.len());
        fits
    });
}

/// At most so many bytes of it, and as whole characters.
fn shorten(text: &mut String, most_bytes: usize) {
    if text.len() > most_bytes {
        text.truncate(text.floor_char_boundary(most_bytes));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_talks_much_is_cut_short() {
        let mut vm = SeenVm::not_looked_at("a".into(), None, vec!["prod".into()], true);
        assert_eq!(vm.clone().bounded(), vm);
        vm.notes = vec!["\u{1b}ü".repeat(100_000); 100];
        vm.out = Some(Out { reason: Reason::Cut, text: "ü".repeat(100_000), paste: None });
        let bounded = vm.bounded();
        assert_eq!(bounded.notes.len(), 4);
        assert!(bounded.notes[0].ends_with('…') && bounded.out.as_ref().unwrap().text.len() < 1010);
        // As JSON an escape is six characters.
        assert!(serde_json::to_string(&bounded).unwrap().len() < 64 << 10);
    }
}
