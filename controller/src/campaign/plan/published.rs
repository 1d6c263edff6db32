//! What a fleet's hosts published → the VMs that a plan is about, and what apply holds it against. Pure.
//!
//! A host that is silent, and one that only claims a VM, cannot answer for it: such VMs are left out, with what to do.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    LeftOut, PlanHost, Reason,
    build::{HostView, planned_disks},
    drift::Found,
    shared::Shared,
};
use crate::{
    campaign::{
        hosts::HostNames,
        seen::{Out, SeenVm},
        span::span,
        store::fleet::{Has, PublishedHost, PublishedVm},
    },
    inventory::select::{Candidate, fitting},
    model::trouble::{Kind, Trouble},
};

/// Which VMs a person means, in the words of the command line.
#[derive(Clone, Copy, Debug)]
pub struct Meant<'a> {
    /// Names and patterns; none: all.
    pub names: &'a [String],
    /// `--select`.
    pub select: Option<&'a str>,
    /// `--exclude`, each.
    pub exclude: &'a [String],
}

/// The hosts with those VMs, and those that are left out before anything is known of them.
///
/// # Errors
/// A name or an exclusion that fits no VM, or a term that is none.
pub fn views(
    published: &[PublishedHost],
    meant: Meant<'_>,
    now: Timestamp,
) -> Result<(Vec<HostView>, Vec<LeftOut>), Trouble> {
    let elsewhere: BTreeSet<&str> = all(published)
        .filter(|(_, vm)| vm.has == Has::Yes)
        .filter_map(|(_, vm)| vm.seen.uuid.as_deref())
        .collect();
    // A VM that is off on one host and runs on another is one VM.
    let is_elsewhere = |vm: &PublishedVm| {
        vm.has == Has::Off && vm.seen.uuid.as_deref().is_some_and(|uuid| elsewhere.contains(uuid))
    };
    let known: Vec<(&PublishedHost, &PublishedVm)> =
        all(published).filter(|(_, vm)| !is_elsewhere(vm)).collect();
    let places: Vec<Vec<String>> = known.iter().map(|(host, vm)| places(host, &vm.seen)).collect();
    let among: Vec<Candidate<'_>> = known
        .iter()
        .zip(&places)
        .map(|((_, vm), places)| Candidate { name: &vm.seen.name, labels: &vm.seen.labels, places })
        .collect();
    let taken = fitting(&among, None, meant.names, meant.select)?;
    let mut excluded = vec![false; among.len()];
    for terms in meant.exclude {
        let fits = fitting(&among, None, &[], Some(terms))?;
        if !fits.contains(&true) {
            return Err(excludes_nobody(terms));
        }
        excluded.iter_mut().zip(fits).for_each(|(excluded, fits)| *excluded |= fits);
    }
    let told = Told { names: names(published), now };
    let mut views: Vec<HostView> = published.iter().map(view).collect();
    let mut left_out = Vec::new();
    for (((host, vm), taken), excluded) in known.iter().zip(taken).zip(excluded) {
        let out = match excluded {
            true => Some((Reason::Excluded, "--exclude says so".to_owned())),
            false => told.cannot_answer(host, vm).or_else(|| told.not_looked_at(host, vm)),
        };
        let view = views.iter_mut().find(|view| view.host.id == host.host);
        let Some(view) = view else { continue };
        match (taken, out) {
            (true, None) => view.vms.push(vm.seen.clone()),
            (true, Some((reason, text))) => {
                left_out.push(LeftOut {
                    name: vm.seen.name.clone(),
                    host: host.host.clone(),
                    reason,
                    text,
                    paste: None,
                });
                view.beside.push(vm.seen.clone());
            }
            (false, _) => view.beside.push(vm.seen.clone()),
        }
    }
    Ok((views, left_out))
}

/// Terms of `--exclude` that fit no VM.
pub fn excludes_nobody(terms: &str) -> Trouble {
    Trouble::new(Kind::Usage, format!("--exclude {terms:?} fits no VM"))
        .hint("terms are those of --select; `trimtab list` on each host shows names and labels")
}

/// The gates that each host which is heard defines: a plan may name these.
pub fn gates(published: &[PublishedHost]) -> BTreeSet<String> {
    let mut heard = published.iter().filter(|host| !host.is_silent).map(|host| &host.about.gates);
    let first: BTreeSet<String> = heard.next().into_iter().flatten().cloned().collect();
    heard.fold(first, |all, gates| all.into_iter().filter(|gate| gates.contains(gate)).collect())
}

/// The VMs as their hosts published them last, for what is no longer as a plan says.
pub fn found(published: &[PublishedHost]) -> Vec<Found> {
    let views: Vec<HostView> = published.iter().map(whole).collect();
    let shared = Shared::of(&views);
    let told = Told { names: names(published), now: Timestamp::UNIX_EPOCH };
    let with_others = |host: &PublishedHost, vm: &SeenVm| {
        let view = views.iter().find(|view| view.host.id == host.host)?;
        let text = shared.with_others(view, vm)?;
        Some(Out { reason: Reason::Guarded, text, paste: None })
    };
    let sure = all(published).filter(|(host, vm)| told.cannot_answer(host, vm).is_none());
    sure.map(|(host, PublishedVm { seen, .. })| Found {
        name: seen.name.clone(),
        host: host.host.clone(),
        uuid: seen.uuid.clone(),
        // Nobody has looked at its disks: its turn will.
        disks: Ok(planned_disks(seen)).map(|disks| (!seen.disks.is_empty()).then_some(disks)),
        left_out: seen
            .out
            .clone()
            .filter(|out| matches!(out.reason, Reason::Cut | Reason::Guarded | Reason::NoImage))
            .or_else(|| with_others(host, seen)),
    })
    .collect()
}

fn all(published: &[PublishedHost]) -> impl Iterator<Item = (&PublishedHost, &PublishedVm)> {
    published.iter().flat_map(|host| host.vms.iter().map(move |vm| (host, vm)))
}

/// What hosts are called.
fn names(published: &[PublishedHost]) -> HostNames {
    HostNames::of(published.iter().map(|host| (host.host.as_str(), host.about.name.as_str())))
}

/// How it is said.
struct Told {
    names: HostNames,
    /// By the store's clock, as the times of what was published.
    now: Timestamp,
}

impl Told {
    /// Why the word of a host is not planned from.
    fn cannot_answer(&self, host: &PublishedHost, vm: &PublishedVm) -> Option<(Reason, String)> {
        let called = self.names.called(&host.host);
        if host.is_silent {
            let text = format!(
                "host {called} was not heard for {}: see that trimtab-worker runs there and reaches the store",
                self.ago(host.at)
            );
            return Some((Reason::HostSilent, text));
        }
        match &vm.has {
            Has::Claims(Some(other)) => Some((
                Reason::Claimed,
                format!(
                    "host {called} says that it runs there, and host {} has not released it: if it has migrated, see \
                     that trimtab-worker runs on both",
                    self.names.called(other)
                ),
            )),
            Has::Claims(None) => Some((
                Reason::Claimed,
                format!("host {called} gets it when it publishes next: plan again in a minute"),
            )),
            Has::Yes | Has::Off => None,
        }
    }

    fn not_looked_at(&self, host: &PublishedHost, vm: &PublishedVm) -> Option<(Reason, String)> {
        let is_new = vm.seen.out.as_ref().is_some_and(|out| out.reason == Reason::NotLookedAt);
        let called = self.names.called(&host.host);
        let text = || {
            format!(
                "the worker on host {called} has known it for {} and has not looked at it yet: plan again in a minute",
                self.ago(vm.since)
            )
        };
        is_new.then(|| (Reason::NotLookedAt, text()))
    }

    fn ago(&self, then: Timestamp) -> String {
        span(self.now.duration_since(then))
    }
}

fn view(host: &PublishedHost) -> HostView {
    HostView {
        host: PlanHost { id: host.host.clone(), name: host.about.name.clone(), published: host.at },
        datastores: host.about.datastores.clone(),
        vms: Vec::new(),
        beside: Vec::new(),
    }
}

/// A host with all that it published.
fn whole(host: &PublishedHost) -> HostView {
    HostView { vms: host.vms.iter().map(|vm| vm.seen.clone()).collect(), ..view(host) }
}

/// The names, identities and mount points of a VM's datastores.
fn places(host: &PublishedHost, vm: &SeenVm) -> Vec<String> {
    let names: BTreeSet<&str> =
        vm.disks.iter().filter_map(|disk| disk.image.as_ref()?.datastore.as_deref()).collect();
    let stores = host.about.datastores.iter().filter(|store| names.contains(store.name.as_str()));
    stores.flat_map(|store| [store.name.clone(), store.identity.clone(), store.path.clone()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::{
        plan::samples::seen_disk,
        seen::{SeenDatastore, SeenImage},
    };

    fn host(id: &str, is_silent: bool, vms: Vec<(&str, &str, Has)>) -> PublishedHost {
        let vm = |(name, uuid, has): (&str, &str, Has)| {
            let mut seen =
                SeenVm::not_looked_at(name.into(), Some(uuid.into()), vec![id.into()], has != Has::Off);
            if has == Has::Yes {
                seen.out = None;
            }
            PublishedVm { seen, at: Timestamp::UNIX_EPOCH, since: Timestamp::UNIX_EPOCH, has }
        };
        PublishedHost {
            host: id.into(),
            about: crate::campaign::seen::SeenHost { name: format!("node-{id}"), ..Default::default() },
            at: Timestamp::UNIX_EPOCH,
            is_silent,
            vms: vms.into_iter().map(vm).collect(),
        }
    }

    fn fleet() -> Vec<PublishedHost> {
        vec![
            host("a", false, vec![("web", "1", Has::Yes), ("db", "2", Has::Off), ("old", "5", Has::Off)]),
            host("b", false, vec![("web", "3", Has::Yes), ("db", "2", Has::Yes)]),
            host(
                "c",
                false,
                vec![("stolen", "1", Has::Claims(Some("a".into()))), ("late", "6", Has::Claims(None))],
            ),
            host("d", true, vec![("lost", "4", Has::Yes)]),
        ]
    }

    /// A minute and a half after all was published.
    const NOW: Timestamp = Timestamp::constant(90, 0);

    fn told(meant: Meant<'_>) -> (Vec<String>, Vec<(String, Reason)>) {
        let (views, left_out) = views(&fleet(), meant, NOW).unwrap();
        let vms = views
            .iter()
            .flat_map(|view| view.vms.iter().map(|vm| format!("{} on {}", vm.name, view.host.name)));
        (vms.collect(), left_out.into_iter().map(|out| (out.name, out.reason)).collect())
    }

    const ALL: Meant<'_> = Meant { names: &[], select: None, exclude: &[] };

    #[test]
    fn who_answers_for_whom() {
        let (vms, left_out) = told(ALL);
        assert_eq!(vms, ["web on node-a", "old on node-a", "web on node-b", "db on node-b"]);
        let claimed = |name: &str| (name.to_owned(), Reason::Claimed);
        assert_eq!(left_out, [claimed("stolen"), claimed("late"), ("lost".to_owned(), Reason::HostSilent)]);
        let (views, left_out) = views(&fleet(), ALL, NOW).unwrap();
        assert_eq!(views[2].beside.len(), 2, "their images count all the same");
        assert!(
            left_out[0].text.contains("node-c says that it runs there, and host node-a has not"),
            "{left_out:?}"
        );
        assert!(left_out[2].text.contains("node-d was not heard for 1m 30s: "), "{left_out:?}");
    }

    #[test]
    fn a_worker_that_has_just_begun() {
        let mut fleet = fleet();
        let new = &mut fleet[1].vms[0];
        new.seen = SeenVm::not_looked_at("web".into(), Some("3".into()), Vec::new(), true);
        new.since = Timestamp::constant(70, 0);
        let (views, left_out) = views(&fleet, ALL, NOW).unwrap();
        let said = left_out.iter().find(|out| out.reason == Reason::NotLookedAt).unwrap();
        assert!(said.text.starts_with("the worker on host node-b has known it for 20s and has"), "{said:?}");
        assert!(views[1].beside.iter().any(|vm| vm.name == "web"), "its image counts all the same");
    }

    #[test]
    fn the_same_words_as_on_one_host() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let web = names(&["web"]);
        assert_eq!(told(Meant { names: &web, ..ALL }).0, ["web on node-a", "web on node-b"]);
        assert_eq!(told(Meant { names: &web, select: Some("label=b"), ..ALL }).0, ["web on node-b"]);
        let exclude = names(&["label=a"]);
        let (vms, left_out) = told(Meant { names: &web, exclude: &exclude, ..ALL });
        assert_eq!((vms, left_out), (names(&["web on node-b"]), vec![("web".to_owned(), Reason::Excluded)]));
        let nobody = names(&["nobody"]);
        assert_eq!(views(&fleet(), Meant { names: &nobody, ..ALL }, NOW).unwrap_err().kind, Kind::UnknownVm);
        let slip = names(&["label=none"]);
        assert_eq!(views(&fleet(), Meant { exclude: &slip, ..ALL }, NOW).unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn what_apply_is_held_against() {
        let found = found(&fleet());
        let names: Vec<String> = found.iter().map(|one| format!("{} on {}", one.name, one.host)).collect();
        assert_eq!(names, ["web on a", "db on a", "old on a", "web on b", "db on b"]);
        assert!(found.iter().all(|one| one.disks == Ok(None)), "nobody has looked at them yet");
    }
    #[test]
    fn an_image_that_two_hosts_came_to_share_is_drift() {
        let mut fleet = fleet();
        let store = |host: &str| SeenDatastore {
            name: "nfs:nas:/x".into(),
            identity: "nfs:nas:/x".into(),
            path: format!("/guests-of-{host}"),
            size_bytes: 1,
            free_bytes: 1,
        };
        for host in &mut fleet[..2] {
            host.about.datastores = vec![store(&host.host)];
            let image = SeenImage {
                path: "/x".into(),
                inode: 7,
                datastore: Some("nfs:nas:/x".into()),
                known_as: vec!["nfs:nas:/x 7".into()],
            };
            host.vms[0].seen.disks = vec![seen_disk(image)];
        }
        let found = found(&fleet);
        let web = found.iter().find(|one| one.name == "web" && one.host == "b").unwrap();
        let out = web.left_out.as_ref().unwrap();
        assert!(out.reason == Reason::Guarded && out.text.contains("web of host node-a"), "{out:?}");
    }
}
