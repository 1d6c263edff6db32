//! `/etc/trimtab/trimtab.toml`: what holds for every command on this host. Flags > TRIMTAB_* > file > default.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{
    inventory::{Connect, Sources},
    model::{
        trouble::{Kind, Trouble},
        uri::NotAUri,
    },
};

/// Read where it exists.
const FILE: &str = "/etc/trimtab/trimtab.toml";

/// VMs at a time, where nothing else is said.
const DEFAULT_PARALLEL: u16 = 4;

/// What the file may say.
#[derive(Deserialize, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct File {
    inventory: Option<PathBuf>,
    connect: Option<String>,
    parallel: Option<u16>,
}

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where VMs come from.
    pub sources: Sources,
    /// VMs at a time, 1 or more.
    pub parallel: u16,
}

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--inventory`.
    pub inventory: Option<PathBuf>,
    /// `--connect`.
    pub connect: Option<String>,
    /// `--parallel`.
    pub parallel: Option<u16>,
}

impl Config {
    /// Reads file and environment below the flags.
    pub fn load(flags: Flags) -> Result<Self, Trouble> {
        let file = match std::fs::read_to_string(FILE) {
            Ok(text) => parse(Path::new(FILE), &text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => File::default(),
            Err(error) => return Err(Trouble::new(Kind::Config, format!("{FILE}: {error}"))),
        };
        Self::merge(flags, |name| std::env::var(name).ok(), file)
    }

    fn merge(flags: Flags, env: impl Fn(&str) -> Option<String>, file: File) -> Result<Self, Trouble> {
        let parallel = match env("TRIMTAB_PARALLEL") {
            Some(text) => Some(text.parse().map_err(|_| {
                Trouble::new(Kind::Config, format!("TRIMTAB_PARALLEL: {text:?} is no number from 1 to 65535"))
            })?),
            None => None,
        };
        let parallel = flags.parallel.or(parallel).or(file.parallel).unwrap_or(DEFAULT_PARALLEL);
        if parallel == 0 {
            return Err(Trouble::new(Kind::Config, "parallel: 0 VMs at a time is none").hint("say 1 or more"));
        }
        let inventory =
            flags.inventory.or_else(|| env("TRIMTAB_INVENTORY").map(PathBuf::from)).or(file.inventory);
        let connect = match (flags.connect, env("TRIMTAB_CONNECT"), file.connect) {
            (Some(uri), ..) => connect("--connect", Kind::Usage, &uri)?,
            (None, Some(uri), _) => connect("TRIMTAB_CONNECT", Kind::Config, &uri)?,
            (None, None, Some(uri)) => connect(&format!("{FILE}: connect"), Kind::Config, &uri)?,
            (None, None, None) => Connect::IfThere,
        };
        Ok(Self { sources: Sources { file: inventory, connect }, parallel })
    }
}

/// A URI of this host, or "none".
fn connect(place: &str, kind: Kind, text: &str) -> Result<Connect, Trouble> {
    if text == "none" {
        return Ok(Connect::Never);
    }
    text.parse().map(Connect::To).map_err(|error: NotAUri| {
        let trouble = Trouble::new(kind, format!("{place}: {error}"));
        match error {
            NotAUri::Remote { .. } => trouble.hint("run trimtab on that host"),
            _ => trouble.hint("\"none\" asks no libvirt at all"),
        }
    })
}

fn parse(path: &Path, text: &str) -> Result<File, Trouble> {
    toml::from_str(text).map_err(|error| not_understood(path, text, &error))
}

/// What TOML or serde says of a file, with file, line and key.
pub(crate) fn not_understood(path: &Path, text: &str, error: &toml::de::Error) -> Trouble {
    let (before, after) =
        text.split_at_checked(error.span().map_or(0, |span| span.start)).unwrap_or((text, ""));
    let line = before.matches('\n').count().saturating_add(1);
    // The first line says what is wrong; the rest is a picture of the file.
    let what = error.message().lines().next().unwrap_or_default();
    // "invalid type" names no key: it stands at the beginning of the line.
    let begun = before.rsplit('\n').next().unwrap_or_default();
    let whole = format!("{begun}{}", after.lines().next().unwrap_or_default());
    let key = whole.split_once('=').map(|(key, _)| key.trim()).filter(|key| !key.is_empty());
    let key = key.filter(|key| !what.contains(&format!("`{key}`"))).map(|key| format!("{key}: "));
    let text = format!("{}:{line}: {}{what}", path.display(), key.unwrap_or_default());
    Trouble::new(Kind::Config, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(flag: Option<u16>, env: Option<&str>, file: &str) -> Result<Config, Trouble> {
        let flags = Flags { parallel: flag, ..Flags::default() };
        let env = |name: &str| env.filter(|_| name == "TRIMTAB_PARALLEL").map(str::to_owned);
        Config::merge(flags, env, parse(Path::new("/c"), file)?)
    }

    #[test]
    fn flags_then_environment_then_file_then_default() {
        let cases = [
            (Some(1), Some("2"), "parallel = 3", 1),
            (None, Some("2"), "parallel = 3", 2),
            (None, None, "parallel = 3", 3),
            (None, None, "", DEFAULT_PARALLEL),
        ];
        for (flag, env, file, expected) in cases {
            assert_eq!(merged(flag, env, file).unwrap().parallel, expected, "{flag:?} {env:?} {file}");
        }
    }

    #[test]
    fn which_libvirt() {
        let merged = |flag: Option<&str>, env: Option<&str>, file: &str| {
            let flags = Flags { connect: flag.map(str::to_owned), ..Flags::default() };
            let env = |name: &str| env.filter(|_| name == "TRIMTAB_CONNECT").map(str::to_owned);
            Config::merge(flags, env, parse(Path::new("/c"), file)?).map(|config| config.sources.connect)
        };
        let to = |uri: &str| Ok(Connect::To(uri.parse().unwrap()));
        let file = "connect = \"qemu:///session\"";
        assert_eq!(merged(Some("ch:///system"), Some("qemu:///system"), file), to("ch:///system"));
        assert_eq!(merged(None, Some("qemu:///system"), file), to("qemu:///system"));
        assert_eq!(merged(None, None, file), to("qemu:///session"));
        assert_eq!(merged(None, None, ""), Ok(Connect::IfThere));
        assert_eq!(merged(Some("none"), None, file), Ok(Connect::Never));
        let remote = merged(Some("qemu+ssh://node2/system"), None, "").unwrap_err();
        assert_eq!((remote.kind, remote.hint.as_deref()), (Kind::Usage, Some("run trimtab on that host")));
        let wrong = merged(None, None, "connect = \"system\"").unwrap_err();
        assert!(wrong.kind == Kind::Config && wrong.text.contains("trimtab.toml: connect: "), "{wrong}");
    }

    #[test]
    fn mistakes_are_named() {
        for (flag, env, file, what) in [
            (None, Some("many"), "", "TRIMTAB_PARALLEL"),
            (None, None, "parallel = 0", "parallel: 0"),
            (None, None, "\nparalel = 3", "/c:2: unknown field `paralel`"),
            (None, None, "parallel = \"x\"", "/c:1: parallel: invalid type"),
        ] {
            let trouble = merged(flag, env, file).unwrap_err();
            assert!(trouble.kind == Kind::Config && trouble.text.contains(what), "{}", trouble.text);
        }
    }
}
