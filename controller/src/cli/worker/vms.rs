//! The VMs of this host for a worker that stays: known anew every few seconds, since VMs come, go and get other names.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use super::super::{
    args::Global,
    vms::{Known, Reached, load},
};
use crate::{
    campaign::{
        run::VmKey,
        worker::{publish::Sights, vms::Vms},
    },
    config::datastores::DatastoreNames,
    guest::GuestWay,
    image::HostStorage,
    model::{image::Datastore, trouble::Trouble, vm::Vm},
    trim::look::{Look, look},
    vmm::HostVmm,
};

/// What is known of the host is used again for so long. A look at the VM itself is part of each turn.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// The VMs of this host.
pub(in crate::cli) struct HostVms {
    global: Global,
    names: DatastoreNames,
    known: Mutex<Option<(Instant, Arc<Known>)>>,
}

impl HostVms {
    pub(super) fn new(global: Global, names: DatastoreNames) -> Self {
        Self { global, names, known: Mutex::new(None) }
    }

    async fn known(&self, within: Duration) -> Result<Arc<Known>, Trouble> {
        let mut known = self.known.lock().await;
        if let Some((at, known)) = known.as_ref()
            && at.elapsed() < within
        {
            return Ok(Arc::clone(known));
        }
        let fresh = Arc::new(load(&self.global, None).await?.with_neighbours());
        *known = Some((Instant::now(), Arc::clone(&fresh)));
        Ok(fresh)
    }
}

impl Sights for HostVms {
    async fn list(&self) -> Result<Vec<Vm>, Trouble> {
        // Without its neighbours: to list them asks no monitor.
        Ok(load(&self.global, None).await?.into_vms())
    }

    async fn look(&self, vm: &Vm) -> Result<Look, Trouble> {
        look(&self.known(KNOWN_FOR).await?.reach(vm).parts()).await
    }

    fn names(&self) -> &DatastoreNames {
        &self.names
    }
}

impl Vms for HostVms {
    type Guest = GuestWay;
    type Vmm = HostVmm;
    type Storage = HostStorage;

    async fn reach(&self, vm: &VmKey) -> Result<Reached, Trouble> {
        let known = self.known(KNOWN_FOR).await?;
        if let Ok(found) = known.find(vm) {
            return Ok(known.reach(found));
        }
        // It may have come a moment ago: its run came with it.
        let known = self.known(Duration::ZERO).await?;
        Ok(known.reach(known.find(vm)?))
    }

    fn identity(&self, datastore: &Datastore) -> String {
        self.names.of(datastore)
    }
}
