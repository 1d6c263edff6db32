//! `trimtab campaign apply`: holds a plan against the host as it is now, and takes it on.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{follow::follow, steer, store, views};
use crate::{
    campaign::{
        account::{CampaignState, Status},
        plan::{
            Plan, PlanDisk,
            assess::{image, in_the_way},
            drift::{self, Found},
            published, read,
        },
        run::Class,
        store::{Store, any::AnyStore, at::At},
        worker::{
            lock::{Taken, WorkerLock},
            said::{Listener, Said},
        },
    },
    cli::{
        args::{
            Global, Selection,
            campaign::{ApplyArgs, StoreArgs},
        },
        exit, interrupt, journal,
        output::Output,
        vms, worker,
    },
    config::{Config, Flags, datastores::DatastoreNames},
    guest::text::safe,
    host,
    model::trouble::{Kind, Trouble},
    render::{
        campaign::{
            plan::{Workers, applied},
            status::screen,
        },
        json::{campaign::StatusDocument, plan::ApplyDocument},
    },
    trim::{
        look::{Look, look_at_host},
        many::side_by_side,
    },
};

/// A plan of ten thousand VMs takes a tenth of it.
const MAX_BYTES: u64 = 64 << 20;

pub(super) async fn run(
    global: &Global,
    args: &StoreArgs,
    apply: &ApplyArgs,
    output: &Output,
) -> Result<u8, Trouble> {
    let config = store::config(global, args)?;
    let text = load(&apply.plan)?;
    // Windows are worked out from the time of the clock that they will go by.
    let (plan, now) = match &config.store {
        At::File(_) => {
            let gates: BTreeSet<&str> = config.gates.iter().map(|gate| gate.name.as_str()).collect();
            let plan = read::read(&apply.plan, &text, &gates)?;
            check_host(global, args, &apply.plan, &plan).await?;
            (plan, Timestamp::now())
        }
        At::Database(_) => {
            let store = AnyStore::open_to_read(&config.store).await?;
            let published = views::published(&store).await?;
            let gates = published::gates(&published);
            let plan = read::read(&apply.plan, &text, &gates.iter().map(String::as_str).collect())?;
            refuse_drift(&apply.plan, &plan, &published::found(&published))?;
            (plan, store.now().await?)
        }
    };
    let campaign = plan.campaign(&text, &steer::who(), now);
    if !plan.windows.is_empty() && campaign.windows.is_empty() {
        return Err(Trouble::new(
            Kind::Config,
            "none of the plan's windows opens in the weeks it looks ahead",
        )
        .hint("give [windows] more weeks, or other times"));
    }
    if apply.dry_run {
        output
            .result(&ApplyDocument::new(None, &campaign), || applied(None, &campaign, &Workers::There, now));
        return Ok(exit::OK);
    }
    let store = store::to_write(&config).await?;
    let id = store.apply(&campaign).await?;
    // A fleet's campaign is its workers' alone.
    let taken = match &config.store {
        At::File(_) => Some(WorkerLock::take(&config.store.lock())?),
        At::Database(_) => None,
    };
    if apply.follow {
        return carry(global, &config, store, id, taken, output).await;
    }
    let workers = match taken {
        Some(Taken::Theirs { .. }) => Workers::There,
        Some(Taken::Ours(_)) => Workers::NotHere,
        None => without_worker(&store.status(id).await?),
    };
    output.result(&ApplyDocument::new(Some(id), &campaign), || applied(Some(id), &campaign, &workers, now));
    Ok(exit::OK)
}

/// The hosts of a fleet's campaign on which nothing begins yet.
fn without_worker(status: &Status) -> Workers {
    let missing = status.hosts.iter().filter(|host| !host.has_worker);
    let missing: Vec<String> = missing.map(|host| safe(status.names.called(&host.host))).collect();
    if missing.is_empty() { Workers::There } else { Workers::NotOn(missing) }
}

fn load(path: &Path) -> Result<String, Trouble> {
    let about = |what: String| {
        Trouble::new(Kind::Config, format!("{}: {what}", path.display()))
            .hint("trimtab campaign plan -o plan.toml writes a plan")
    };
    let metadata = std::fs::metadata(path).map_err(|error| about(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(about(format!("is no plan: a file of at most {MAX_BYTES} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| about(error.to_string()))
}

/// Refuses a plan that the host has drifted from. Guests are not called.
async fn check_host(global: &Global, args: &StoreArgs, path: &Path, plan: &Plan) -> Result<(), Trouble> {
    let here = host::id();
    if plan.is_fleet {
        let text = format!(
            "{}: hosts: the plan is of a fleet, and the store is a file of this host's",
            path.display()
        );
        return Err(
            Trouble::new(Kind::Drifted, text).hint("say the fleet's --store postgres://…, or plan anew")
        );
    }
    if let Some(other) = plan.hosts.iter().find(|host| host.id != here) {
        let text = format!("{}: host: the plan was made on another host ({})", path.display(), other.id);
        return Err(Trouble::new(Kind::Drifted, text).hint("apply it there, or plan anew here"));
    }
    let flags = Flags { store: args.store.clone(), ..vms::flags(global) };
    let known = vms::load_with(global, flags).await?.with_neighbours();
    let mut all = known.select(&Selection { vms: Vec::new(), select: None }).await?;
    // Where a source cannot be read its VMs are not gone.
    if let Some(trouble) = all.iter().find_map(|vm| vm.not_read.clone()) {
        return Err(trouble);
    }
    all.retain(|vm| plan.vms.iter().any(|planned| planned.name == vm.name));
    let names = Arc::new(known.config.datastores.clone());
    let found = side_by_side(all, known.parallel(), |vm| {
        let (reached, names, host) = (known.reach(&vm), Arc::clone(&names), here.clone());
        async move {
            let uuid = vm.uuid().map(str::to_owned);
            let look = look_at_host(&reached.parts()).await;
            let left_out = look.as_ref().ok().and_then(|look| in_the_way(&vm, look));
            let disks = look.and_then(|look| disks(&host, &look, &names)).map(Some);
            Ok(Found { disks, left_out, name: vm.name, host, uuid })
        }
    })
    .await;
    let found: Vec<Found> = found.into_iter().collect::<Result<_, _>>()?;
    refuse_drift(path, plan, &found)
}

fn refuse_drift(path: &Path, plan: &Plan, found: &[Found]) -> Result<(), Trouble> {
    match drift::drift(plan, found).as_slice() {
        [] => Ok(()),
        drift => Err(drift::refusal(path, drift)),
    }
}

/// A VM's disks with an image on this host, as they are now.
fn disks(host: &str, look: &Look, names: &DatastoreNames) -> Result<Vec<PlanDisk>, Trouble> {
    let with_image = look.disks.iter().filter(|disk| disk.host.image.is_some());
    let disks = with_image.map(|disk| match (&disk.image, &disk.image_trouble) {
        (None, Some(trouble)) => Err(trouble.clone()),
        _ => Ok(image(host, disk, names).as_ref().map(PlanDisk::from)),
    });
    Ok(disks.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Shows how it goes on. Where no worker runs on a host with a store of its own, this process is the worker: Ctrl-C pauses
/// the campaign then, and leaves one that a worker carries to it.
async fn carry(
    global: &Global,
    config: &Config,
    store: AnyStore,
    id: i64,
    taken: Option<Taken>,
    output: &Output,
) -> Result<u8, Trouble> {
    let leave = interrupt::once()?;
    let store = Arc::new(store);
    let status = match taken {
        None | Some(Taken::Theirs { .. }) => {
            follow(&*store, id, *output, global.quiet, leave.clone()).await?
        }
        Some(Taken::Ours(_lock)) => {
            let worker = worker::worker(global, config, Arc::clone(&store), Arc::new(Journal));
            let (end, ended) = watch::channel(false);
            let who = steer::who();
            let carried = async {
                let carried = worker.carry(id, &who, leave.clone()).await;
                end.send_replace(true);
                carried
            };
            let (carried, shown) = tokio::join!(carried, follow(&*store, id, *output, global.quiet, ended));
            carried?;
            shown?
        }
    };
    let exit = exit_code(&status, *leave.borrow());
    output.result(&StatusDocument::new(&status, exit), || screen(&status));
    Ok(exit)
}

/// Each trim leaves its line in the journal; the screen shows the rest.
struct Journal;

impl Listener for Journal {
    fn say(&self, said: Said<'_>) {
        if let Said::Turned(vm, turn) = &said {
            journal::line(&vm.name, &[], turn);
        }
    }
}

/// As a trim's, with VMs in the place of disks; one that was away is no failure.
fn exit_code(status: &Status, left: bool) -> u8 {
    use crate::trim::outcome::Weight;
    let is_over = matches!(status.summary.state, CampaignState::Done | CampaignState::Aborted);
    if left && !is_over {
        return exit::INTERRUPTED;
    }
    let weight = |class: &Class| match class {
        Class::Reclaimed | Class::AlreadyCompact | Class::Away => Weight::Good,
        _ => Weight::Bad,
    };
    let weights: Vec<Weight> =
        status.summary.done.iter().filter(|(_, count)| **count > 0).map(|(class, _)| weight(class)).collect();
    match exit::code(&weights) {
        exit::OK if !is_over => exit::NOT_NOW,
        code => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::campaign::samples;

    #[test]
    fn exit_codes() {
        let status = |state, done: &[(Class, u32)]| {
            let mut status = samples::status();
            status.summary.state = state;
            status.summary.done = done.iter().copied().collect();
            status
        };
        use CampaignState::{Done, Paused, Stopped};
        for (name, state, done, left, expected) in [
            (
                "all good",
                Done,
                vec![(Class::Reclaimed, 3), (Class::Away, 1), (Class::Failed, 0)],
                false,
                exit::OK,
            ),
            ("some failed", Done, vec![(Class::Reclaimed, 3), (Class::Failed, 1)], false, exit::SOME),
            ("all cut", Done, vec![(Class::Cut, 3)], false, exit::ALL),
            ("Ctrl-C", Paused, vec![(Class::Reclaimed, 3)], true, exit::INTERRUPTED),
            ("paused by somebody", Paused, vec![(Class::Reclaimed, 3)], false, exit::NOT_NOW),
            ("Ctrl-C at its end", Done, vec![(Class::Reclaimed, 3)], true, exit::OK),
            ("stopped", Stopped, vec![(Class::Harmed, 1), (Class::Reclaimed, 1)], false, exit::SOME),
        ] {
            assert_eq!(exit_code(&status(state, &done), left), expected, "{name}");
        }
    }
}
