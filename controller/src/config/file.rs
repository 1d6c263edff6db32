//! What trimtab.toml may say: TOML → checked values. Every mistake is named with file, line and key.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use globset::{Glob, GlobMatcher};
use serde::Deserialize;
use toml::Spanned;

use super::{DatastoreNames, Gate, Labels};
use crate::{
    campaign::store::at::At,
    model::{token::TokenFile, trouble::Trouble},
    toml_text::{TomlText, is_label},
};

/// A gate's time, where nothing else is said.
const DEFAULT_TIMEOUT_SECS: u64 = 10;

/// An admission that waits longer for a gate would stall a campaign.
const MOST_TIMEOUT_SECS: u64 = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    inventory: Option<PathBuf>,
    connect: Option<String>,
    parallel: Option<u16>,
    token: Option<Spanned<String>>,
    store: Option<Spanned<String>>,
    metrics: Option<Spanned<PathBuf>>,
    database_vm: Option<String>,
    io_pressure_percent: Option<Spanned<u8>>,
    #[serde(default)]
    labels: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
    #[serde(default)]
    datastore: Vec<DatastoreTable>,
    #[serde(default)]
    gate: Vec<GateTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DatastoreTable {
    name: Spanned<String>,
    r#match: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GateTable {
    name: Spanned<String>,
    command: Spanned<Vec<String>>,
    timeout_secs: Option<Spanned<u64>>,
}

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) inventory: Option<PathBuf>,
    pub(super) connect: Option<String>,
    pub(super) parallel: Option<u16>,
    pub(super) token: Option<TokenFile>,
    pub(super) store: Option<At>,
    pub(super) metrics: Option<PathBuf>,
    pub(super) database_vm: Option<String>,
    pub(super) io_pressure_percent: Option<u8>,
    pub(super) labels: Labels,
    pub(super) datastores: DatastoreNames,
    pub(super) gates: Vec<Gate>,
}

impl File {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Trouble> {
        let text = TomlText { path, text };
        let tables: Tables = text.parse()?;
        Ok(Self {
            token: tables.token.map(|token| token_file(text, &token)).transpose()?,
            store: tables.store.map(|at| store(text, &at)).transpose()?,
            metrics: tables.metrics.map(|file| metrics(text, file)).transpose()?,
            io_pressure_percent: tables
                .io_pressure_percent
                .map(|percent| pressure(text, percent))
                .transpose()?,
            labels: labels(text, tables.labels)?,
            datastores: datastores(text, tables.datastore)?,
            gates: gates(text, tables.gate)?,
            database_vm: tables.database_vm,
            inventory: tables.inventory,
            connect: tables.connect,
            parallel: tables.parallel,
        })
    }
}

fn token_file(text: TomlText<'_>, token: &Spanned<String>) -> Result<TokenFile, Trouble> {
    token.get_ref().parse().map_err(|what| text.error(token, "token", what))
}

fn absolute(text: TomlText<'_>, key: &str, path: Spanned<PathBuf>) -> Result<PathBuf, Trouble> {
    match path.get_ref().is_absolute() {
        true => Ok(path.into_inner()),
        false => Err(text.error(&path, key, "not an absolute path")),
    }
}

/// A file, or a database; whoever works on this host may read trimtab.toml, and so no password stands in it.
fn store(text: TomlText<'_>, written: &Spanned<String>) -> Result<At, Trouble> {
    match At::read(written.get_ref().into()).map_err(|trouble| text.error(written, "store", trouble.text))? {
        At::File(path) if !path.is_absolute() => Err(text.error(written, "store", "not an absolute path")),
        At::Database(url) if url.has_password() => Err(text.error(
            written,
            "store",
            "a password does not belong here, where others may read it: name a file with passfile=",
        )),
        at => Ok(at),
    }
}

/// The collector reads files of that ending alone.
fn metrics(text: TomlText<'_>, file: Spanned<PathBuf>) -> Result<PathBuf, Trouble> {
    match file.get_ref().extension().is_some_and(|ending| ending == "prom") {
        true => absolute(text, "metrics", file),
        false => Err(text.error(&file, "metrics", "node_exporter reads only files whose names end in .prom")),
    }
}

fn pressure(text: TomlText<'_>, percent: Spanned<u8>) -> Result<u8, Trouble> {
    match percent.get_ref() {
        0..=100 => Ok(percent.into_inner()),
        more => Err(text.error(&percent, "io_pressure_percent", format_args!("{more} is more than 100"))),
    }
}

fn pattern(text: TomlText<'_>, key: &str, written: &Spanned<String>) -> Result<GlobMatcher, Trouble> {
    let glob = Glob::new(written.get_ref()).map_err(|error| {
        text.error(written, key, format_args!("{:?} is no pattern: {}", written.get_ref(), error.kind()))
    })?;
    Ok(glob.compile_matcher())
}

/// What can stand in a plan, a term of `--select` and a metric.
fn word(text: TomlText<'_>, key: &str, written: &Spanned<String>) -> Result<String, Trouble> {
    match is_label(written.get_ref()) {
        true => Ok(written.get_ref().clone()),
        false => {
            let what = format_args!("{:?} is empty, or has a space or control character", written.get_ref())
                .to_string();
            Err(text.error(written, key, what))
        }
    }
}

fn labels(
    text: TomlText<'_>,
    tables: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
) -> Result<Labels, Trouble> {
    let mut all = Vec::new();
    for (vms, labels) in tables {
        let labels = labels.iter().map(|label| word(text, "labels", label)).collect::<Result<_, _>>()?;
        all.push((pattern(text, "labels", &vms)?, labels));
    }
    Ok(Labels(all))
}

fn datastores(text: TomlText<'_>, tables: Vec<DatastoreTable>) -> Result<DatastoreNames, Trouble> {
    let names = tables
        .iter()
        .map(|table| Ok((pattern(text, "match", &table.r#match)?, word(text, "name", &table.name)?)));
    Ok(DatastoreNames(names.collect::<Result<_, Trouble>>()?))
}

fn gates(text: TomlText<'_>, tables: Vec<GateTable>) -> Result<Vec<Gate>, Trouble> {
    let mut names = BTreeSet::new();
    let mut gates = Vec::new();
    for table in tables {
        let name = word(text, "name", &table.name)?;
        if !names.insert(name.clone()) {
            return Err(text.error(&table.name, "name", format_args!("the gate {name:?} stands here twice")));
        }
        let command = table.command.get_ref().clone();
        if !command.first().is_some_and(|program| Path::new(program).is_absolute()) {
            let what = "a program by its absolute path, then its arguments, each a text of its own: \
                        [\"/usr/local/sbin/storage-is-healthy\", \"--quick\"]";
            return Err(text.error(&table.command, "command", what));
        }
        let secs = table.timeout_secs.as_ref().map_or(DEFAULT_TIMEOUT_SECS, |secs| *secs.get_ref());
        if let Some(written) = &table.timeout_secs
            && !(1..=MOST_TIMEOUT_SECS).contains(&secs)
        {
            let what = format_args!("{secs} is not from 1 to {MOST_TIMEOUT_SECS}").to_string();
            return Err(text.error(written, "timeout_secs", what));
        }
        gates.push(Gate { name, command, timeout: Duration::from_secs(secs) });
    }
    Ok(gates)
}
