//! The VMs that a command is about, and the three sides of each.

use super::args::{Global, Selection};
use crate::{
    config::{Config, Flags},
    guest::GuestWay,
    image::HostStorage,
    inventory::{Inventory, select::select},
    model::{trouble::Trouble, vm::Vm},
    trim::look::Parts,
    vmm::HostVmm,
};

/// What is known on this host.
pub(super) struct Known {
    pub(super) config: Config,
    inventory: Inventory,
}

/// Reads configuration and inventory.
pub(super) async fn load(global: &Global, parallel: Option<u16>) -> Result<Known, Trouble> {
    let config = Config::load(Flags { inventory: global.inventory.clone(), parallel })?;
    let inventory = Inventory::load(config.inventory.clone()).await?;
    Ok(Known { config, inventory })
}

impl Known {
    /// The VMs that the caller means.
    pub(super) fn select(&self, selection: &Selection) -> Result<Vec<Vm>, Trouble> {
        select(&self.inventory.vms, &selection.vms, selection.select.as_deref())
    }

    /// How many at a time.
    pub(super) fn parallel(&self) -> usize {
        self.config.parallel.into()
    }
}

/// The ways to one VM.
pub(super) struct Reached {
    guest: GuestWay,
    vmm: HostVmm,
    storage: HostStorage,
}

impl Reached {
    pub(super) fn parts(&self) -> Parts<'_, GuestWay, HostVmm, HostStorage> {
        Parts { guest: &self.guest, vmm: &self.vmm, storage: &self.storage }
    }
}

/// Finds the ways to a VM; nothing is connected yet.
pub(super) fn reach(vm: &Vm) -> Reached {
    Reached { guest: GuestWay::of(vm), vmm: HostVmm::of(vm), storage: HostStorage }
}
