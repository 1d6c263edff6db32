//! Images that more than one VM uses. A trim of a backing file takes blocks away from the overlays above it, and one
//! of an image that another VM writes to can discard what that VM has just written.

use std::path::Path;

use super::{DiskFacts, Guard, Layer};
use crate::model::disk::HostDisk;

/// The other VMs of a host that use a disk's image, as their own or below it: their names, each once. `vms` are all VMs
/// that are known, this one too; `same` tells whether two paths are one file.
pub fn used_by_others(
    vm: &str,
    disk: &HostDisk,
    vms: &[(String, Vec<HostDisk>)],
    same: impl Fn(&Path, &Path) -> bool,
) -> Vec<String> {
    let Some(image) = &disk.image else { return Vec::new() };
    let uses = |other: &HostDisk| {
        let own = other.image.iter().chain(&other.backing).map(|image| image.path.as_path());
        own.chain(other.data_file.as_deref()).any(|path| same(path, &image.path))
    };
    vms.iter()
        .filter(|(name, disks)| name != vm && disks.iter().any(uses))
        .map(|(name, _)| name.clone())
        .collect()
}

pub(super) fn guard(facts: &DiskFacts<'_>) -> Option<Guard> {
    let text = match facts.used_by_others {
        [] if facts.host.shareable => {
            "this disk is given to more than one VM (shareable): a trim could discard what another has written"
                .to_owned()
        }
        [] => return None,
        others => format!(
            "the image is used by {} too: a trim would take blocks away from under it",
            others.join(", ")
        ),
    };
    Some(Guard { layer: Layer::Protocol, text, short: "shared image".to_owned(), passes_by_itself: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::{
            guard as any_guard,
            samples::{Sample, host_disk},
        },
        model::image::{Format, Image},
    };

    fn image(path: &str) -> Image {
        Image { path: path.into(), format: Format::Qcow2 }
    }

    #[test]
    fn who_else_uses_an_image() {
        let mut overlay = host_disk("disk0", "/guests/overlay.qcow2");
        overlay.backing = vec![image("/guests/mid.qcow2"), image("/guests/base.qcow2")];
        let mut apart = host_disk("disk0", "/guests/header.qcow2");
        apart.data_file = Some("/guests/data.raw".into());
        let vms = [
            ("self".to_owned(), vec![host_disk("disk0", "/guests/base.qcow2")]),
            ("overlay".to_owned(), vec![host_disk("disk0", "/guests/other.img"), overlay]),
            ("apart".to_owned(), vec![apart]),
            ("twin".to_owned(), vec![host_disk("disk0", "/guests/./twin.img")]),
        ];
        let same = |one: &Path, other: &Path| one == other;
        for (path, expected) in [
            ("/guests/base.qcow2", vec!["overlay"]),
            ("/guests/mid.qcow2", vec!["overlay"]),
            ("/guests/overlay.qcow2", vec!["overlay"]),
            ("/guests/data.raw", vec!["apart"]),
            ("/guests/twin.img", vec!["twin"]),
            ("/guests/alone.img", vec![]),
        ] {
            assert_eq!(used_by_others("self", &host_disk("disk0", path), &vms, same), expected, "{path}");
        }
        let mut elsewhere = host_disk("disk0", "/guests/base.qcow2");
        elsewhere.image = None;
        assert!(used_by_others("self", &elsewhere, &vms, same).is_empty(), "no image on this host");
    }

    #[test]
    fn a_shared_image_is_not_trimmed() {
        let mut sample = Sample::raw();
        sample.used_by_others = vec!["ci-3".into(), "ci-4".into()];
        let said = any_guard(&sample.facts(), &[]).unwrap();
        assert!(said.text.contains("ci-3, ci-4") && !said.passes_by_itself, "{said:?}");
        assert_eq!(any_guard(&sample.facts(), &[Layer::Protocol]), None);
        sample.used_by_others.clear();
        assert_eq!(any_guard(&sample.facts(), &[]), None);
        sample.host.shareable = true;
        assert!(any_guard(&sample.facts(), &[]).unwrap().text.contains("shareable"));
    }
}
