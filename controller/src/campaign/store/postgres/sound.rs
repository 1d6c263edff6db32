//! A host's word of one of its VMs, as far as others go by it. Each document has been taken apart and put together again
//! before it was kept; here it is held against the rest that the host said, so that none makes a plan for all hosts one that
//! nobody can read or apply. Pure.

use std::collections::BTreeSet;

use crate::campaign::{
    plan::Reason,
    seen::{Out, SeenVm},
};

/// Which VM it is: the database's own columns, whatever its document says.
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    /// Empty: it has none.
    pub(super) uuid: &'a str,
    pub(super) is_on: bool,
}

impl Row<'_> {
    /// A VM that nobody has looked at yet.
    pub(super) fn unseen(&self, labels: Vec<String>) -> SeenVm {
        let uuid = (!self.uuid.is_empty()).then(|| self.uuid.to_owned());
        SeenVm::not_looked_at(self.name.to_owned(), uuid, labels, self.is_on)
    }

    /// How it was seen last, on or off as it is since. `datastores`: those that its host tells of.
    pub(super) fn seen(&self, mut seen: SeenVm, datastores: &BTreeSet<&str>) -> SeenVm {
        for disk in &mut seen.disks {
            let is_known =
                |name: &Option<String>| name.as_deref().is_none_or(|name| datastores.contains(name));
            disk.image = disk.image.take().filter(|image| is_known(&image.datastore));
        }
        let unseen = self.unseen(seen.labels);
        if seen.is_on != self.is_on {
            return SeenVm { disks: seen.disks, ..unseen };
        }
        let goes = seen.disks.iter().any(|disk| disk.goes && disk.image.is_some());
        let out = match seen.out {
            Some(out) => Some(Out { paste: self.paste(out.paste.as_deref()), ..out }),
            None if !self.is_on => unseen.out,
            None => (!goes).then(|| Out {
                reason: Reason::NoImage,
                text: "its host tells of no image that a trim would go to".to_owned(),
                paste: None,
            }),
        };
        SeenVm { disks: seen.disks, notes: seen.notes, out, ..unseen }
    }

    /// A host's word is pasted by nobody: it stands for a command of ours, on a VM that the host has.
    fn paste(&self, told: Option<&str>) -> Option<String> {
        let told = told?;
        let name = shlex::try_quote(self.name).ok().filter(|name| !name.contains(char::is_control))?;
        let doctor = format!("trimtab doctor {name}");
        Some(if told.ends_with(" --fix") { format!("{doctor} --fix") } else { doctor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::{
        plan::samples::seen_disk,
        seen::{SeenDisk, SeenImage},
    };

    /// A VM that goes, with an image on this datastore.
    fn told(datastore: &str) -> SeenVm {
        let image = SeenImage {
            path: "/guests/a.img".into(),
            inode: 7,
            datastore: Some(datastore.into()),
            known_as: Vec::new(),
        };
        let disk = SeenDisk { goes: true, ..seen_disk(image) };
        SeenVm {
            disks: vec![disk],
            out: None,
            ..SeenVm::not_looked_at("x".into(), Some("u".into()), Vec::new(), true)
        }
    }

    #[test]
    fn what_does_not_fit_together_goes_into_no_plan() {
        let datastores = BTreeSet::from(["nas"]);
        let off = SeenVm { is_on: false, ..told("nas") };
        let empty = SeenVm { disks: Vec::new(), ..told("nas") };
        for (name, is_on, told, expected) in [
            ("as it is", true, told("nas"), None),
            ("a datastore that its host has not", true, told("of others"), Some(Reason::NoImage)),
            ("no disk", true, empty, Some(Reason::NoImage)),
            ("off, and goes", false, off.clone(), Some(Reason::Off)),
            ("on since", true, off, Some(Reason::NotLookedAt)),
            ("off since", false, told("nas"), Some(Reason::Off)),
        ] {
            let seen = Row { name: "a", uuid: "1", is_on }.seen(told, &datastores);
            assert_eq!(seen.out.map(|out| out.reason), expected, "{name}");
            assert_eq!(
                (seen.name.as_str(), seen.uuid.as_deref(), seen.is_on),
                ("a", Some("1"), is_on),
                "{name}"
            );
        }
    }

    #[test]
    fn no_line_of_a_host_is_pasted() {
        for (name, told, expected) in [
            ("a", Some("rm -rf / # --fix"), Some("trimtab doctor a --fix")),
            ("a b", Some("x"), Some("trimtab doctor 'a b'")),
            ("a\n[[vm]]", Some("x"), None),
            ("a", None, None),
        ] {
            let row = Row { name, uuid: "", is_on: true };
            assert_eq!(row.paste(told).as_deref(), expected, "{name:?}");
        }
    }
}
