//! What the guest's owner wants: /etc/trimtab/agent.toml and the files beside it. No file means the defaults; a mistake
//! in one is an error that names file, line and key, and nothing is started.
//!
//! ```text
//! files.rs: which files count, in what order ──> file.rs: one file's keys, checked ──> Config ──> settings.rs: what is
//!                                                                                   in force, and from where
//! ```
//!
//! It opens no socket and reads no secret: `token` only says where that is.

mod check;
mod error;
mod file;
mod files;
mod settings;
mod words;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use trimtab_proto::{DEFAULT_PORT, MAX_LINGER_SECS, words::Pace};

pub use self::{
    error::ConfigError,
    settings::{Origin, Setting},
    words::{Listen, PeerPort, TokenSource},
};
use crate::{select, sys::Roots};

/// CID of the host (vsock(7), VMADDR_CID_HOST).
const HOST_CID: u32 = 2;
const DEFAULT_CONNECTIONS: u32 = 8;
/// Longer than a person thinks between two commands; each start costs the guest some 10 ms.
const DEFAULT_IDLE_EXIT: Duration = Duration::from_secs(30);

/// What is in force.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Where `serve` listens.
    pub listen: Listen,
    /// Who may call over vsock.
    pub allow_cids: Vec<u32>,
    /// From which ports they may.
    pub peer_port: PeerPort,
    /// The secret that calls must bring.
    pub token: TokenSource,
    /// How many connections are held at a time, 1 to 64.
    pub max_connections: u32,
    /// With a socket of systemd's, `serve` ends after so long without a call; `None`: never.
    pub idle_exit: Option<Duration>,
    /// What a trim may do.
    pub trim: Trim,
    /// The files that were read, in the order in which they count: a later one wins.
    pub files: Vec<PathBuf>,
    origins: BTreeMap<&'static str, Origin>,
}

/// The `[trim]` table.
#[derive(Clone, PartialEq, Debug)]
pub struct Trim {
    /// Of a run that does not say how fast.
    pub pace: Pace,
    /// No run of the host's is faster.
    pub fastest: Pace,
    /// Whether the host may trim this guest.
    pub host_may_trim: bool,
    /// Whether the host may write a small file to prove the way to its image.
    pub host_may_probe: bool,
    /// Between the end of one run of the host's and the start of the next.
    pub min_interval: Duration,
    /// The mount points that are trimmed; empty: all.
    pub only: Vec<glob::Pattern>,
    /// Mount points that are left out.
    pub exclude: Vec<glob::Pattern>,
    /// The filesystem types that are trimmed; empty: all that are trusted.
    pub types: Vec<String>,
    /// Filesystem types that are trusted beside the agent's own list.
    pub also_types: Vec<String>,
    /// The longest that a run goes on with nobody attached, at most 10 s.
    pub linger: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::Vsock { port: DEFAULT_PORT },
            allow_cids: vec![HOST_CID],
            peer_port: PeerPort::Any,
            token: TokenSource::None,
            max_connections: DEFAULT_CONNECTIONS,
            idle_exit: Some(DEFAULT_IDLE_EXIT),
            trim: Trim {
                pace: Pace::Steady,
                fastest: Pace::Full,
                host_may_trim: true,
                host_may_probe: true,
                min_interval: Duration::ZERO,
                only: Vec::new(),
                exclude: Vec::new(),
                types: Vec::new(),
                also_types: Vec::new(),
                linger: Duration::from_secs(MAX_LINGER_SECS.into()),
            },
            files: Vec::new(),
            origins: BTreeMap::new(),
        }
    }
}

impl Config {
    /// What the rules of selection need of it.
    pub fn policy(&self) -> select::Policy {
        select::Policy {
            only: self.trim.only.clone(),
            exclude: self.trim.exclude.clone(),
            types: self.trim.types.clone(),
            also_types: self.trim.also_types.clone(),
        }
    }

    /// A key's value turned out to be of no use: an error that names where it stands.
    pub fn refuse(&self, key: &'static str, what: &str) -> ConfigError {
        match self.origins.get(key) {
            Some(Origin { file, line }) => {
                ConfigError::Mistake { path: file.clone(), line: *line, what: format!("{key}: {what}") }
            }
            None => ConfigError::Default { key, what: what.to_owned() },
        }
    }
}

/// Reads `file` alone, or where none is named the system's own files, all of which may be absent.
///
/// # Errors
/// [`ConfigError`].
pub fn load(roots: &Roots, file: Option<&Path>) -> Result<Config, ConfigError> {
    let sources = match file {
        Some(file) => vec![files::named(file)?],
        None => files::of_system(roots)?,
    };
    let mut config = Config::default();
    for source in &sources {
        file::apply(source, &mut config)?;
    }
    check::together(&config)?;
    config.files = sources.into_iter().map(|source| source.path).collect();
    Ok(config)
}

#[cfg(test)]
mod tests;
