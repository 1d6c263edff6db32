//! What a host has, what of it was published, and whom it is time to look at. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    campaign::{
        seen::{SeenDatastore, SeenHost, SeenVm},
        store::fleet::{News, Sighting},
    },
    model::{disk::VmState, vm::Vm},
};

/// A store keeps no more of one host.
const MOST_VMS: usize = 5000;

/// The VMs of one host.
pub(super) struct Roster {
    /// What it says of itself; where its images lie is added.
    about: SeenHost,
    vms: BTreeMap<String, Entry>,
    /// The store's, as of the last time that it took what was told.
    revision: Option<i64>,
    told_about: Option<SeenHost>,
    /// VMs that the store was told of and that are gone since.
    gone: BTreeSet<String>,
}

struct Entry {
    vm: Vm,
    /// It runs, or is paused.
    is_on: bool,
    seen: Option<SeenVm>,
    datastores: Vec<SeenDatastore>,
    looked: Option<Instant>,
    /// Somebody has changed it since.
    is_stale: bool,
    told: Option<Told>,
}

/// What the store has of a VM.
#[derive(PartialEq)]
struct Told {
    uuid: Option<String>,
    is_on: bool,
    /// `None`: what it had before.
    seen: Option<SeenVm>,
}

impl Roster {
    pub(super) fn new(about: SeenHost) -> Self {
        Self { about, vms: BTreeMap::new(), revision: None, told_about: None, gone: BTreeSet::new() }
    }

    /// The VMs that are known now. Where a source could not be read its VMs are not gone.
    pub(super) fn list(&mut self, vms: Vec<Vm>) {
        let is_whole = vms.iter().all(|vm| vm.not_read.is_none());
        // What the store could not keep, or not find again.
        let fits = |vm: &Vm| vm.not_read.is_none() && !vm.name.contains('\0');
        let vms: Vec<Vm> = vms.into_iter().filter(fits).take(MOST_VMS).collect();
        if is_whole {
            let names: BTreeSet<&str> = vms.iter().map(|vm| vm.name.as_str()).collect();
            let lost = self.vms.extract_if(.., |name, _| !names.contains(name.as_str()));
            self.gone.extend(lost.filter(|(_, entry)| entry.told.is_some()).map(|(name, _)| name));
        }
        for vm in vms {
            self.gone.remove(&vm.name);
            let is_on = vm.domain.as_ref().is_none_or(|domain| domain.state != Some(VmState::Off));
            let known = self.vms.get_mut(&vm.name).filter(|known| known.vm.uuid() == vm.uuid());
            match known {
                Some(known) => {
                    // It was started: what was seen of it off says little.
                    known.is_stale |= is_on && !known.is_on;
                    (known.is_on, known.vm) = (is_on, vm);
                }
                None => {
                    let told = self.vms.remove(&vm.name).and_then(|before| before.told);
                    let entry = Entry {
                        is_on,
                        seen: None,
                        datastores: Vec::new(),
                        looked: None,
                        is_stale: true,
                        told,
                        vm,
                    };
                    self.vms.insert(entry.vm.name.clone(), entry);
                }
            }
        }
    }

    /// A run of it has ended: it is not as it was seen.
    pub(super) fn changed(&mut self, name: &str) {
        if let Some(entry) = self.vms.get_mut(name) {
            entry.is_stale = true;
        }
    }

    /// Up to so many VMs that nobody has looked at for this long, longest ago first.
    pub(super) fn due(&self, most: usize, after: Duration, now: Instant) -> Vec<Vm> {
        let is_due = |entry: &&Entry| {
            entry.is_on && (entry.is_stale || entry.looked.is_none_or(|at| now.duration_since(at) >= after))
        };
        let mut due: Vec<&Entry> = self.vms.values().filter(is_due).collect();
        due.sort_by_key(|entry| (entry.looked, !entry.is_stale));
        due.into_iter().take(most).map(|entry| entry.vm.clone()).collect()
    }

    /// What a look found.
    pub(super) fn seen(&mut self, seen: SeenVm, datastores: Vec<SeenDatastore>, now: Instant) {
        let Some(entry) =
            self.vms.get_mut(&seen.name).filter(|entry| entry.vm.uuid() == seen.uuid.as_deref())
        else {
            return;
        };
        entry.is_on = seen.is_on;
        entry.seen = Some(seen.bounded());
        entry.datastores = datastores;
        (entry.looked, entry.is_stale) = (Some(now), false);
    }

    /// What is different from what the store has.
    pub(super) fn news(&self) -> News {
        let is_all = self.revision.is_none();
        let about = self.about();
        let changed = self.vms.values().filter(|entry| is_all || entry.told.as_ref() != Some(&entry.tells()));
        News {
            since: self.revision,
            about: (is_all || self.told_about.as_ref() != Some(&about)).then_some(about),
            changed: changed.map(Entry::sighting).collect(),
            gone: if is_all { Vec::new() } else { self.gone.iter().cloned().collect() },
        }
    }

    /// The store has taken this, and is at that revision.
    pub(super) fn told(&mut self, news: News, revision: i64) {
        self.revision = Some(revision);
        for sighting in news.changed {
            if let Some(entry) = self.vms.get_mut(&sighting.name) {
                let Sighting { uuid, is_on, seen, .. } = sighting;
                entry.told = Some(Told { uuid, is_on, seen });
            }
        }
        for name in news.gone {
            self.gone.remove(&name);
        }
        if news.since.is_none() {
            self.gone.clear();
        }
        self.told_about = news.about.or(self.told_about.take());
    }

    /// The store has something else, or it is not known what: all is told anew.
    pub(super) fn forget_told(&mut self) {
        self.revision = None;
    }

    /// With the datastores of its VMs, as they were seen last.
    fn about(&self) -> SeenHost {
        let mut datastores: BTreeMap<&str, (Option<Instant>, &SeenDatastore)> = BTreeMap::new();
        for entry in self.vms.values() {
            for store in &entry.datastores {
                let known = datastores.entry(&store.name).or_insert((entry.looked, store));
                if known.0 < entry.looked {
                    *known = (entry.looked, store);
                }
            }
        }
        let datastores = datastores.into_values().map(|(_, store)| store.clone());
        SeenHost { datastores: datastores.collect(), ..self.about.clone() }
    }
}

impl Entry {
    fn tells(&self) -> Told {
        Told { uuid: self.vm.uuid().map(str::to_owned), is_on: self.is_on, seen: self.seen.clone() }
    }

    fn sighting(&self) -> Sighting {
        let Told { uuid, is_on, seen } = self.tells();
        Sighting { name: self.vm.name.clone(), uuid, is_on, seen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::trouble::{Kind, Trouble};

    const HOUR: Duration = Duration::from_secs(3600);

    fn roster(names: &[&str]) -> Roster {
        let mut roster = Roster::new(SeenHost { name: "node1".into(), ..SeenHost::default() });
        roster.list(vms(names));
        roster
    }

    fn vms(names: &[&str]) -> Vec<Vm> {
        names.iter().map(|name| Vm::named(*name)).collect()
    }

    fn seen(name: &str, label: &str) -> SeenVm {
        SeenVm::not_looked_at(name.into(), None, vec![label.into()], true)
    }

    /// What travels: names that are new or different, and names that are gone; and the store takes it.
    fn travels(roster: &mut Roster) -> (Vec<String>, Vec<String>) {
        let news = roster.news();
        let told = (news.changed.iter().map(|one| one.name.clone()).collect(), news.gone.clone());
        roster.told(news, 7);
        told
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_what_is_different_travels() {
        let now = Instant::now();
        let mut roster = roster(&["a", "b"]);
        assert_eq!(roster.news().since, None);
        assert_eq!(travels(&mut roster), (names(&["a", "b"]), names(&[])));
        assert_eq!(travels(&mut roster), (names(&[]), names(&[])));
        assert_eq!((roster.news().since, roster.news().about), (Some(7), None));
        roster.seen(seen("a", "one"), Vec::new(), now);
        assert_eq!(travels(&mut roster), (names(&["a"]), names(&[])));
        roster.seen(seen("a", "one"), Vec::new(), now);
        assert_eq!(travels(&mut roster), (names(&[]), names(&[])), "it is as it was");
        roster.list(vms(&["a"]));
        assert_eq!(travels(&mut roster), (names(&[]), names(&["b"])));
        roster.forget_told();
        assert_eq!(travels(&mut roster), (names(&["a"]), names(&[])), "all that there is");
        // What came and went between two words of it was never told.
        roster.list(vms(&["a", "c"]));
        roster.list(vms(&["a"]));
        assert_eq!(travels(&mut roster), (names(&[]), names(&[])));
    }

    #[test]
    fn a_source_that_is_away_takes_nobody_with_it() {
        let mut roster = roster(&["a"]);
        travels(&mut roster);
        let away =
            Vm { not_read: Some(Trouble::new(Kind::NoLibvirt, "away")), ..Vm::named("qemu:///system") };
        roster.list(vec![away]);
        assert_eq!(travels(&mut roster), (names(&[]), names(&[])));
        assert_eq!(roster.due(9, HOUR, Instant::now()).len(), 1);
    }

    #[test]
    fn who_is_looked_at() {
        let now = Instant::now();
        let later = |hours: u32| now + HOUR * hours;
        let mut roster = roster(&["a", "b", "c"]);
        let due = |roster: &Roster, at| -> Vec<String> {
            roster.due(2, HOUR, at).into_iter().map(|vm| vm.name).collect()
        };
        assert_eq!(due(&roster, now), ["a", "b"], "so many at once");
        for (name, at) in [("a", later(1)), ("b", later(0)), ("c", later(2))] {
            roster.seen(seen(name, ""), Vec::new(), at);
        }
        assert_eq!(due(&roster, later(2)), ["b", "a"], "longest ago first");
        roster.changed("c");
        assert_eq!(roster.due(9, HOUR * 9, later(2)).len(), 1, "a run of it has ended");
        roster.seen(seen("c", ""), Vec::new(), later(2));
        assert_eq!(roster.due(9, HOUR * 9, later(2)).len(), 0);
    }

    #[test]
    fn datastores_are_as_they_were_seen_last() {
        let now = Instant::now();
        let store = |free_bytes| SeenDatastore {
            name: "nas".into(),
            identity: "nfs:nas:/x".into(),
            path: "/guests".into(),
            size_bytes: 9,
            free_bytes,
        };
        let mut roster = roster(&["a", "b"]);
        roster.seen(seen("a", ""), vec![store(5)], now + HOUR);
        roster.seen(seen("b", ""), vec![store(4)], now);
        let about = roster.news().about.unwrap();
        assert_eq!((about.name.as_str(), about.datastores), ("node1", vec![store(5)]));
        roster.list(Vec::new());
        assert_eq!(roster.news().about.unwrap().datastores, []);
    }
}
