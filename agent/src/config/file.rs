//! One file → the keys that it sets, each checked, with the line it stands in.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::Deserialize;
use toml::Spanned;
use trimtab_proto::{MAX_LINGER_SECS, words::Pace};

use super::{
    Config, ConfigError, Origin,
    check::{patterns, types, within},
    files::Source,
};

const MOST_CONNECTIONS: u32 = 64;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<Spanned<String>>,
    allow_cids: Option<Spanned<Vec<u32>>>,
    peer_port: Option<Spanned<String>>,
    token: Option<Spanned<String>>,
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
    only: Option<Spanned<Vec<String>>>,
    exclude: Option<Spanned<Vec<String>>>,
    types: Option<Spanned<Vec<String>>>,
    also_types: Option<Spanned<Vec<String>>>,
    linger_secs: Option<Spanned<u32>>,
}

/// Sets in `config` what this file says. A list takes the place of the one before it.
pub(super) fn apply(source: &Source, config: &mut Config) -> Result<(), ConfigError> {
    let reader = Reader { path: &source.path, text: &source.text };
    let file: File = toml::from_str(&source.text).map_err(|error| reader.refused(&error))?;
    let Config { trim, origins, .. } = config;
    let mut put = Put { reader, origins };
    let secs = |n: u32| Ok(Duration::from_secs(n.into()));

    put.set("listen", file.listen, &mut config.listen, parsed)?;
    put.set("allow_cids", file.allow_cids, &mut config.allow_cids, Ok)?;
    put.set("peer_port", file.peer_port, &mut config.peer_port, parsed)?;
    put.set("token", file.token, &mut config.token, parsed)?;
    put.set("max_connections", file.max_connections, &mut config.max_connections, |n| {
        within(n, 1, MOST_CONNECTIONS)
    })?;
    put.set("idle_exit_secs", file.idle_exit_secs, &mut config.idle_exit, |n| {
        Ok((n != 0).then(|| Duration::from_secs(n.into())))
    })?;

    let table = file.trim;
    put.set("trim.pace", table.pace, &mut trim.pace, Ok)?;
    put.set("trim.fastest", table.fastest, &mut trim.fastest, Ok)?;
    put.set("trim.host_may_trim", table.host_may_trim, &mut trim.host_may_trim, Ok)?;
    put.set("trim.host_may_probe", table.host_may_probe, &mut trim.host_may_probe, Ok)?;
    put.set("trim.min_interval_secs", table.min_interval_secs, &mut trim.min_interval, secs)?;
    put.set("trim.only", table.only, &mut trim.only, patterns)?;
    put.set("trim.exclude", table.exclude, &mut trim.exclude, patterns)?;
    put.set("trim.types", table.types, &mut trim.types, types)?;
    put.set("trim.also_types", table.also_types, &mut trim.also_types, types)?;
    put.set("trim.linger_secs", table.linger_secs, &mut trim.linger, |n| {
        within(n, 0, MAX_LINGER_SECS).and_then(secs)
    })
}

fn parsed<T: FromStr<Err = String>>(text: String) -> Result<T, String> {
    text.parse()
}

/// Moves values into the configuration and remembers where each stood.
struct Put<'a> {
    reader: Reader<'a>,
    origins: &'a mut BTreeMap<&'static str, Origin>,
}

impl Put<'_> {
    fn set<T, U>(
        &mut self,
        key: &'static str,
        found: Option<Spanned<T>>,
        target: &mut U,
        read: impl FnOnce(T) -> Result<U, String>,
    ) -> Result<(), ConfigError> {
        let Some(found) = found else { return Ok(()) };
        let line = self.reader.line(found.span());
        *target =
            read(found.into_inner()).map_err(|what| self.reader.mistake(line, &format!("{key}: {what}")))?;
        self.origins.insert(key, Origin { file: PathBuf::from(self.reader.path), line });
        Ok(())
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    /// What the TOML reader did not take: a syntax error, an unknown key, a value of the wrong type.
    fn refused(&self, error: &toml::de::Error) -> ConfigError {
        let line = error.span().map_or(1, |span| self.line(span));
        // The message of a wrong type does not name the key; it stands before the `=` of that line or of one above.
        let upto = self.text.lines().take(line).collect::<Vec<_>>();
        let key = upto.iter().rev().find_map(|line| Some(line.split_once('=')?.0.trim())).unwrap_or_default();
        let message =
            error.message().trim().replace("expected u32", "expected a number from 0 to 4294967295");
        let what =
            if key.is_empty() || message.contains(key) { message } else { format!("{key}: {message}") };
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
