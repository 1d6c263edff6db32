//! What the inventory says of a VM's disks: all there is without QMP, and beside QMP what it cannot tell.

use crate::model::{
    disk::{DriveDiscard, FreedClusters, HostDisk, SaidBy, VmFacts, VmmView},
    image::Image,
    vm::DeclaredDisk,
};

/// A VM that no monitor is known of: its disks by their position in the inventory, no state.
pub(super) fn view(declared: &[DeclaredDisk]) -> VmmView {
    let disk = |(position, declared): (usize, &DeclaredDisk)| HostDisk {
        device: format!("disk{position}"),
        image: Some(declared.image.clone()),
        protocol: String::new(),
        backing: Vec::new(),
        data_file: None,
        virtual_bytes: None,
        serial: declared.serial.clone(),
        wwn: None,
        address: None,
        front_end: String::new(),
        guest_name: declared.guest.clone(),
        target: None,
        shareable: false,
        discard: DriveDiscard::Unknown,
        discard_said_by: SaidBy::default(),
        freed_clusters: FreedClusters::default(),
        block_job: None,
        dirty_bitmaps: 0,
    };
    VmmView { vm: VmFacts::default(), disks: declared.iter().enumerate().map(disk).collect() }
}

/// Adds to QMP's disks what the inventory knows beyond it. Where both know a thing, QMP's word stands. `same` tells
/// whether two names are one file.
pub(super) fn merge(
    disks: &mut [HostDisk],
    declared: &[DeclaredDisk],
    same: impl Fn(&Image, &Image) -> bool,
) {
    for one in declared {
        let is_its = |disk: &&mut HostDisk| disk.image.as_ref().is_some_and(|image| same(image, &one.image));
        if let Some(disk) = disks.iter_mut().find(is_its) {
            disk.serial = disk.serial.take().or_else(|| one.serial.clone());
            disk.guest_name = one.guest.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::image::Format;

    fn declared(path: &str, serial: Option<&str>, guest: Option<&str>) -> DeclaredDisk {
        DeclaredDisk {
            image: Image { path: path.into(), format: Format::Raw },
            serial: serial.map(str::to_owned),
            guest: guest.map(str::to_owned),
        }
    }

    #[test]
    fn without_a_monitor() {
        let view = view(&[declared("/a.img", Some("A"), None), declared("/b.img", None, Some("vdb"))]);
        assert_eq!(view.vm, VmFacts::default());
        let said: Vec<_> = view
            .disks
            .iter()
            .map(|disk| {
                (disk.device.as_str(), disk.serial.as_deref(), disk.guest_name.as_deref(), disk.discard)
            })
            .collect();
        assert_eq!(
            said,
            [
                ("disk0", Some("A"), None, DriveDiscard::Unknown),
                ("disk1", None, Some("vdb"), DriveDiscard::Unknown)
            ]
        );
    }

    #[test]
    fn beside_a_monitor() {
        let mut disks = view(&[declared("/a.img", Some("QEMU"), None), declared("/b.img", None, None)]).disks;
        let same = |one: &Image, other: &Image| one.path == other.path;
        let also = [
            declared("/a.img", Some("FILE"), Some("sda")),
            declared("/b.img", Some("B"), None),
            declared("/not-there.img", Some("C"), None),
        ];
        merge(&mut disks, &also, same);
        let said: Vec<_> =
            disks.iter().map(|disk| (disk.serial.as_deref(), disk.guest_name.as_deref())).collect();
        assert_eq!(said, [(Some("QEMU"), Some("sda")), (Some("B"), None)]);
    }
}
