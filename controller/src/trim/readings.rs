//! The host's readings of a turn: before, and after until they stand still.

use crate::{
    layers::ImageFacts,
    ledger::account::Reading,
    model::{
        image::Image,
        trouble::{Kind, Trouble},
    },
    trim::{
        books::After,
        look::{DiskLook, Look, Parts, allocation, counters_of},
        options::TrimOptions,
        ports::{Guest, Storage, Vmm},
        settle::{self, Patience, Settling},
    },
};

pub(super) fn reading_of(disk: &DiskLook) -> Reading {
    let allocated_bytes = disk.image.as_ref().and_then(ImageFacts::allocated_bytes);
    Reading { allocated_bytes, counters: disk.counters }
}

/// Waits until counters and allocations stand still, and gives the last reading of each disk.
pub(super) async fn settle_down<G: Guest, V: Vmm, S: Storage>(
    parts: &Parts<'_, G, V, S>,
    look: &Look,
    options: &TrimOptions,
) -> Vec<After> {
    let patience = Patience::of(fs_types(look));
    commit(parts.storage, look).await;
    let give_up = tokio::time::Instant::now().checked_add(options.settle.min(patience.at_most));
    let mut settling = Settling::new(patience);
    let mut has_settled = false;
    loop {
        let after = read_again(parts, look).await;
        let readings: Vec<Reading> = after.iter().map(|after| after.reading).collect();
        let stands_still = settling.observe(&readings);
        let out_of_time = give_up.is_none_or(|at| tokio::time::Instant::now() >= at);
        if out_of_time || (stands_still && (has_settled || !patience.commits)) {
            return after;
        }
        if stands_still {
            // What came free since the first commit shows after another one: either this reading moves once more, or
            // the next one ends it.
            commit(parts.storage, look).await;
            has_settled = true;
            continue;
        }
        tokio::time::sleep(settle::INTERVAL).await;
    }
}

fn fs_types(look: &Look) -> impl Iterator<Item = &str> {
    look.disks.iter().filter_map(|disk| disk.datastore()).map(|store| store.fs_type.as_str())
}

/// Has each datastore bring its account up to date. Best effort: an image that is gone shows when it is read.
async fn commit<S: Storage>(storage: &S, look: &Look) {
    for image in look.disks.iter().filter_map(|disk| disk.host.image.as_ref()) {
        drop(storage.settle(image).await);
    }
}

/// On a host filesystem that accounts at its commits, what came free before would be taken for this trim's work.
pub(super) async fn settle_before<S: Storage>(storage: &S, look: &mut Look) {
    if !Patience::of(fs_types(look)).commits {
        return;
    }
    commit(storage, look).await;
    for disk in &mut look.disks {
        let (Some(image), Some(facts)) = (&disk.host.image, &mut disk.image) else { continue };
        if let Ok(now) = allocation(storage, image, &disk.host, facts.header.as_ref()).await
            && now.file == facts.allocation.file
        {
            facts.allocation = now;
        }
        if let Ok(Some(now)) = storage.datastore(image).await {
            facts.place.datastore = Some(now);
        }
    }
}

async fn read_again<G: Guest, V: Vmm, S: Storage>(parts: &Parts<'_, G, V, S>, look: &Look) -> Vec<After> {
    // Without counters the ledger has no `arrived`, and the verdict says so.
    let counters = parts.vmm.counters().await.unwrap_or_default();
    let mut after = Vec::new();
    for disk in &look.disks {
        let (allocated_bytes, trouble) = match (&disk.host.image, &disk.image) {
            (Some(image), Some(facts)) => {
                match allocation(parts.storage, image, &disk.host, facts.header.as_ref()).await {
                    Ok(now) if now.file != facts.allocation.file => (None, Some(replaced(image))),
                    Ok(now) => (now.allocated_bytes, None),
                    Err(trouble) => (None, Some(trouble)),
                }
            }
            _ => (None, None),
        };
        let counters = counters_of(&counters, &disk.host.device);
        after.push(After { reading: Reading { allocated_bytes, counters }, trouble });
    }
    after
}

fn replaced(image: &Image) -> Trouble {
    Trouble::new(Kind::Image, format!("{} is another file now than before the trim", image.path.display()))
        .hint("something moved or copied the image meanwhile; look at it, then trim again")
}
