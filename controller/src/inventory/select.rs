//! Which VMs: names, patterns, and `--select` terms; the same words for every command. Pure.

use std::collections::BTreeMap;

use globset::{Glob, GlobMatcher};

use crate::model::{
    trouble::{Kind, Trouble},
    vm::Vm,
};

/// A name further from every known one than this is not a slip of the finger.
const SIMILAR: f64 = 0.7;

/// Where the images of each VM lie: by its name the names, identities and mount points of its datastores.
pub type Places = BTreeMap<String, Vec<String>>;

/// Whether a text of `--select` can only be answered with the VMs' [`Places`].
pub fn asks_for_places(terms: &str) -> bool {
    terms.split_whitespace().any(|word| word.starts_with("datastore=") || word.starts_with("datastore!="))
}

/// The VMs that fit: any of `names` (all VMs where there is none) and each of the terms. A name that nothing fits is
/// an error, so that a slip never becomes "nothing to do". In the inventory's order, each once.
pub fn select(
    vms: &[Vm],
    places: &Places,
    names: &[String],
    terms: Option<&str>,
) -> Result<Vec<Vm>, Trouble> {
    let none = Vec::new();
    let among = vms.iter().map(|vm| Candidate {
        name: &vm.name,
        labels: &vm.labels,
        places: places.get(&vm.name).unwrap_or(&none),
    });
    let not_read = vms.iter().find_map(|vm| vm.not_read.as_ref());
    let fits = fitting(&among.collect::<Vec<_>>(), not_read, names, terms)?;
    Ok(vms.iter().zip(fits).filter(|(_, fits)| *fits).map(|(vm, _)| vm.clone()).collect())
}

/// What a VM is selected by. Those of several hosts may have one name.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a [String],
    /// The names, identities and mount points of its datastores.
    pub places: &'a [String],
}

/// Of each candidate, whether it fits. `not_read`: why some VMs may be missing.
///
/// # Errors
/// A name that nothing fits, or a term that is none.
pub fn fitting(
    among: &[Candidate<'_>],
    not_read: Option<&Trouble>,
    names: &[String],
    terms: Option<&str>,
) -> Result<Vec<bool>, Trouble> {
    let terms = Term::parse_all(terms.unwrap_or_default())?;
    let mut matchers = Vec::new();
    for name in names {
        // A name can hold what a pattern means something by: libvirt allows nearly everything.
        let wanted = match among.iter().any(|vm| vm.name == name) {
            true => Wanted::Name(name.clone()),
            false => Wanted::Pattern(glob(name)?),
        };
        if !among.iter().any(|vm| wanted.fits(vm.name)) {
            return Err(unknown(among, not_read, name));
        }
        matchers.push(wanted);
    }
    let fits = |vm: &Candidate<'_>| {
        (matchers.is_empty() || matchers.iter().any(|wanted| wanted.fits(vm.name)))
            && terms.iter().all(|term| term.fits(vm))
    };
    Ok(among.iter().map(fits).collect())
}

/// One VM argument.
enum Wanted {
    Name(String),
    Pattern(GlobMatcher),
}

impl Wanted {
    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Name(wanted) => name == wanted,
            Self::Pattern(pattern) => pattern.is_match(name),
        }
    }
}

/// One word of `--select`.
struct Term {
    what: What,
    /// `!=`, `!~`: it fits whom the other does not.
    negated: bool,
}

enum What {
    /// `label=prod`.
    Label(String),
    /// `name~web-*`.
    Name(GlobMatcher),
    /// `datastore=/guests`: any of the VM's, by name, identity or mount point.
    Datastore(GlobMatcher),
}

impl Term {
    fn parse_all(text: &str) -> Result<Vec<Self>, Trouble> {
        text.split_whitespace().map(Self::parse).collect()
    }

    fn parse(word: &str) -> Result<Self, Trouble> {
        let written = |key: &str, sign: char| {
            let rest = word.strip_prefix(key)?;
            let (negated, rest) = rest.strip_prefix('!').map_or((false, rest), |rest| (true, rest));
            let value = rest.strip_prefix(sign).filter(|value| !value.is_empty())?;
            Some((negated, value))
        };
        if let Some((negated, label)) = written("label", '=') {
            return Ok(Self { what: What::Label(label.to_owned()), negated });
        }
        if let Some((negated, pattern)) = written("name", '~') {
            return Ok(Self { what: What::Name(glob(pattern)?), negated });
        }
        if let Some((negated, pattern)) = written("datastore", '=') {
            return Ok(Self { what: What::Datastore(glob(pattern)?), negated });
        }
        Err(Trouble::new(Kind::Usage, format!("{word:?} is no term of --select")).hint(
            "a term is label=LABEL, name~PATTERN or datastore=PATTERN, and != or !~ turns it round; several in one \
             text must all fit",
        ))
    }

    fn fits(&self, vm: &Candidate<'_>) -> bool {
        let fits = match &self.what {
            What::Label(label) => vm.labels.contains(label),
            What::Name(pattern) => pattern.is_match(vm.name),
            What::Datastore(pattern) => vm.places.iter().any(|place| pattern.is_match(place)),
        };
        fits != self.negated
    }
}

fn glob(pattern: &str) -> Result<GlobMatcher, Trouble> {
    Glob::new(pattern).map(|glob| glob.compile_matcher()).map_err(|error| {
        Trouble::new(Kind::Usage, format!("{pattern:?} is no pattern: {}", error.kind()))
            .hint("quote it: 'web-*'")
    })
}

fn unknown(vms: &[Candidate<'_>], not_read: Option<&Trouble>, name: &str) -> Trouble {
    let trouble = Trouble::new(Kind::UnknownVm, format!("no VM is called {name:?}"));
    if let Some(why) = not_read {
        return Trouble {
            text: format!("{}, and not all could be read: {why}", trouble.text),
            ..why.clone()
        };
    }
    if vms.is_empty() {
        return trouble.hint(
            "no VM is known here: name an inventory file with --inventory, or a libvirt that runs with --connect",
        );
    }
    let nearest = vms
        .iter()
        .map(|vm| (strsim::jaro_winkler(vm.name, name), vm.name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, known)) => trouble.hint(format!("did you mean {known}? `trimtab list` shows all")),
        None => trouble.hint("`trimtab list` shows all that are known here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vms() -> Vec<Vm> {
        [("web-1", "prod"), ("web-2", "test"), ("db-1", "prod")]
            .map(|(name, label)| Vm { labels: vec![label.into()], ..Vm::named(name) })
            .into()
    }

    fn places() -> Places {
        let places = [("web-1", "/guests"), ("web-1", "nas"), ("web-2", "nas")];
        let mut all = Places::new();
        for (vm, place) in places {
            all.entry(vm.to_owned()).or_default().push(place.to_owned());
        }
        all
    }

    #[test]
    fn names_patterns_and_terms() {
        let cases: [(&[&str], Option<&str>, &[&str]); 14] = [
            (&[], None, &["web-1", "web-2", "db-1"]),
            (&["web-2"], None, &["web-2"]),
            (&["db-1", "web-1"], None, &["web-1", "db-1"]),
            (&["web-*", "web-1"], None, &["web-1", "web-2"]),
            (&[], Some("label=prod"), &["web-1", "db-1"]),
            (&["web-*"], Some("label=prod"), &["web-1"]),
            (&[], Some("label=prod name~db*"), &["db-1"]),
            (&[], Some("label=none"), &[]),
            (&[], Some("label!=prod"), &["web-2"]),
            (&[], Some("name!~web-* label=prod"), &["db-1"]),
            (&[], Some("datastore=/guests"), &["web-1"]),
            (&[], Some("datastore=n*"), &["web-1", "web-2"]),
            (&[], Some("datastore!=nas"), &["db-1"]),
            (&["web-*"], Some("datastore!=/guests"), &["web-2"]),
        ];
        for (names, terms, expected) in cases {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let found: Vec<String> =
                select(&vms(), &places(), &names, terms).unwrap().into_iter().map(|vm| vm.name).collect();
            assert_eq!(found, expected, "{names:?} {terms:?}");
        }
    }

    #[test]
    fn slips_are_named() {
        let error = |name: &str, terms| select(&vms(), &places(), &[name.to_owned()], terms).unwrap_err();
        let slip = error("wbe-1", None);
        assert_eq!(slip.kind, Kind::UnknownVm);
        assert!(slip.hint.unwrap().contains("did you mean web-1?"));
        assert!(error("zzz", None).hint.unwrap().contains("trimtab list"));
        assert_eq!(error("x-*", None).kind, Kind::UnknownVm);
        assert_eq!(error("[", None).kind, Kind::Usage);
        for term in [
            "lable=prod",
            "label=",
            "label",
            "name=web-1",
            "name~",
            "datastore=",
            "datastore=[",
            "label!prod",
        ] {
            assert_eq!(error("web-1", Some(term)).kind, Kind::Usage, "{term}");
        }
        assert!(asks_for_places("label=a datastore=b") && asks_for_places("datastore!=b"));
        assert!(!asks_for_places("label=datastore=b"));
        assert!(
            select(&[], &places(), &["a".into()], None).unwrap_err().hint.unwrap().contains("--inventory")
        );
    }

    #[test]
    fn a_name_like_a_pattern_is_a_name_first() {
        let vms = [Vm::named("a[1]"), Vm::named("a1"), Vm::named("[")];
        let found = |name: &str| -> Vec<String> {
            select(&vms, &places(), &[name.to_owned()], None).unwrap().into_iter().map(|vm| vm.name).collect()
        };
        assert_eq!(
            (found("a[1]"), found("["), found("a[1-2]")),
            (vec!["a[1]".into()], vec!["[".into()], vec!["a1".into()])
        );
    }

    #[test]
    fn a_source_that_is_away_is_named() {
        let away = Trouble::new(Kind::NoLibvirt, "libvirt does not run");
        let vms = [Vm { not_read: Some(away), ..Vm::named("qemu:///system") }];
        let trouble = select(&vms, &places(), &["web".into()], None).unwrap_err();
        assert_eq!(trouble.kind, Kind::NoLibvirt);
        assert!(
            trouble.text.contains("no VM is called \"web\"") && trouble.text.contains("does not run"),
            "{trouble}"
        );
    }
}
