//! `/etc/trimtab/trimtab.toml`: what holds for every command on this host. Flags > TRIMTAB_* > file > default.

pub mod datastores;
mod file;
pub mod gates;
pub mod labels;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use self::{datastores::DatastoreNames, file::File, gates::Gate, labels::Labels};
use crate::{
    campaign::store::at::At,
    inventory::{Connect, Sources},
    model::{
        trouble::{Kind, Trouble},
        uri::NotAUri,
    },
};

/// Read where it exists.
const FILE: &str = "/etc/trimtab/trimtab.toml";

/// Where campaigns are kept, where nothing else is said.
const DEFAULT_STORE: &str = "/var/lib/trimtab/trimtab.db";

/// Half of the time somebody waits for the disks: they are saturated.
pub const DEFAULT_IO_PRESSURE_PERCENT: u8 = 50;

/// VMs at a time, where nothing else is said.
const DEFAULT_PARALLEL: u16 = 4;

/// What is in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where VMs come from.
    pub sources: Sources,
    /// VMs at a time, 1 or more.
    pub parallel: u16,
    /// Where campaigns are kept.
    pub store: At,
    /// The VM that the store's database runs in, by name or uuid: a plan leaves it out unless it is named.
    pub database_vm: Option<String>,
    /// Where the worker writes its metrics; `None`: nowhere.
    pub metrics: Option<PathBuf>,
    /// What labels the file adds to VMs.
    pub labels: Labels,
    /// What datastores are called.
    pub datastores: DatastoreNames,
    /// A campaign starts no trim while the host's tasks wait for I/O more than so many percent of the time
    /// (/proc/pressure/io, some avg10); 0: it is not looked at.
    pub io_pressure_percent: u8,
    /// What must say that storage is healthy before a campaign starts a trim, where its plan names it.
    pub gates: Vec<Gate>,
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
    /// `--store`.
    pub store: Option<OsString>,
}

impl Config {
    /// Reads file and environment below the flags.
    pub fn load(flags: Flags) -> Result<Self, Trouble> {
        let file = match std::fs::read_to_string(FILE) {
            Ok(text) => File::parse(Path::new(FILE), &text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => File::default(),
            Err(error) => return Err(Trouble::new(Kind::Config, format!("{FILE}: {error}"))),
        };
        if !file.gates.is_empty() {
            gates::check_owner(Path::new(FILE))?;
        }
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
        let store = match (flags.store, env("TRIMTAB_STORE"), file.store) {
            (Some(written), ..) => store("--store", Kind::Usage, written)?,
            (None, Some(written), _) => store("TRIMTAB_STORE", Kind::Config, written.into())?,
            (None, None, Some(at)) => at,
            (None, None, None) => At::File(DEFAULT_STORE.into()),
        };
        let pressure = match env("TRIMTAB_IO_PRESSURE_PERCENT") {
            Some(text) => Some(text.parse().ok().filter(|percent| *percent <= 100).ok_or_else(|| {
                let what = format!("TRIMTAB_IO_PRESSURE_PERCENT: {text:?} is no number from 0 to 100");
                Trouble::new(Kind::Config, what)
            })?),
            None => file.io_pressure_percent,
        };
        let metrics = match env("TRIMTAB_METRICS").map(PathBuf::from) {
            Some(path) => Some(metrics(path)?),
            None => file.metrics,
        };
        Ok(Self {
            sources: Sources { file: inventory, connect, token: file.token },
            parallel,
            store,
            database_vm: file.database_vm,
            metrics,
            labels: file.labels,
            datastores: file.datastores,
            io_pressure_percent: pressure.unwrap_or(DEFAULT_IO_PRESSURE_PERCENT),
            gates: file.gates,
        })
    }
}

/// A file or a database.
fn store(place: &str, kind: Kind, written: OsString) -> Result<At, Trouble> {
    At::read(written).map_err(|trouble| Trouble {
        kind,
        text: format!("{place}: {}", trouble.text),
        hint: trouble.hint,
    })
}

/// As in the file: absolute, and of the ending that node_exporter reads.
fn metrics(path: PathBuf) -> Result<PathBuf, Trouble> {
    match path.is_absolute() && path.extension().is_some_and(|ending| ending == "prom") {
        true => Ok(path),
        false => {
            let what = format!("TRIMTAB_METRICS: {path:?} is no absolute path that ends in .prom");
            Err(Trouble::new(Kind::Config, what))
        }
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

#[cfg(test)]
mod tests;
