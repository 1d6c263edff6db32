//! /etc/trimtab/agent.toml: what the guest's owner wants. An absent file means the defaults; a mistake in it is an
//! error that names file, line and key, and nothing is started.

use std::{
    collections::BTreeMap,
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use toml::Spanned;
use trimtab_proto::{DEFAULT_PORT, MAX_LINGER_SECS, words::Pace};

use crate::{select, sys::Roots};

/// CID of the host (vsock(7), VMADDR_CID_HOST).
const HOST_CID: u32 = 2;
const DEFAULT_CONNECTIONS: u32 = 8;
const MOST_CONNECTIONS: u32 = 64;
/// Linux has fewer types that know FITRIM.
const MOST_TYPES: usize = 64;
const MOST_TYPE_BYTES: usize = 64;

/// What is in force.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Where `serve` listens.
    pub listen: Listen,
    /// Who may call over vsock.
    pub allow_cids: Vec<u32>,
    /// How many connections are held at a time, 1 to 64.
    pub max_connections: u32,
    /// `serve` ends after so long without a call; `None`: never.
    pub idle_exit: Option<Duration>,
    /// What a trim may do.
    pub trim: Trim,
    /// Where it was read; `None` where there is no file.
    pub file: Option<PathBuf>,
    lines: BTreeMap<&'static str, usize>,
}

/// The `[trim]` table.
#[derive(Clone, PartialEq, Debug)]
pub struct Trim {
    /// Of a run that does not say how fast.
    pub pace: Pace,
    /// No run is faster.
    pub fastest: Pace,
    /// Whether the host may trim this guest.
    pub host_may_trim: bool,
    /// Whether the host may write a small file to prove the way to its image.
    pub host_may_probe: bool,
    /// Between the end of one run of the host's and the start of the next.
    pub min_interval: Duration,
    /// Mount points that are left out.
    pub exclude: Vec<glob::Pattern>,
    /// Filesystem types that are trimmed beside the agent's own list.
    pub also_types: Vec<String>,
    /// The longest that a run goes on with nobody attached, at most 10 s.
    pub linger: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::Vsock { port: DEFAULT_PORT },
            allow_cids: vec![HOST_CID],
            max_connections: DEFAULT_CONNECTIONS,
            idle_exit: None,
            trim: Trim {
                pace: Pace::Steady,
                fastest: Pace::Full,
                host_may_trim: true,
                host_may_probe: true,
                min_interval: Duration::ZERO,
                exclude: Vec::new(),
                also_types: Vec::new(),
                linger: Duration::from_secs(MAX_LINGER_SECS.into()),
            },
            file: None,
            lines: BTreeMap::new(),
        }
    }
}

/// Where `serve` listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listen {
    /// On a vsock port, for every CID that is allowed.
    Vsock {
        /// The port.
        port: u32,
    },
    /// On a unix socket, for tests: whoever may open it may call.
    Unix {
        /// Its path.
        path: PathBuf,
    },
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vsock { port } => write!(f, "vsock:{port}"),
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            // The highest number means "any port" (VMADDR_PORT_ANY).
            Some(("vsock", port)) => match port.parse() {
                Ok(port) if port != 0 && port != u32::MAX => Ok(Self::Vsock { port }),
                _ => Err(format!("{port:?} is not a vsock port")),
            },
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix { path: path.into() }),
            _ => Err(format!("{text:?} is neither \"vsock:PORT\" nor \"unix:/PATH\"")),
        }
    }
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was read and holds a mistake.
    #[error("{}:{line}: {what}", path.display())]
    Mistake {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Which key, and what is wrong with it.
        what: String,
    },
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<Spanned<String>>,
    allow_cids: Option<Spanned<Vec<u32>>>,
    max_connections: Option<Spanned<u32>>,
    idle_exit_secs: Option<Spanned<u32>>,
    #[serde(default)]
    trim: TrimTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct TrimTable {
    pace: Option<Spanned<Pace>>,
    fastest: Option<Spanned<Pace>>,
    host_may_trim: Option<Spanned<bool>>,
    host_may_probe: Option<Spanned<bool>>,
    min_interval_secs: Option<Spanned<u32>>,
    exclude: Option<Spanned<Vec<String>>>,
    also_types: Option<Spanned<Vec<String>>>,
    linger_secs: Option<Spanned<u32>>,
}

/// Reads `file`, or where none is named the system's own, which may be absent.
///
/// # Errors
/// [`ConfigError`].
pub fn load(roots: &Roots, file: Option<&Path>) -> Result<Config, ConfigError> {
    let path = file.map_or_else(|| roots.etc.join("trimtab/agent.toml"), Path::to_owned);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&path, &text),
        Err(e) if e.kind() == io::ErrorKind::NotFound && file.is_none() => Ok(Config::default()),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let mut reader = Reader { path, text, lines: BTreeMap::new() };
    let file: File = toml::from_str(text).map_err(|e| reader.refused(&e))?;
    let base = Config::default();
    let table = file.trim;
    let secs = |n: u32| Ok(Duration::from_secs(n.into()));
    let trim = Trim {
        pace: reader.take("trim.pace", table.pace, base.trim.pace, Ok)?,
        fastest: reader.take("trim.fastest", table.fastest, base.trim.fastest, Ok)?,
        host_may_trim: reader.take("trim.host_may_trim", table.host_may_trim, base.trim.host_may_trim, Ok)?,
        host_may_probe: reader.take(
            "trim.host_may_probe",
            table.host_may_probe,
            base.trim.host_may_probe,
            Ok,
        )?,
        min_interval: reader.take(
            "trim.min_interval_secs",
            table.min_interval_secs,
            base.trim.min_interval,
            secs,
        )?,
        exclude: reader.take("trim.exclude", table.exclude, base.trim.exclude, patterns)?,
        also_types: reader.take("trim.also_types", table.also_types, base.trim.also_types, types)?,
        linger: reader.take("trim.linger_secs", table.linger_secs, base.trim.linger, |n| {
            within(n, 0, MAX_LINGER_SECS).and_then(secs)
        })?,
    };
    let config = Config {
        listen: reader.take("listen", file.listen, base.listen, |text| text.parse())?,
        allow_cids: reader.take("allow_cids", file.allow_cids, base.allow_cids, Ok)?,
        max_connections: reader.take("max_connections", file.max_connections, base.max_connections, |n| {
            within(n, 1, MOST_CONNECTIONS)
        })?,
        idle_exit: reader.take("idle_exit_secs", file.idle_exit_secs, None, |n| {
            within(n, 1, u32::MAX).and_then(secs).map(Some)
        })?,
        trim,
        file: Some(path.to_owned()),
        lines: BTreeMap::new(),
    };
    Ok(Config { lines: reader.lines, ..config })
}

fn within(number: u32, least: u32, most: u32) -> Result<u32, String> {
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("{number} is not from {least} to {most}"))
    }
}

fn types(texts: Vec<String>) -> Result<Vec<String>, String> {
    if texts.len() > MOST_TYPES {
        return Err(format!("{} types, at most {MOST_TYPES}", texts.len()));
    }
    let is_none = |text: &&String| {
        !(1..=MOST_TYPE_BYTES).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic())
    };
    match texts.iter().find(is_none) {
        Some(text) => Err(format!("{text:?} is no filesystem type")),
        None => Ok(texts),
    }
}

fn patterns(texts: Vec<String>) -> Result<Vec<glob::Pattern>, String> {
    texts
        .into_iter()
        .map(|text| {
            if !text.starts_with(['/', '*']) {
                return Err(format!("{text:?} matches no mount point: begin it with / or *"));
            }
            glob::Pattern::new(&text).map_err(|e| format!("{text:?}: {}", e.msg))
        })
        .collect()
}

/// Takes values out of the file and remembers where each stood.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    lines: BTreeMap<&'static str, usize>,
}

impl Reader<'_> {
    fn take<T, U>(
        &mut self,
        key: &'static str,
        found: Option<Spanned<T>>,
        default: U,
        read: impl FnOnce(T) -> Result<U, String>,
    ) -> Result<U, ConfigError> {
        let Some(found) = found else { return Ok(default) };
        let line = self.line(found.span());
        self.lines.insert(key, line);
        read(found.into_inner()).map_err(|what| self.mistake(line, &format!("{key}: {what}")))
    }

    /// What the TOML reader did not take: a syntax error, an unknown key, a value of the wrong type.
    fn refused(&self, error: &toml::de::Error) -> ConfigError {
        let line = error.span().map_or(1, |span| self.line(span));
        // The message of a wrong type does not name the key; it stands before the `=` of that line or of one above.
        let upto = self.text.lines().take(line).collect::<Vec<_>>();
        let key = upto.iter().rev().find_map(|line| Some(line.split_once('=')?.0.trim())).unwrap_or_default();
        let message = error.message().trim();
        let what = if key.is_empty() || message.contains(key) {
            message.to_owned()
        } else {
            format!("{key}: {message}")
        };
        self.mistake(line, &what)
    }

    fn line(&self, span: Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        before.matches('\n').count().saturating_add(1)
    }

    fn mistake(&self, line: usize, what: &str) -> ConfigError {
        ConfigError::Mistake { path: self.path.to_owned(), line, what: what.to_owned() }
    }
}

/// One key as it is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// "trim.pace".
    pub key: &'static str,
    /// In TOML's words; `None`: not set, and nothing stands for it.
    pub value: Option<String>,
    /// The line of the file that says so; `None`: the default.
    pub line: Option<usize>,
}

impl Config {
    /// What the rules of selection need of it.
    pub fn policy(&self) -> select::Policy {
        select::Policy { also_types: self.trim.also_types.clone(), exclude: self.trim.exclude.clone() }
    }

    /// Every key there is, with what is in force and where it came from.
    pub fn settings(&self) -> Vec<Setting> {
        let Trim { pace, fastest, host_may_trim, host_may_probe, min_interval, exclude, also_types, linger } =
            &self.trim;
        // A JSON string, number or array of them is TOML too.
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let texts = |list: Vec<&str>| serde_json::Value::from(list).to_string();
        let values = [
            ("listen", Some(text(&self.listen.to_string()))),
            ("allow_cids", Some(serde_json::Value::from(self.allow_cids.clone()).to_string())),
            ("max_connections", Some(self.max_connections.to_string())),
            ("idle_exit_secs", self.idle_exit.map(|time| time.as_secs().to_string())),
            ("trim.pace", Some(text(&pace.to_string()))),
            ("trim.fastest", Some(text(&fastest.to_string()))),
            ("trim.host_may_trim", Some(host_may_trim.to_string())),
            ("trim.host_may_probe", Some(host_may_probe.to_string())),
            ("trim.min_interval_secs", Some(min_interval.as_secs().to_string())),
            ("trim.exclude", Some(texts(exclude.iter().map(glob::Pattern::as_str).collect()))),
            ("trim.also_types", Some(texts(also_types.iter().map(String::as_str).collect()))),
            ("trim.linger_secs", Some(linger.as_secs().to_string())),
        ];
        let setting = |(key, value)| Setting { key, value, line: self.lines.get(key).copied() };
        values.into_iter().map(setting).collect()
    }
}

#[cfg(test)]
mod tests;
