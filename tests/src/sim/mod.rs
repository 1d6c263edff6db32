//! A simulated host behind the ports of a turn: guests, hypervisors and storage with scripted latencies, failures and
//! growth. Everything that takes time takes tokio's, so that under a paused clock a night passes in seconds.
//!
//! ```text
//! fleet (a seed) ──> World ──> the worker's own code ──> the store
//!                      │ log: each trim's begin and end, as the guests saw them
//!                      └──> check: caps, one trim of a VM at a time, every byte
//! ```
//!
//! What is checked is what the simulated storage and guests saw, never what store or worker say of themselves.

#![allow(clippy::arithmetic_side_effects, reason = "a simulation that overflows ends its test")]

pub mod apart;
pub mod check;
pub mod facts;
pub mod fleet;
pub mod frozen;
pub mod killing;
pub mod log;
pub mod play;
pub mod ports;
pub mod punching;
pub mod run;
pub mod vm;

use std::{collections::HashMap, sync::Arc};

use trimtab_controller::{
    campaign::{
        run::VmKey,
        worker::vms::{Reached, ReachedBy, Vms},
    },
    model::{
        image::Datastore,
        trouble::{Kind, Trouble},
    },
    trim::neighbours::Neighbours,
};

use self::{log::Log, ports::Ways, vm::SimVm};

/// The host that runs the simulated VMs.
pub const HOST: &str = "simulated";

/// All VMs of the simulated host.
#[derive(Debug)]
pub struct World {
    /// In the fleet's order.
    pub vms: Vec<Arc<SimVm>>,
    by_name: HashMap<String, Arc<SimVm>>,
    /// What the guests saw.
    pub log: Arc<Log>,
}

impl World {
    /// Of these VMs, which write to this log.
    pub fn new(vms: Vec<Arc<SimVm>>, log: Arc<Log>) -> Self {
        let by_name = vms.iter().map(|vm| (vm.spec.name.clone(), Arc::clone(vm))).collect();
        Self { vms, by_name, log }
    }

    /// What came free since the beginning, in bytes: the storage's own figure.
    pub fn freed_bytes(&self) -> i64 {
        self.vms.iter().map(|vm| vm.freed_bytes()).sum()
    }
}

/// The worker's way to the world.
#[derive(Clone, Debug)]
pub struct SimVms(pub Arc<World>);

impl Vms for SimVms {
    type Guest = Ways;
    type Vmm = Ways;
    type Storage = Ways;

    async fn reach(&self, vm: &VmKey) -> Result<ReachedBy<Self>, Trouble> {
        let unknown = || Trouble::new(Kind::UnknownVm, format!("{} is not known here", vm.name));
        let found = Ways(Arc::clone(self.0.by_name.get(&vm.name).ok_or_else(unknown)?));
        Ok(Reached {
            name: vm.name.clone(),
            guest: found.clone(),
            vmm: found.clone(),
            storage: found,
            neighbours: Neighbours::default(),
        })
    }

    fn identity(&self, datastore: &Datastore) -> String {
        datastore.identity.clone()
    }
}
