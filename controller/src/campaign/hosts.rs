//! What hosts are called: by their names; where two have one name, by their machine ids too. Pure.

use std::collections::BTreeMap;

/// The characters of a machine id (machine-id(5)).
const MACHINE_ID: usize = 32;

/// The hosts that somebody reads of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostNames(BTreeMap<String, Name>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Name {
    own: String,
    called: String,
}

impl HostNames {
    /// Of machine ids and names; an empty name is none.
    pub fn of<'a>(hosts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let names: BTreeMap<&str, &str> = hosts.into_iter().collect();
        let mut many: BTreeMap<&str, u32> = BTreeMap::new();
        for name in names.values() {
            let count = many.entry(name).or_default();
            *count = count.saturating_add(1);
        }
        let called = names.iter().filter(|(_, name)| !name.is_empty()).map(|(id, name)| {
            let called = match many.get(name) {
                Some(1) => (*name).to_owned(),
                _ => format!("{name} ({id})"),
            };
            ((*id).to_owned(), Name { own: (*name).to_owned(), called })
        });
        Self(called.collect())
    }

    /// A host's name, with its machine id where that says no more than the name; its machine id where it has no name. May
    /// hold any text.
    pub fn called<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.get(id).map_or(id, |name| &name.called)
    }

    /// Its name alone.
    pub fn name(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(|name| name.own.as_str())
    }

    /// A text of the store's own that names hosts by their machine ids, with their names.
    pub fn in_words(&self, text: &str) -> String {
        let named = self.0.iter().filter(|(id, _)| id.len() == MACHINE_ID && text.contains(id.as_str()));
        named.fold(text.to_owned(), |text, (id, name)| text.replace(id.as_str(), &name.called))
    }

    /// A datastore's identity with its host by name, where it is that host's alone: "ext4:UUID@node1".
    pub fn place(&self, identity: &str) -> String {
        match self.owner(identity) {
            Some((own, host)) => format!("{own}@{host}"),
            None => identity.to_owned(),
        }
    }

    /// The host whose alone a datastore is, and its identity there.
    pub fn owner<'a>(&'a self, identity: &'a str) -> Option<(&'a str, &'a str)> {
        let (own, host) = identity.rsplit_once('@')?;
        Some((own, &self.0.get(host)?.called))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_for_one_is_enough() {
        let names = HostNames::of([("1", "node1"), ("2", "twin"), ("3", "twin"), ("4", ""), ("5", "")]);
        for (id, expected) in
            [("1", "node1"), ("2", "twin (2)"), ("3", "twin (3)"), ("4", "4"), ("5", "5"), ("6", "6")]
        {
            assert_eq!(names.called(id), expected);
        }
        assert_eq!((names.name("2"), names.name("4")), (Some("twin"), None));
        let (one, two) = ("1".repeat(32), "2".repeat(32));
        let long = HostNames::of([(one.as_str(), "node1"), ("3", "third")]);
        assert_eq!(long.in_words(&format!("from {one} to {two}, 3")), format!("from node1 to {two}, 3"));
        for (identity, expected) in [
            ("ext4:u@1", "ext4:u@node1"),
            ("ext4:u@2", "ext4:u@twin (2)"),
            ("ext4:u@4", "ext4:u@4"),
            ("nfs:nas:/a@b", "nfs:nas:/a@b"),
            ("nas", "nas"),
        ] {
            assert_eq!(names.place(identity), expected);
        }
    }
}
