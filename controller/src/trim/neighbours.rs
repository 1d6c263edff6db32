//! The disks of all VMs of this host, so that a look at one of them can tell whose images it shares.

use std::{fmt, sync::Arc};

use futures_util::future::{BoxFuture, FutureExt, Shared, ready};

use super::{many::side_by_side, ports::Vmm};
use crate::{layers::sharing, model::disk::HostDisk, same_file::RealNames};

/// Hypervisors asked at a time; each answers within its own limit.
const AT_A_TIME: usize = 64;

/// Every VM's disks, as far as its hypervisor says; asked for in the background, so that one that does not answer costs
/// its limit once.
#[derive(Clone)]
pub struct Neighbours {
    all: Shared<BoxFuture<'static, Arc<AllDisks>>>,
}

#[derive(Default)]
struct AllDisks {
    vms: Vec<(String, Vec<HostDisk>)>,
    names: RealNames,
}

impl Neighbours {
    /// Begins to ask each hypervisor; `known` are VMs whose disks were told already. One that does not answer has no disks
    /// here: what it uses cannot be known.
    pub fn ask<V: Vmm + 'static>(known: Vec<(String, Vec<HostDisk>)>, vmms: Vec<(String, V)>) -> Self {
        let asked = tokio::spawn(read(known, vmms));
        Self { all: asked.map(|all| Arc::new(all.unwrap_or_default())).boxed().shared() }
    }

    /// The other VMs that use this disk's image.
    pub(super) async fn of(&self, vm: &str, disk: &HostDisk) -> Vec<String> {
        let all = self.all.clone().await;
        sharing::used_by_others(vm, disk, &all.vms, |one, other| all.names.same(one, other))
    }
}

async fn read<V: Vmm + 'static>(known: Vec<(String, Vec<HostDisk>)>, vmms: Vec<(String, V)>) -> AllDisks {
    let answers = side_by_side(vmms, AT_A_TIME, |(name, vmm)| async move {
        Ok((name, vmm.look().await.map(|view| view.disks).unwrap_or_default()))
    })
    .await;
    let vms: Vec<(String, Vec<HostDisk>)> =
        known.into_iter().chain(answers.into_iter().filter_map(Result::ok)).collect();
    let files = vms.iter().flat_map(|(_, disks)| disks).flat_map(|disk| {
        let images = disk.image.iter().chain(&disk.backing).map(|image| image.path.clone());
        images.chain(disk.data_file.clone())
    });
    let names = RealNames::of(files.collect()).await;
    AllDisks { vms, names }
}

impl Default for Neighbours {
    /// Nobody.
    fn default() -> Self {
        Self { all: ready(Arc::default()).boxed().shared() }
    }
}

impl fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Neighbours").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::{Layer, samples::Sample},
        trim::{
            choose::{Decision, choose},
            fakes::FakeVm,
            look::{Parts, look},
            options::TrimOptions,
        },
    };

    #[tokio::test]
    async fn an_image_of_two_vms_is_not_trimmed() {
        let (vm, twin) = (FakeVm::new(Sample::raw()), FakeVm::new(Sample::raw()));
        let told = vec![("told".to_owned(), twin.view.disks.clone())];
        let all = vec![("vm".to_owned(), vm.clone()), ("twin".to_owned(), twin)];
        for (neighbours, expected) in [
            (Neighbours::default(), None),
            (Neighbours::ask(Vec::new(), all), Some("twin")),
            (Neighbours::ask::<FakeVm>(told, Vec::new()), Some("told")),
        ] {
            let parts = Parts { name: "vm", guest: &vm, vmm: &vm, storage: &vm, neighbours: &neighbours };
            let look = look(&parts).await.unwrap();
            let choice = choose(&look, look.survey().unwrap(), &TrimOptions::default()).unwrap();
            match (&choice.decisions[0], expected) {
                (Decision::Go, None) => {}
                (Decision::Guarded(guard), Some(name)) => {
                    assert_eq!(guard.layer, Layer::Protocol);
                    assert!(guard.text.contains(name), "{}", guard.text);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
