//! The turn of one VM, step by step.

use tokio::sync::watch;

use crate::{
    layers::ImageFacts,
    ledger::account::Reading,
    model::{
        guest::GuestSurvey,
        image::Image,
        run::{RunReport, TrimOrder},
        trouble::{Kind, Trouble},
    },
    trim::{
        books::{After, Books},
        call::{Call, next_fence, stopped_since},
        choose::{Choice, choose},
        event::{Listener, Stage, TurnEvent},
        look::{DiskLook, Look, Parts, allocation, counters_of, look},
        options::TrimOptions,
        outcome::{DatastoreChange, FilesystemOutcome, TurnOutcome},
        ports::{Guest, Storage, Vmm},
        settle::{self, Settling},
    },
};

/// Trims one VM. `alone` says that no other VM is trimmed at the same time, so that what a datastore gains is this
/// VM's.
pub async fn turn<G: Guest, V: Vmm, S: Storage>(
    parts: &Parts<'_, G, V, S>,
    options: &TrimOptions,
    alone: bool,
    listener: &dyn Listener,
    cancel: watch::Receiver<bool>,
) -> Result<TurnOutcome, Trouble> {
    listener.event(TurnEvent::Stage(Stage::Looking));
    let look = look(parts).await?;
    let survey = look.guest.as_ref().map_err(Clone::clone)?;
    let choice = choose(&look, survey, options)?;
    let before: Vec<Reading> = look.disks.iter().map(reading_of).collect();
    let run = match choice.targets.is_empty() {
        true => None,
        false => {
            let call = Call { guest: parts.guest, vmm: parts.vmm, survey, listener, cancel };
            match call.run(order(survey, &choice, options)).await {
                // Refused before anything began: the VM as a whole has no outcome.
                Err(trouble) if is_refusal(trouble.kind) => return Err(trouble),
                other => Some(other),
            }
        }
    };
    let (report, trouble) = match run {
        Some(Ok(report)) => (Some(report), None),
        Some(Err(trouble)) => (None, Some(trouble)),
        None => (None, None),
    };
    let began = report.is_some() || trouble.is_some();
    let after = if began {
        listener.event(TurnEvent::Stage(Stage::Settling));
        settle_down(parts, &look, options).await
    } else {
        before.iter().map(|reading| After { reading: *reading, trouble: None }).collect()
    };
    let stopped = if began { stopped_since(parts.vmm).await } else { None };
    let datastores = datastores(parts.storage, &look).await;
    let books = Books {
        look: &look,
        survey,
        choice: &choice,
        report: report.as_ref(),
        // A guest that QEMU stopped on an I/O error outranks whatever else went wrong.
        trouble: stopped.as_ref().or(trouble.as_ref()),
        before: &before,
        after: &after,
        datastores: &datastores,
        alone,
    };
    let disks = books.disks(parts.storage).await;
    Ok(TurnOutcome {
        agent: survey.agent.clone(),
        disks,
        filesystems: filesystems(survey, report.as_ref()),
        not_listed: survey.not_listed,
        unpaired_guest_disks: unpaired(&look, survey),
        datastores,
        trouble: stopped.or(trouble),
        run: report,
    })
}

fn is_refusal(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Busy
            | Kind::TooSoon
            | Kind::Vetoed
            | Kind::AgentVersion
            | Kind::NoLink
            | Kind::NoAgent
            | Kind::NoPermission
    )
}

fn order(survey: &GuestSurvey, choice: &Choice, options: &TrimOptions) -> TrimOrder {
    TrimOrder {
        run_id: uuid::Uuid::new_v4().to_string(),
        fence: next_fence(0),
        boot_id: survey.agent.boot_id.clone(),
        targets: choice.targets.clone(),
        pace: options.pace,
        deadline: options.deadline,
        linger: options.linger,
        again: options.again,
        also_types: options.also_types.clone(),
    }
}

fn reading_of(disk: &DiskLook) -> Reading {
    let allocated_bytes = disk.image.as_ref().and_then(ImageFacts::allocated_bytes);
    Reading { allocated_bytes, counters: disk.counters }
}

/// Waits until counters and allocations stand still, and gives the last reading of each disk.
async fn settle_down<G: Guest, V: Vmm, S: Storage>(
    parts: &Parts<'_, G, V, S>,
    look: &Look,
    options: &TrimOptions,
) -> Vec<After> {
    for image in look.disks.iter().filter_map(|disk| disk.host.image.as_ref()) {
        // Best effort: an image that is gone shows in the reading below.
        let _ = parts.storage.settle(image).await;
    }
    let give_up = tokio::time::Instant::now().checked_add(options.settle);
    let mut settling = Settling::default();
    loop {
        let after = read_again(parts, look).await;
        let readings: Vec<Reading> = after.iter().map(|after| after.reading).collect();
        let out_of_time = give_up.is_none_or(|at| tokio::time::Instant::now() >= at);
        if settling.observe(&readings) || out_of_time {
            return after;
        }
        tokio::time::sleep(settle::INTERVAL).await;
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

async fn datastores<S: Storage>(storage: &S, look: &Look) -> Vec<DatastoreChange> {
    let mut changes: Vec<DatastoreChange> = Vec::new();
    for disk in &look.disks {
        let Some(image) = &disk.host.image else { continue };
        let Some(before) = disk.datastore() else { continue };
        if changes.iter().any(|change| change.before.id == before.id) {
            continue;
        }
        let now = storage.datastore(image).await.ok().flatten();
        changes.push(DatastoreChange {
            before: before.clone(),
            free_after_bytes: now.filter(|now| now.id == before.id).map(|now| now.free_bytes),
        });
    }
    changes
}

fn filesystems(survey: &GuestSurvey, report: Option<&RunReport>) -> Vec<FilesystemOutcome> {
    survey
        .filesystems
        .iter()
        .map(|fs| FilesystemOutcome {
            filesystem: fs.clone(),
            on: survey.disk_names(fs),
            run: report
                .and_then(|report| report.filesystems.iter().find(|run| run.filesystem_id == fs.id))
                .cloned(),
        })
        .collect()
}

/// Guest disks that have a filesystem and no image.
fn unpaired(look: &Look, survey: &GuestSurvey) -> Vec<String> {
    survey
        .devices
        .iter()
        .filter(|device| look.disk_of(&device.id).is_none())
        .filter(|device| survey.filesystems.iter().any(|fs| fs.leaf_ids.contains(&device.id)))
        .map(|device| device.name.clone())
        .collect()
}

#[cfg(test)]
mod tests;
