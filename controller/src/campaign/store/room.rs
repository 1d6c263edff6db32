//! Whether one more run has room: caps are compared with a count of what runs, over all campaigns of the store.
//!
//! Pure. A cap binds who claims, and also each campaign that has something running there: another campaign's larger cap
//! does not overrule it.

/// A run that a worker has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Running {
    /// Its campaign.
    pub campaign: i64,
    /// Its VM, by the store's number.
    pub vm: i64,
    /// The VM's host.
    pub host: String,
    /// Where its images lie.
    pub datastores: Vec<String>,
    /// The first trim ever of that VM.
    pub is_first: bool,
}

/// What a cap is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// The campaign's own runs.
    All,
    /// Runs on a host.
    Host,
    /// Runs on a datastore.
    Datastore,
}

impl Scope {
    /// The word in the store.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Host => "host",
            Self::Datastore => "datastore",
        }
    }

    /// Reads the store's word.
    pub(crate) fn of(word: &str) -> Option<Self> {
        [Self::All, Self::Host, Self::Datastore].into_iter().find(|scope| scope.as_str() == word)
    }
}

/// How many at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cap {
    /// Whose limit it is.
    pub campaign: i64,
    /// For what.
    pub scope: Scope,
    /// Which host or datastore; empty for all.
    pub name: String,
    /// So many.
    pub at_once: u32,
}

/// What runs, and what may.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    /// Who asks.
    pub campaign: i64,
    /// All that runs in the store.
    pub running: Vec<Running>,
    /// The caps of the campaign that asks, and of all that have something running.
    pub caps: Vec<Cap>,
}

impl Room {
    /// Runs of the campaign that asks.
    pub(crate) fn own(&self) -> u32 {
        count(self.running.iter().filter(|run| run.campaign == self.campaign))
    }

    /// Whether the campaign may have one more on this host at all.
    pub(crate) fn on_host(&self, host: &str) -> bool {
        let all = self.caps.iter().filter(|cap| cap.scope == Scope::All && cap.campaign == self.campaign);
        all.map(|cap| cap.at_once).min().is_none_or(|at_once| self.own() < at_once)
            && self.has(Scope::Host, host, |run| run.host == host)
    }

    /// Whether all of these datastores take one more; of first trims ever each takes one at a time.
    pub(crate) fn on_datastores<'a>(
        &self,
        datastores: impl IntoIterator<Item = &'a str>,
        is_first: bool,
    ) -> bool {
        datastores.into_iter().all(|datastore| {
            let lies_there = |run: &Running| run.datastores.iter().any(|other| other == datastore);
            self.has(Scope::Datastore, datastore, lies_there)
                && !(is_first && self.running.iter().any(|run| run.is_first && lies_there(run)))
        })
    }

    fn has(&self, scope: Scope, name: &str, is_there: impl Fn(&Running) -> bool) -> bool {
        let there: Vec<_> = self.running.iter().filter(|run| is_there(run)).collect();
        let binds = |campaign| campaign == self.campaign || there.iter().any(|run| run.campaign == campaign);
        let caps =
            self.caps.iter().filter(|cap| cap.scope == scope && cap.name == name && binds(cap.campaign));
        caps.map(|cap| cap.at_once).min().is_none_or(|at_once| count(there.iter()) < at_once)
    }
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(campaign: i64, host: &str, datastores: &[&str], is_first: bool) -> Running {
        let datastores = datastores.iter().map(ToString::to_string).collect();
        Running { campaign, vm: 0, host: host.into(), datastores, is_first }
    }

    fn cap(campaign: i64, scope: Scope, name: &str, at_once: u32) -> Cap {
        Cap { campaign, scope, name: name.into(), at_once }
    }

    #[test]
    fn what_runs_is_counted_over_all_campaigns() {
        let room = Room {
            campaign: 1,
            running: vec![run(1, "h", &["a"], false), run(2, "h", &["a", "b"], true)],
            caps: vec![
                cap(1, Scope::All, "", 2),
                cap(1, Scope::Host, "h", 3),
                cap(1, Scope::Datastore, "a", 2),
                cap(1, Scope::Datastore, "b", 2),
                cap(1, Scope::Datastore, "c", 1),
            ],
        };
        for (name, datastores, is_first, expected) in [
            ("full, half of it another campaign's", &["a"][..], false, false),
            ("one more", &["b"], false, true),
            ("one full one is enough", &["c", "a"], false, false),
            ("a first trim beside another first", &["b"], true, false),
            ("a first trim elsewhere", &["c"], true, true),
            ("no datastore is known", &[], true, true),
        ] {
            assert_eq!(room.on_datastores(datastores.iter().copied(), is_first), expected, "{name}");
        }
        assert!(room.on_host("h"), "one of two, two of three");
        let mut full = room.clone();
        full.running.push(run(3, "h", &[], false));
        assert!(!full.on_host("h"), "three on the host");
        assert!(full.on_host("other"));
        full.running.push(run(1, "other", &[], false));
        assert!(!full.on_host("other"), "two of its own");
    }

    #[test]
    fn the_smaller_cap_of_another_campaign_binds_while_it_runs_there() {
        let caps = vec![cap(1, Scope::Datastore, "a", 5), cap(2, Scope::Datastore, "a", 1)];
        let mut room = Room { campaign: 1, running: vec![run(2, "h", &["a"], false)], caps };
        assert!(!room.on_datastores(["a"], false));
        room.running = vec![run(1, "h", &["a"], false)];
        assert!(room.on_datastores(["a"], false), "it has nothing there now");
    }
}
