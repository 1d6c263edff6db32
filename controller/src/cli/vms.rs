//! The VMs that a command is about, and the three sides of each.

use std::sync::Arc;

use super::{
    args::{Global, Selection},
    output::Output,
};
use crate::{
    campaign::{run::VmKey, worker::vms},
    config::{Config, Flags, datastores::DatastoreNames},
    guest::GuestWay,
    image::HostStorage,
    inventory::{
        Inventory,
        select::{Places, asks_for_places, select},
    },
    model::{
        disk::VmState,
        endpoint::Endpoint,
        trouble::{Kind, Trouble},
        vm::{Via, Vm},
    },
    trim::{
        many::side_by_side,
        neighbours::Neighbours,
        ports::{Storage, Vmm},
    },
    vmm::HostVmm,
};

/// What is known on this host.
pub(super) struct Known {
    pub(super) config: Config,
    inventory: Inventory,
    /// Domains may be tainted for what their monitors know.
    qmp: bool,
    via: Option<Via>,
    neighbours: Neighbours,
}

/// Reads configuration and inventory.
pub(super) async fn load(global: &Global, parallel: Option<u16>) -> Result<Known, Trouble> {
    load_with(global, Flags { parallel, ..flags(global) }).await
}

/// What the global options say.
pub(super) fn flags(global: &Global) -> Flags {
    Flags { inventory: global.inventory.clone(), connect: global.connect.clone(), ..Flags::default() }
}

/// The same as [`load`] for a verb with options of its own.
pub(super) async fn load_with(global: &Global, flags: Flags) -> Result<Known, Trouble> {
    let config = Config::load(flags)?;
    let mut inventory = Inventory::load(&config.sources).await?;
    config.labels.add_to(&mut inventory.vms);
    Ok(Known { config, inventory, qmp: global.qmp, via: global.via, neighbours: Neighbours::default() })
}

impl Known {
    /// All VMs.
    pub(super) fn into_vms(self) -> Vec<Vm> {
        self.inventory.vms
    }

    /// The VMs that the caller means. Where images lie is looked up only for who selects by it.
    pub(super) async fn select(&self, selection: &Selection) -> Result<Vec<Vm>, Trouble> {
        let terms = selection.select.as_deref();
        let places = match terms.is_some_and(asks_for_places) {
            true => self.places().await,
            false => Places::new(),
        };
        select(&self.inventory.vms, &places, &selection.vms, terms)
    }

    /// Where the images of each VM lie; nothing for one whose hypervisor or images cannot be read.
    async fn places(&self) -> Places {
        let names = Arc::new(self.config.datastores.clone());
        let found = side_by_side(self.inventory.vms.clone(), self.parallel(), |vm| {
            let names = Arc::clone(&names);
            async move {
                let places = places_of(&vm, &names).await;
                Ok((vm.name, places))
            }
        });
        found.await.into_iter().flatten().collect()
    }

    /// Says once which domains libvirt will hold it against that their monitors were asked. A domain with a monitor socket
    /// of its own is not among them.
    pub(super) fn warn_of_taint(&self, vms: &[Vm], output: Output) {
        let off = |vm: &Vm| vm.domain.as_ref().is_some_and(|domain| domain.state == Some(VmState::Off));
        let tainted: Vec<&str> = vms
            .iter()
            .filter(|vm| self.qmp && vm.domain.is_some() && vm.qmp.is_none() && !off(vm))
            .map(|vm| vm.name.as_str())
            .collect();
        if !tainted.is_empty() {
            output.note(&format!(
                "--qmp: until their next start libvirt shows as tainted (custom monitor commands): {}",
                tainted.join(", ")
            ));
        }
    }

    /// Asks every hypervisor of the host once, so that a look at one VM can tell whose images it shares; never a domain's
    /// monitor.
    pub(super) fn with_neighbours(mut self) -> Self {
        // libvirt told of its domains' disks when it listed them: a second question beside a look would get in its way.
        let (domains, others): (Vec<&Vm>, Vec<&Vm>) =
            self.inventory.vms.iter().partition(|vm| vm.domain.is_some());
        let told =
            domains.into_iter().filter_map(|vm| Some((vm.name.clone(), vm.domain.as_ref()?.disks.clone())));
        let asked = others.into_iter().map(|vm| (vm.name.clone(), HostVmm::of(vm)));
        self.neighbours = Neighbours::ask(told.collect(), asked.collect());
        self
    }

    /// The VM of a campaign.
    ///
    /// # Errors
    /// It is not known here any more, or another one goes by its name.
    pub(super) fn find(&self, key: &VmKey) -> Result<&Vm, Trouble> {
        let gone = |what: &str| {
            Trouble::new(Kind::UnknownVm, format!("{} {what}", key.name))
                .hint("plan anew if it is to have a turn under another name or on another host")
        };
        let vm = self.inventory.vms.iter().find(|vm| vm.name == key.name && vm.not_read.is_none());
        let vm = vm.ok_or_else(|| gone("is not known on this host any more"))?;
        match key.uuid.is_none() || key.uuid.as_deref() == vm.uuid() {
            true => Ok(vm),
            false => Err(gone("is another VM now than the one that was planned")),
        }
    }

    /// The ways to a VM; nothing is connected yet.
    pub(super) fn reach(&self, vm: &Vm) -> Reached {
        Reached {
            name: vm.name.clone(),
            guest: GuestWay::of(vm, self.via_of(vm)),
            vmm: if self.qmp { HostVmm::of(vm).with_monitor() } else { HostVmm::of(vm) },
            storage: HostStorage,
            neighbours: self.neighbours.clone(),
        }
    }

    /// Who trims in that guest: the caller's word, else the inventory's.
    fn via_of(&self, vm: &Vm) -> Via {
        self.via.or(vm.via).unwrap_or_default()
    }

    /// Where its agent is reached, if that is how it is reached at all.
    pub(super) fn endpoint<'a>(&self, vm: &'a Vm) -> Option<&'a Endpoint> {
        vm.agent.as_ref().filter(|_| self.via_of(vm) == Via::Agent)
    }

    /// How many at a time.
    pub(super) fn parallel(&self) -> usize {
        self.config.parallel.into()
    }
}

/// The ways to one VM of this host.
pub(super) type Reached = vms::Reached<GuestWay, HostVmm, HostStorage>;

/// The names, identities and mount points of the datastores of a VM.
async fn places_of(vm: &Vm, names: &DatastoreNames) -> Vec<String> {
    let disks = match &vm.domain {
        Some(domain) => domain.disks.clone(),
        None => HostVmm::of(vm).look().await.map(|view| view.disks).unwrap_or_default(),
    };
    let mut places = Vec::new();
    for image in disks.iter().filter_map(|disk| disk.image.as_ref()) {
        if let Ok(Some(store)) = HostStorage.datastore(image).await {
            let path = store.path.display().to_string();
            places.extend([names.of(&store), store.identity, path]);
        }
    }
    places
}
