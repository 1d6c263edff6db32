//! What is in force, key by key, in TOML's words, and which line of which file says so.

use std::path::PathBuf;

use serde_json::Value;

use super::{Config, Trim};

/// Where a value stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
}

/// One key as it is in force.
#[derive(Clone, PartialEq, Debug)]
pub struct Setting {
    /// "trim.pace".
    pub key: &'static str,
    /// A string, a number, a boolean or a list of them; what JSON writes for it is TOML too.
    pub value: Value,
    /// `None`: the default.
    pub origin: Option<Origin>,
}

impl Config {
    /// Every key there is, with what is in force and where it came from.
    pub fn settings(&self) -> Vec<Setting> {
        let Trim {
            pace,
            fastest,
            host_may_trim,
            host_may_probe,
            min_interval,
            only,
            exclude,
            types,
            also_types,
            linger,
        } = &self.trim;
        let patterns = |list: &[glob::Pattern]| Value::from_iter(list.iter().map(glob::Pattern::as_str));
        let idle_exit_secs = self.idle_exit.map_or(0, |time| time.as_secs());
        let values: [(&'static str, Value); 16] = [
            ("listen", self.listen.to_string().into()),
            ("allow_cids", self.allow_cids.clone().into()),
            ("peer_port", self.peer_port.to_string().into()),
            ("token", self.token.to_string().into()),
            ("max_connections", self.max_connections.into()),
            ("idle_exit_secs", idle_exit_secs.into()),
            ("trim.pace", pace.to_string().into()),
            ("trim.fastest", fastest.to_string().into()),
            ("trim.host_may_trim", (*host_may_trim).into()),
            ("trim.host_may_probe", (*host_may_probe).into()),
            ("trim.min_interval_secs", min_interval.as_secs().into()),
            ("trim.only", patterns(only)),
            ("trim.exclude", patterns(exclude)),
            ("trim.types", types.clone().into()),
            ("trim.also_types", also_types.clone().into()),
            ("trim.linger_secs", linger.as_secs().into()),
        ];
        let setting = |(key, value)| Setting { key, value, origin: self.origins.get(key).cloned() };
        values.into_iter().map(setting).collect()
    }
}
