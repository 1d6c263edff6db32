//! How a worker gets to the VMs of its host: the real ones, or simulated ones.

use std::future::Future;

use crate::{
    campaign::run::VmKey,
    model::{image::Datastore, trouble::Trouble},
    trim::{
        look::Parts,
        neighbours::Neighbours,
        ports::{Guest, Storage, Vmm},
    },
};

/// The ways to one VM; nothing is connected yet.
#[derive(Clone, Debug)]
pub struct Reached<G, V, S> {
    /// Its name.
    pub name: String,
    /// Its agent.
    pub guest: G,
    /// Its hypervisor.
    pub vmm: V,
    /// The host's files.
    pub storage: S,
    /// What the other VMs of this host use.
    pub neighbours: Neighbours,
}

impl<G, V, S> Reached<G, V, S> {
    /// As a turn takes them.
    pub fn parts(&self) -> Parts<'_, G, V, S> {
        Parts {
            name: &self.name,
            guest: &self.guest,
            vmm: &self.vmm,
            storage: &self.storage,
            neighbours: &self.neighbours,
        }
    }
}

/// The ways to one VM of these.
pub type ReachedBy<V> = Reached<<V as Vms>::Guest, <V as Vms>::Vmm, <V as Vms>::Storage>;

/// The VMs of this host.
pub trait Vms: Send + Sync + 'static {
    /// To a guest.
    type Guest: Guest;
    /// To a hypervisor.
    type Vmm: Vmm;
    /// To the host's files.
    type Storage: Storage;

    /// A VM as it is known now.
    ///
    /// # Errors
    /// It is not known here any more, or another one goes by its name.
    fn reach(&self, vm: &VmKey) -> impl Future<Output = Result<ReachedBy<Self>, Trouble>> + Send;

    /// A datastore's identity, as plans have it.
    fn identity(&self, datastore: &Datastore) -> String;
}
