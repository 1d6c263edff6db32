//! Where a plan gets its VMs: this host is looked at, a fleet's hosts have published theirs.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    campaign::{
        plan::{
            LeftOut, PlanHost, Reason,
            assess::assess,
            build::HostView,
            published::{self, Meant},
            spared::Spared,
        },
        seen::SeenDatastore,
        store::{
            Store,
            any::AnyStore,
            at::At,
            fleet::{Fleet, PublishedHost},
        },
    },
    cli::{
        args::{Global, Selection, campaign::PlanArgs},
        output::Output,
        survey, vms,
    },
    config::Config,
    guest::text::safe,
    host,
    model::{
        trouble::{Kind, Trouble},
        vm::Vm,
    },
    render::{campaign::some_of, progress::Progress},
};

/// Hosts with their VMs, and who is left out before anything is known of him.
pub(super) type Views = (Vec<HostView>, Vec<LeftOut>);

/// Looks at this host's VMs.
pub(super) async fn here(
    global: &Global,
    known: vms::Known,
    args: &PlanArgs,
    output: &Output,
) -> Result<Views, Trouble> {
    let (excluded, taken) = select(&known, args).await?;
    known.warn_of_taint(&taken, *output);
    let progress = Progress::new(global.quiet || output.wants_events());
    let looks = survey::look_at(&known, taken.clone(), &progress).await;
    let id = host::id();
    let (mut seen, mut datastores) = (Vec::new(), Vec::<SeenDatastore>::new());
    for (vm, (_, look)) in taken.iter().zip(&looks) {
        let (vm, stores) = assess(&id, vm, look, &known.config.datastores);
        seen.push(vm);
        for store in stores {
            if !datastores.iter().any(|known| known.name == store.name) {
                datastores.push(store);
            }
        }
    }
    let left_out = excluded.into_iter().map(|vm| LeftOut {
        name: vm.name,
        host: id.clone(),
        reason: Reason::Excluded,
        text: "--exclude says so".to_owned(),
        paste: None,
    });
    let host = PlanHost { id: id.clone(), name: host::name(), published: Timestamp::now() };
    let view = HostView { host, datastores, vms: seen, beside: Vec::new() };
    Ok((vec![view], left_out.collect()))
}

/// What all hosts have published, and the gates that each of them defines.
pub(super) async fn fleet(
    store: &AnyStore,
    args: &PlanArgs,
    output: &Output,
) -> Result<Option<(Views, BTreeSet<String>)>, Trouble> {
    let Some(database) = store.fleet() else { return Ok(None) };
    let unheard = database.unheard().await?;
    if !unheard.is_empty() {
        output.note(&never_heard(&unheard));
    }
    let published = published(store).await?;
    let meant = Meant {
        names: &args.selection.vms,
        select: args.selection.select.as_deref(),
        exclude: &args.exclude,
    };
    let views = published::views(&published, meant, store.now().await?)?;
    Ok(Some((views, published::gates(&published))))
}

/// Hosts that an operator has let in, and that no plan can be about.
fn never_heard(hosts: &[String]) -> String {
    let hosts: Vec<String> = hosts.iter().map(|host| safe(host)).collect();
    format!("no worker was ever heard on {}: systemctl enable --now trimtab-worker there", some_of(&hosts))
}

/// What all hosts have published: at least one has.
pub(super) async fn published(store: &AnyStore) -> Result<Vec<PublishedHost>, Trouble> {
    let published = match store.fleet() {
        Some(fleet) => fleet.published().await?,
        None => Vec::new(),
    };
    if published.is_empty() {
        return Err(Trouble::new(Kind::UnknownVm, "no host has published its VMs in this store yet")
            .hint("start trimtab-worker on each host: it publishes within a minute"));
    }
    Ok(published)
}

/// The VMs that a campaign of this store must not slow down.
pub(super) fn spared(config: &Config) -> Vec<Spared> {
    let mut all = Vec::new();
    let mut add = |called: String, why: &str| all.push(Spared { called, why: why.to_owned() });
    if let Some(vm) = &config.database_vm {
        add(vm.clone(), "the store's database runs in it (database_vm in trimtab.toml)");
    }
    if let Some(uuid) = host::product_uuid() {
        add(uuid, "trimtab itself runs in it");
    }
    if let At::Database(url) = &config.store
        && let Some(server) = url.server()
    {
        add(server, "it has the name of the store's server");
    }
    all
}

/// Those that are excluded, and those that take part. Terms that exclude nobody are a slip of the finger.
async fn select(known: &vms::Known, args: &PlanArgs) -> Result<(Vec<Vm>, Vec<Vm>), Trouble> {
    let all = known.select(&args.selection).await?;
    let mut excluded: Vec<String> = Vec::new();
    for terms in &args.exclude {
        let fitting = known.select(&Selection { vms: Vec::new(), select: Some(terms.clone()) }).await?;
        if fitting.is_empty() {
            return Err(published::excludes_nobody(terms));
        }
        excluded.extend(fitting.into_iter().map(|vm| vm.name));
    }
    Ok(all.into_iter().partition(|vm| excluded.contains(&vm.name)))
}
