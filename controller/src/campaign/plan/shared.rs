//! Images that VMs of several hosts use. On one host its own look tells; over hosts only what they published does. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::build::HostView;
use crate::campaign::{hosts::HostNames, seen::SeenVm};

/// The VMs of each image on a datastore that several hosts may have.
pub(super) struct Shared {
    users: BTreeMap<String, BTreeSet<User>>,
    names: HostNames,
}

/// A VM that uses an image.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct User {
    host: String,
    name: String,
    uuid: Option<String>,
}

impl Shared {
    /// Of all hosts.
    pub(super) fn of(hosts: &[HostView]) -> Self {
        let mut all: BTreeMap<String, BTreeSet<User>> = BTreeMap::new();
        for view in hosts {
            for vm in view.vms.iter().chain(&view.beside).filter(|vm| vm.is_on) {
                let images = vm.disks.iter().filter_map(|disk| disk.image.as_ref());
                for key in images.flat_map(|image| &image.known_as) {
                    let (host, name, uuid) = (view.host.id.clone(), vm.name.clone(), vm.uuid.clone());
                    all.entry(key.clone()).or_default().insert(User { host, name, uuid });
                }
            }
        }
        let named = hosts.iter().map(|view| (view.host.id.as_str(), view.host.name.as_str()));
        Self { users: all, names: HostNames::of(named) }
    }

    /// Which VMs of other hosts use an image of this one, and what that means; `None`: none does.
    pub(super) fn with_others(&self, view: &HostView, vm: &SeenVm) -> Option<String> {
        vm.disks.iter().find_map(|disk| {
            let users = disk.image.as_ref()?.known_as.iter().filter_map(|key| self.users.get(key)).flatten();
            // While it migrates a VM is on two hosts.
            let is_itself =
                |user: &User| user.host == view.host.id || (vm.uuid.is_some() && user.uuid == vm.uuid);
            let others = users.filter(|user| !is_itself(user));
            let others: BTreeSet<String> = others
                .map(|user| format!("{} of host {}", user.name, self.names.called(&user.host)))
                .collect();
            let others: Vec<String> = others.into_iter().collect();
            (!others.is_empty()).then(|| {
                format!(
                    "{}: the image is used by {} too: a trim could discard what that has written",
                    disk.name,
                    others.join(", ")
                )
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::campaign::{
        plan::{PlanHost, samples::seen_disk},
        seen::{SeenDatastore, SeenImage, known_as},
    };

    fn view(host: &str, vm: &str, (name, identity): (&str, &str), (path, inode): (&str, u64)) -> HostView {
        let mut seen = SeenVm::not_looked_at(vm.into(), None, Vec::new(), true);
        let known_as = known_as(host, (identity, name), Path::new(path), inode);
        let image = SeenImage { path: path.into(), inode, datastore: Some(name.into()), known_as };
        seen.disks = vec![seen_disk(image)];
        HostView {
            host: PlanHost { id: host.into(), name: host.into(), published: jiff::Timestamp::UNIX_EPOCH },
            datastores: vec![SeenDatastore {
                name: name.into(),
                identity: identity.into(),
                path: "/guests".into(),
                size_bytes: 1,
                free_bytes: 1,
            }],
            vms: vec![seen],
            beside: Vec::new(),
        }
    }

    #[test]
    fn one_file_on_two_hosts() {
        let nas = ("nfs:nas:/x", "nfs:nas:/x");
        let one = view("h1", "a", nas, ("/guests/a.img", 7));
        let local = |host: &str| ("ext4:u", format!("ext4:u@{host}"));
        for (name, other, expected) in [
            ("the same file, elsewhere mounted", view("h2", "b", nas, ("/mnt/a.img", 7)), true),
            ("another file", view("h2", "b", nas, ("/guests/a.img", 8)), false),
            ("the same host: its own look tells", view("h1", "b", nas, ("/guests/a.img", 7)), false),
            ("another export", view("h2", "b", ("nfs:nas:/y", "nfs:nas:/y"), ("/guests/a.img", 7)), false),
        ] {
            let hosts = [one.clone(), other];
            let told = Shared::of(&hosts).with_others(&hosts[0], &hosts[0].vms[0]);
            assert_eq!(told.is_some(), expected, "{name}: {told:?}");
            assert!(
                told.is_none_or(|text| text.starts_with("vda: the image is used by b of host h2 too")),
                "{name}"
            );
        }
        // Hosts' own datastores may be called the same, and cloned ones have the same UUID.
        let own = |host: &str| {
            let (name, identity) = local(host);
            view(host, "a", (name, &identity), ("/guests/a.img", 7))
        };
        let hosts = [own("h1"), own("h2")];
        assert_eq!(Shared::of(&hosts).with_others(&hosts[0], &hosts[0].vms[0]), None);
        // One storage by two addresses, which a person gave one name.
        let named = |host: &str, identity: &str, path: &str| view(host, "a", ("nas", identity), (path, 7));
        let hosts =
            [named("h1", "nfs:10.0.0.1:/x", "/guests/a.img"), named("h2", "nfs:nas:/x", "/mnt/a.img")];
        assert!(Shared::of(&hosts).with_others(&hosts[0], &hosts[0].vms[0]).is_some());
        let hosts =
            [named("h1", "nfs:10.0.0.1:/x", "/guests/a.img"), named("h2", "nfs:nas:/x", "/mnt/b.img")];
        assert_eq!(Shared::of(&hosts).with_others(&hosts[0], &hosts[0].vms[0]), None);
        // A VM that migrates is on both, and is one.
        let mut hosts = [one.clone(), view("h2", "a", nas, ("/mnt/a.img", 7))];
        hosts.iter_mut().for_each(|view| view.vms[0].uuid = Some("u".into()));
        assert_eq!(Shared::of(&hosts).with_others(&hosts[0], &hosts[0].vms[0]), None);
        // Nobody means it, and it writes.
        hosts[1].vms[0].uuid = None;
        hosts[1].beside = std::mem::take(&mut hosts[1].vms);
        assert!(Shared::of(&hosts).with_others(&hosts[0], &hosts[0].vms[0]).is_some());
        // Who is off writes nothing.
        let mut off = view("h2", "b", nas, ("/mnt/a.img", 7));
        off.vms[0].is_on = false;
        let hosts = [one, off];
        assert_eq!(Shared::of(&hosts).with_others(&hosts[0], &hosts[0].vms[0]), None);
    }
}
