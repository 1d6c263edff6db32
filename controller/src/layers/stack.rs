//! What of a guest stands on one of its disks: filesystems, and the layers between them and the disk.

use crate::model::guest::{Device, Filesystem, GuestSurvey};

/// A filesystem that stands on a disk.
#[derive(Clone, Copy, Debug)]
pub struct OnDisk<'a> {
    /// It.
    pub filesystem: &'a Filesystem,
    /// It stands on this disk alone; otherwise what it holds cannot be told apart per disk.
    pub alone: bool,
}

/// The filesystems that stand on a disk, wholly or in part.
pub fn filesystems_on<'a>(survey: &'a GuestSurvey, disk_id: &'a str) -> impl Iterator<Item = OnDisk<'a>> {
    survey
        .filesystems
        .iter()
        .filter(move |fs| fs.leaf_ids.iter().any(|leaf| leaf == disk_id))
        .map(|fs| OnDisk { filesystem: fs, alone: fs.leaf_ids.len() == 1 })
}

/// A disk and all devices above it: its partitions, their logical volumes, and so on.
pub fn devices_above<'a>(survey: &'a GuestSurvey, disk_id: &str) -> Vec<&'a Device> {
    let mut ids: Vec<&str> = Vec::new();
    let mut above: Vec<&Device> = survey.devices.iter().filter(|device| device.id == disk_id).collect();
    while let Some(device) = above.iter().find(|device| !ids.contains(&device.id.as_str())) {
        let id = device.id.as_str();
        ids.push(id);
        for higher in survey.devices.iter().filter(|d| d.lower_ids.iter().any(|lower| lower == id)) {
            if !above.iter().any(|known| known.id == higher.id) {
                above.push(higher);
            }
        }
    }
    above
}
