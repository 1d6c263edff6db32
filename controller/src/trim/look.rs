//! Look: what hypervisor, guest and host files say of a VM before anything happens. Survey is this alone.

use crate::{
    layers::{self, DiskFacts, Finding},
    ledger::{
        pair::{self, PairedBy},
        slack::{self, Slack},
    },
    model::{
        disk::{DiskCounters, HostDisk, VmFacts, VmState, VmmView},
        guest::{Device, GuestSurvey},
        image::{Allocation, Datastore, Format, Image, ImageFacts, Qcow2Header},
        trouble::{Kind, Trouble},
    },
    trim::{
        neighbours::Neighbours,
        ports::{Guest, Storage, Vmm},
    },
};

/// The three sides of one VM.
#[derive(Debug)]
pub struct Parts<'a, G, V, S> {
    /// Its name.
    pub name: &'a str,
    /// Its agent.
    pub guest: &'a G,
    /// Its hypervisor.
    pub vmm: &'a V,
    /// The host's files.
    pub storage: &'a S,
    /// What the other VMs of this host use.
    pub neighbours: &'a Neighbours,
}

/// A VM as it was found.
#[derive(Clone, Debug)]
pub struct Look {
    /// What the hypervisor said of the whole VM.
    pub vm: VmFacts,
    /// What the guest said, or why it said nothing: the host's side is worth showing nevertheless.
    pub guest: Result<GuestSurvey, Trouble>,
    /// Each disk of the hypervisor.
    pub disks: Vec<DiskLook>,
}

/// Why a VM, or its guest alone, could not be read.
pub fn not_read(result: &Result<Look, Trouble>) -> Option<&Trouble> {
    match result {
        Ok(look) => look.guest.as_ref().err(),
        Err(trouble) => Some(trouble),
    }
}

/// One disk as it was found.
#[derive(Clone, Debug)]
pub struct DiskLook {
    /// The hypervisor's view.
    pub host: HostDisk,
    /// Its image.
    pub image: Option<ImageFacts>,
    /// Why its image could not be read, where it has one.
    pub image_trouble: Option<Trouble>,
    /// QEMU's counters so far.
    pub counters: DiskCounters,
    /// Index of the guest's disk in the survey, and what tied them.
    pub guest: Option<(usize, PairedBy)>,
    /// Other VMs that use its image.
    pub used_by_others: Vec<String>,
}

impl DiskLook {
    /// What its image shares the room of.
    pub fn datastore(&self) -> Option<&Datastore> {
        self.image.as_ref()?.place.datastore.as_ref()
    }
}

impl Look {
    /// All that is known of one of its disks.
    pub fn facts<'a>(&'a self, disk: &'a DiskLook) -> DiskFacts<'a> {
        DiskFacts {
            vm: &self.vm,
            host: &disk.host,
            image: disk.image.as_ref(),
            counters: disk.counters,
            survey: self.survey(),
            guest: self.guest_disk(disk),
            used_by_others: &disk.used_by_others,
        }
    }

    /// What the guest said, where it did.
    pub fn survey(&self) -> Option<&GuestSurvey> {
        self.guest.as_ref().ok()
    }

    /// The guest's side of a disk.
    pub fn guest_disk(&self, disk: &DiskLook) -> Option<&Device> {
        self.survey()?.devices.get(disk.guest?.0)
    }

    /// What its layers do.
    pub fn findings(&self, disk: &DiskLook) -> Vec<Finding> {
        layers::findings(&self.facts(disk))
    }

    /// What a trim could free.
    pub fn slack(&self, disk: &DiskLook) -> Option<Slack> {
        slack::slack(&self.facts(disk))
    }

    /// What the guest's filesystems on it use.
    pub fn used_bytes(&self, disk: &DiskLook) -> Option<u64> {
        slack::used_bytes(&self.facts(disk))
    }

    /// The disk that a guest's disk was paired with.
    pub fn disk_of(&self, device_id: &str) -> Option<&DiskLook> {
        self.disks.iter().find(|disk| self.guest_disk(disk).is_some_and(|device| device.id == device_id))
    }
}

/// Looks at a VM; an error is the hypervisor's. A paused guest is not called: a client that gives up on one wedges some
/// vsock devices for good.
pub async fn look<G: Guest, V: Vmm, S: Storage>(parts: &Parts<'_, G, V, S>) -> Result<Look, Trouble> {
    let view = parts.vmm.look().await?;
    let guest = match stopped(&view) {
        Some(trouble) => Err(trouble),
        None => parts.guest.survey().await,
    };
    put_together(parts, view, guest).await
}

/// The host's side alone: no call goes to the guest.
pub async fn look_at_host<G: Guest, V: Vmm, S: Storage>(parts: &Parts<'_, G, V, S>) -> Result<Look, Trouble> {
    let view = parts.vmm.look().await?;
    let guest = stopped(&view).unwrap_or_else(|| Trouble::new(Kind::NoAgent, "its guest was not asked"));
    put_together(parts, view, Err(guest)).await
}

async fn put_together<G: Guest, V: Vmm, S: Storage>(
    parts: &Parts<'_, G, V, S>,
    view: VmmView,
    guest: Result<GuestSurvey, Trouble>,
) -> Result<Look, Trouble> {
    // The host's side of a VM that is off, or whose counters cannot be read, is worth showing.
    let counters = match &guest {
        Ok(_) => parts.vmm.counters().await?,
        Err(_) => parts.vmm.counters().await.unwrap_or_default(),
    };
    let pairs = guest.as_ref().map_or_else(|_| Vec::new(), |survey| pair::pair(&view.disks, survey));
    let mut disks = Vec::new();
    for (index, host) in view.disks.into_iter().enumerate() {
        let (image, image_trouble) = match image_facts(parts.storage, &host).await {
            Ok(Some((facts, unread))) => (Some(facts), unread),
            Ok(None) => (None, None),
            Err(trouble) => (None, Some(trouble)),
        };
        let counters = counters_of(&counters, &host.device);
        let guest = pairs.iter().find(|pair| pair.host == index).map(|pair| (pair.guest, pair.by));
        let used_by_others = parts.neighbours.of(parts.name, &host).await;
        disks.push(DiskLook { host, image, image_trouble, counters, guest, used_by_others });
    }
    Ok(Look { vm: view.vm, guest, disks })
}

/// Asks of each image whether a clone or a snapshot of the host shares some of it. Walks the maps of all extents, so only
/// for whoever wants to know in detail.
pub async fn look_for_sharing<S: Storage>(storage: &S, look: &mut Look) {
    for disk in &mut look.disks {
        if let (Some(image), Some(facts)) = (&disk.host.image, &mut disk.image) {
            facts.is_shared = storage.shares_extents(image).await;
        }
    }
}

/// One disk's counters out of a reading; all unknown where it has none.
pub fn counters_of(all: &[(String, DiskCounters)], device: &str) -> DiskCounters {
    all.iter().find(|(name, _)| name == device).map(|(_, counters)| *counters).unwrap_or_default()
}

fn stopped(view: &VmmView) -> Option<Trouble> {
    match &view.vm.state {
        Some(VmState::Stopped(why)) => {
            let text = format!("the VM does not run ({why}), and a paused guest is not called");
            Some(Trouble::new(Kind::VmPaused, text).hint("resume it, then call again"))
        }
        Some(VmState::Off) => Some(
            Trouble::new(Kind::VmOff, "the VM is off: there is no guest to trim")
                .hint("start it, or give back what it does not use with virt-sparsify --in-place"),
        ),
        Some(VmState::Running) | None => None,
    }
}

/// All of a disk's image; `None` where it has none on this host. A header that this user may not read leaves what `stat`
/// tells, and the reason beside it: worth showing, and not to be trimmed.
async fn image_facts<S: Storage>(
    storage: &S,
    disk: &HostDisk,
) -> Result<Option<(ImageFacts, Option<Trouble>)>, Trouble> {
    let Some(image) = &disk.image else { return Ok(None) };
    let (header, unread) = match image.format {
        Format::Qcow2 => match storage.qcow2_header(image).await {
            Ok(header) => (Some(header), None),
            Err(trouble) => (None, Some(trouble)),
        },
        Format::Raw | Format::Other(_) => (None, None),
    };
    let facts = ImageFacts {
        allocation: allocation(storage, image, disk, header.as_ref()).await?,
        header,
        place: storage.place(image).await?,
        backing_allocated_bytes: backing(storage, disk).await,
        is_shared: None,
    };
    Ok(Some((facts, unread)))
}

/// What an image takes now, with the file that holds its data where that is another one. Where the header tells of such
/// a file and the hypervisor does not name it, nothing measures the image: a name in a header is never followed.
pub(super) async fn allocation<S: Storage>(
    storage: &S,
    image: &Image,
    disk: &HostDisk,
    header: Option<&Qcow2Header>,
) -> Result<Allocation, Trouble> {
    let own = storage.allocation(image).await?;
    if !header.is_some_and(|header| header.external_data_file) {
        return Ok(own);
    }
    let data = match &disk.data_file {
        Some(path) => {
            storage.allocation(&Image { path: path.clone(), format: Format::Raw }).await?.allocated_bytes
        }
        None => None,
    };
    let both = own.allocated_bytes.zip(data).map(|(own, data)| own.saturating_add(data));
    Ok(Allocation { allocated_bytes: both, ..own })
}

async fn backing<S: Storage>(storage: &S, disk: &HostDisk) -> Option<u64> {
    let mut sum = None;
    for image in &disk.backing {
        let one = storage.allocation(image).await.ok()?.allocated_bytes?;
        sum = Some(one.saturating_add(sum.unwrap_or(0)));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::samples::{HEADER, Sample},
        trim::{fakes::FakeVm, neighbours::Neighbours},
    };

    async fn looked_at(vm: &FakeVm) -> Look {
        let neighbours = Neighbours::default();
        look(&Parts { name: "vm", guest: vm, vmm: vm, storage: vm, neighbours: &neighbours }).await.unwrap()
    }

    #[tokio::test]
    async fn a_clone_is_told_of_to_whoever_asks() {
        let vm = FakeVm::new(Sample::raw());
        vm.script(|s| s.shared = true);
        let mut seen = looked_at(&vm).await;
        let tells = |seen: &Look| {
            seen.findings(&seen.disks[0]).iter().any(|finding| finding.short == "shared extents")
        };
        assert!(!tells(&seen), "nobody walked the map");
        look_for_sharing(&vm, &mut seen).await;
        assert!(tells(&seen));
    }

    #[tokio::test]
    async fn data_outside_of_an_image_is_measured_where_the_hypervisor_names_it() {
        let header = Qcow2Header { external_data_file: true, ..HEADER };
        let mut vm = FakeVm::new(Sample::qcow2(header));
        let own = vm.allocation.allocated_bytes.unwrap();
        let measured = |seen: &Look| seen.disks[0].image.as_ref().unwrap().allocated_bytes();
        assert_eq!(measured(&looked_at(&vm).await), None, "a name in the header is not followed");
        vm.view.disks[0].data_file = Some("/guests/data.raw".into());
        assert_eq!(measured(&looked_at(&vm).await), Some(2 * own));
    }
}
