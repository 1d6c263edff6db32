//! The turn of one VM, step by step.

use tokio::sync::watch;
use trimtab_proto::words::RunState;

use super::resume::{self, Caller, Once, Ticket};
use crate::{
    layers::way,
    ledger::account::Reading,
    model::{
        guest::GuestSurvey,
        run::{RunReport, TrimOrder},
        trouble::{Kind, Trouble},
    },
    trim::{
        books::{After, Books},
        call::{Call, stop_of, stopped_since},
        choose::{Choice, Decision, choose},
        event::{Listener, Stage, TurnEvent},
        harm,
        look::{Look, Parts, look},
        options::TrimOptions,
        outcome::{DatastoreChange, FilesystemOutcome, TurnOutcome},
        ports::{Guest, Storage, Vmm},
        readings,
        wish::Wish,
    },
};

/// Trims one VM once. `alone` says that no other VM is trimmed at the same time, so that what a datastore gains is this
/// VM's.
pub async fn turn<G: Guest, V: Vmm, S: Storage>(
    parts: &Parts<'_, G, V, S>,
    options: &TrimOptions,
    alone: bool,
    listener: &dyn Listener,
    wishes: watch::Receiver<Wish>,
) -> Result<TurnOutcome, Trouble> {
    turn_for(&Once { alone }, Ticket::new(), parts, options, listener, wishes).await
}

/// Trims one VM for a caller who keeps what it takes to go on should this process end; a ticket with a baseline is of a
/// run that was called before.
pub async fn turn_for<C: Caller, G: Guest, V: Vmm, S: Storage>(
    caller: &C,
    ticket: Ticket,
    parts: &Parts<'_, G, V, S>,
    options: &TrimOptions,
    listener: &dyn Listener,
    wishes: watch::Receiver<Wish>,
) -> Result<TurnOutcome, Trouble> {
    listener.event(TurnEvent::Stage(Stage::Looking));
    let mut look = look(parts).await?;
    if ticket.baseline.is_some() {
        stopped_meanwhile(&look)?;
    }
    let survey = look.guest.as_ref().map_err(Clone::clone)?;
    let found = resume::find(parts.guest, &ticket, &survey.agent.boot_id).await?;
    let mut choice = choose(&look, survey, options)?;
    if let Some(report) = &found {
        resume::abide_by(report, &look, &mut choice);
    }
    let calls = !choice.targets.is_empty();
    if calls && found.is_none() {
        readings::settle_before(parts.storage, &mut look).await;
        warn(&look, &choice, listener);
    }
    if let Some(baseline) = &ticket.baseline {
        resume::apply(baseline, &mut look);
    }
    let survey = look.guest.as_ref().map_err(Clone::clone)?;
    let before: Vec<Reading> = look.disks.iter().map(readings::reading_of).collect();
    let run = match (calls, found) {
        (_, Some(ended)) if ended.state.is(RunState::Ended) => Some(Ok(ended)),
        (false, _) => None,
        (true, found) => {
            if found.is_none() {
                caller.before(&look, &resume::baseline_of(&look)).await?;
            }
            let call = Call { guest: parts.guest, vmm: parts.vmm, survey, listener, wishes };
            let order = order(&ticket, survey, &choice, options);
            let called = match found {
                Some(_) => call.go_on(order).await,
                None => call.run(order).await,
            };
            match called {
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
    // What an earlier call of this run freed is in no other account.
    let began = report.is_some() || trouble.is_some() || ticket.baseline.is_some();
    let after = if began {
        listener.event(TurnEvent::Stage(Stage::Settling));
        readings::settle_down(parts, &look, options).await
    } else {
        before.iter().map(|reading| After { reading: *reading, trouble: None }).collect()
    };
    let stopped = if began { stopped_since(parts.vmm).await } else { None };
    let datastores = datastores(parts.storage, &look).await;
    let worse = if began { harm::worse(parts.storage, &look, &after, &datastores).await } else { None };
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
        // A datastore's room of before an earlier call is not known.
        alone: ticket.baseline.is_none() && caller.was_alone(),
    };
    let disks = books.disks(parts.storage).await;
    Ok(TurnOutcome {
        agent: survey.agent.clone(),
        disks,
        filesystems: filesystems(survey, report.as_ref()),
        not_listed: survey.not_listed,
        unpaired_guest_disks: unpaired(&look, survey),
        datastores,
        trouble: stopped.or(worse).or(trouble),
        run: report,
    })
}

/// A VM that was being trimmed when its trim was lost, and that has stopped on an I/O error since.
fn stopped_meanwhile(look: &Look) -> Result<(), Trouble> {
    match look.vm.state.as_ref().and_then(stop_of) {
        Some(trouble) if trouble.kind == Kind::VmIoError => Err(trouble),
        _ => Ok(()),
    }
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

fn order(ticket: &Ticket, survey: &GuestSurvey, choice: &Choice, options: &TrimOptions) -> TrimOrder {
    TrimOrder {
        run_id: ticket.run_id.clone(),
        fence: ticket.fence,
        boot_id: survey.agent.boot_id.clone(),
        targets: choice.targets.clone(),
        pace: options.pace,
        deadline: options.deadline,
        linger: options.linger,
        again: options.again,
        also_types: options.also_types.clone(),
    }
}

/// Tells what is worth knowing before a trim begins, once each.
fn warn(look: &Look, choice: &Choice, listener: &dyn Listener) {
    for finding in way::findings(&look.vm, None, &look.guest).into_iter().filter(|finding| finding.warns) {
        listener.event(TurnEvent::Warning { layer: finding.layer, text: finding.text });
    }
    let mut told = Vec::new();
    for (disk, decision) in look.disks.iter().zip(&choice.decisions) {
        let findings = if *decision == Decision::Go { look.findings(disk) } else { Vec::new() };
        for finding in findings.into_iter().filter(|finding| finding.warns) {
            let name = look.guest_disk(disk).map_or(disk.host.name(), |device| &device.name);
            let text = format!("{name}: {}", finding.text);
            if !told.contains(&text) {
                listener.event(TurnEvent::Warning { layer: finding.layer, text: text.clone() });
                told.push(text);
            }
        }
    }
}

async fn datastores<S: Storage>(storage: &S, look: &Look) -> Vec<DatastoreChange> {
    let mut changes: Vec<DatastoreChange> = Vec::new();
    for disk in &look.disks {
        let Some(image) = &disk.host.image else { continue };
        let Some(before) = disk.datastore() else { continue };
        if changes.iter().any(|change| change.before.id == before.id) {
            continue;
        }
        let now = storage.datastore(image).await.ok().flatten().filter(|now| now.id == before.id);
        changes.push(DatastoreChange {
            became_read_only: now.as_ref().is_some_and(|now| now.has_option("ro"))
                && !before.has_option("ro"),
            free_after_bytes: now.map(|now| now.free_bytes),
            before: before.clone(),
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
