//! Room on the host filesystem. On a full one a trim *pauses* the VM when the image is a qcow2 with a backing file
//! or an internal snapshot: the discards' own metadata needs room, and QEMU stops the guest on ENOSPC.

use super::{DiskFacts, Finding, Guard, Layer, State};
use crate::model::image::Datastore;

const GIB: u64 = 1 << 30;

/// What such an image needs: max(1 GiB, 2 %).
fn needed(store: &Datastore) -> u64 {
    GIB.max(store.size_bytes.checked_div(50).unwrap_or(0))
}

fn nearly_full<'a>(facts: &DiskFacts<'a>) -> Option<&'a Datastore> {
    facts.image?.place.datastore.as_ref().filter(|store| store.free_bytes < needed(store))
}

pub(super) fn finding(facts: &DiskFacts<'_>) -> Option<Finding> {
    let store = nearly_full(facts)?;
    let left = store.free_bytes.checked_div(1 << 20).unwrap_or(0);
    Some(
        Finding::new(Layer::Datastore, State::Note, format!("{left} MiB left on {}", store.path.display()))
            .short("datastore full"),
    )
}

pub(super) fn guard(facts: &DiskFacts<'_>) -> Option<Guard> {
    let image = facts.image?;
    let header = image.header.as_ref()?;
    let grows = header.has_backing_file || header.snapshots > 0;
    let store = nearly_full(facts).filter(|_| grows)?;
    Some(Guard {
        layer: Layer::Datastore,
        text: format!(
            "the host filesystem has {} MiB free and this qcow2 image has {}: a trim could pause the VM; make {} MiB \
             of room first",
            store.free_bytes.checked_div(1 << 20).unwrap_or(0),
            if header.snapshots > 0 { "an internal snapshot" } else { "a backing file" },
            needed(store).checked_div(1 << 20).unwrap_or(0),
        ),
        short: "datastore full".to_owned(),
        passes_by_itself: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::samples::{HEADER, Sample},
        model::image::Qcow2Header,
    };

    #[test]
    fn only_images_that_grow_are_guarded() {
        let overlay = Qcow2Header { has_backing_file: true, ..HEADER };
        let snapshot = Qcow2Header { snapshots: 2, ..HEADER };
        let cases = [
            ("plain, full", HEADER, 100 * GIB, 0, false),
            ("overlay, room", overlay, 100 * GIB, 2 * GIB, false),
            ("overlay, under 2 %", overlay, 100 * GIB, 2 * GIB - 1, true),
            ("overlay, small datastore, under 1 GiB", overlay, 10 * GIB, GIB - 1, true),
            ("snapshot, full", snapshot, 100 * GIB, 0, true),
        ];
        for (name, header, size, free, expected) in cases {
            let mut sample = Sample::qcow2(header);
            let store = sample.datastore();
            (store.size_bytes, store.free_bytes) = (size, free);
            assert_eq!(guard(&sample.facts()).is_some(), expected, "{name}");
            assert_eq!(finding(&sample.facts()).is_some(), free < 2 * GIB, "{name}");
        }
    }

    #[test]
    fn raw_on_a_full_datastore_may_be_trimmed() {
        let mut sample = Sample::raw();
        sample.datastore().free_bytes = 0;
        assert_eq!(guard(&sample.facts()), None);
    }
}
