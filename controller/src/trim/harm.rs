//! Harm: what the host itself saw get worse between the look and the end of a trim. What a guest says is no part of it: one
//! tenant could stop everybody's trims.
//!
//! A VM that QEMU stopped on an I/O error is the plainest case, and shows in its state ([`super::call::stop_of`]). With
//! `werror=report` the guest gets the error and runs on; a refused discard is a finding of the layer, and no harm.

use crate::{
    layers::ImageFacts,
    model::trouble::{Kind, Trouble},
    trim::{
        books::After,
        look::{DiskLook, Look},
        outcome::DatastoreChange,
        ports::Storage,
    },
};

/// The gravest of it, in words.
pub(super) async fn worse<S: Storage>(
    storage: &S,
    look: &Look,
    after: &[After],
    datastores: &[DatastoreChange],
) -> Option<Trouble> {
    let text = match datastores.iter().find(|change| change.became_read_only) {
        Some(change) => {
            format!("{} became read-only on this host during the trim", change.before.path.display())
        }
        None => of_disks(storage, look, after).await?,
    };
    let hint =
        "look at this host's kernel log and at the storage below before anything else is trimmed on it";
    Some(Trouble::new(Kind::StorageWorse, text).hint(hint))
}

async fn of_disks<S: Storage>(storage: &S, look: &Look, after: &[After]) -> Option<String> {
    for (disk, after) in look.disks.iter().zip(after) {
        let name = || look.guest_disk(disk).map_or(disk.host.name(), |device| &device.name);
        if became_corrupt(storage, disk).await {
            return Some(format!("{}: QEMU marked its image as corrupt during the trim", name()));
        }
        let moved = after.reading.counters.failed_io.zip(disk.counters.failed_io);
        // A counter that fell is another QEMU's.
        match moved.and_then(|(now, before)| now.checked_sub(before)) {
            None | Some(0) => {}
            Some(1) => {
                return Some(format!("{}: a read or write failed on this host during the trim", name()));
            }
            Some(failed) => {
                return Some(format!(
                    "{}: {failed} reads or writes failed on this host during the trim",
                    name()
                ));
            }
        }
    }
    None
}

/// QEMU sets the bit where it finds that a write would hit the image's own tables, and refuses every write from then on
/// (qcow2_signal_corruption() in block/qcow2.c).
async fn became_corrupt<S: Storage>(storage: &S, disk: &DiskLook) -> bool {
    let was_sound = disk
        .image
        .as_ref()
        .and_then(|ImageFacts { header, .. }| header.as_ref())
        .is_some_and(|h| !h.is_corrupt);
    match &disk.host.image {
        Some(image) if was_sound => storage.qcow2_header(image).await.is_ok_and(|header| header.is_corrupt),
        _ => false,
    }
}
