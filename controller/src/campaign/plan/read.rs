//! TOML → a plan. What a person has edited into nonsense is named with file, line and key. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
use toml::Spanned;

use super::{Plan, PlanDatastore, PlanDisk, PlanHost, PlanVm, SCHEMA};
use crate::{
    campaign::{
        limits::Limits,
        window::{DEFAULT_WEEKS, MOST_WEEKS, Window},
    },
    model::trouble::{Kind, Trouble},
    toml_text::TomlText,
};

/// The longest trim, in seconds: a week, as the wire has it.
const MOST_DEADLINE_SECS: u64 = 604_800;

/// A VM that failed so often is not mended by another attempt.
const MOST_RETRIES: u32 = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanTable {
    /// Read before by itself; named here, since nothing else may stand in the file.
    #[serde(rename = "schema")]
    _schema: IgnoredAny,
    name: Spanned<String>,
    /// Of a plan of one host.
    host: Option<Spanned<String>>,
    surveyed: Timestamp,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    windows: WindowsTable,
    /// Of a plan of a fleet.
    #[serde(default)]
    hosts: Vec<HostTable>,
    #[serde(default)]
    datastore: Vec<DatastoreTable>,
    #[serde(default)]
    vm: Vec<VmTable>,
    #[serde(default, rename = "left_out")]
    _left_out: Vec<IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WindowsTable {
    #[serde(default)]
    weekly: Vec<Window>,
    weeks: Option<Spanned<u16>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DatastoreTable {
    name: Spanned<String>,
    path: String,
    size_bytes: u64,
    free_bytes: u64,
    #[serde(default)]
    expected_bytes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostTable {
    id: Spanned<String>,
    name: String,
    published: Timestamp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VmTable {
    name: Spanned<String>,
    host: Option<Spanned<String>>,
    uuid: Option<String>,
    expected_bytes: u64,
    at_most_bytes: Option<u64>,
    #[serde(default)]
    first: bool,
    disks: Spanned<Vec<DiskTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskTable {
    image: String,
    inode: u64,
    datastore: Option<Spanned<String>>,
}

/// The same file once more, for the places of what [`Limits`] keeps without.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Places {
    limits: LimitPlaces,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LimitPlaces {
    gates: Vec<Spanned<String>>,
    datastores: BTreeMap<Spanned<String>, IgnoredAny>,
    deadline_secs: Option<Spanned<u64>>,
    retries: Option<Spanned<u32>>,
}

/// Reads a plan. `gates` are those that trimtab.toml defines on each host of it.
///
/// # Errors
/// `config`, with file, line and key.
pub fn read(path: &Path, text: &str, gates: &BTreeSet<&str>) -> Result<Plan, Trouble> {
    let file = TomlText { path, text };
    check_schema(file)?;
    let table: PlanTable = file.parse()?;
    if table.name.get_ref().trim().is_empty() || table.name.get_ref().chars().any(char::is_control) {
        return Err(file.error(&table.name, "name", "is empty or has control characters"));
    }
    let known = datastores(file, &table.datastore)?;
    check_limits(file, gates, &known)?;
    let window_weeks = weeks(file, &table.windows)?;
    let is_fleet = table.host.is_none();
    let hosts = hosts(file, table.host.as_ref(), table.hosts, table.surveyed)?;
    let mut vms: Vec<PlanVm> = Vec::new();
    for one in table.vm {
        let host = host(file, &one, &hosts, is_fleet)?;
        let vm = vm(file, one, host, &known, &vms)?;
        vms.push(vm);
    }
    if vms.is_empty() {
        return Err(Trouble::new(Kind::Config, format!("{}: names no VM: nothing to do", path.display()))
            .hint("the plan's [[left_out]] say why each VM is not in it"));
    }
    Ok(Plan {
        name: table.name.into_inner(),
        hosts,
        is_fleet,
        surveyed: table.surveyed,
        limits: table.limits,
        windows: table.windows.weekly,
        window_weeks,
        datastores: table
            .datastore
            .into_iter()
            .map(|one| PlanDatastore {
                name: one.name.into_inner(),
                path: one.path,
                size_bytes: one.size_bytes,
                free_bytes: one.free_bytes,
                expected_bytes: one.expected_bytes,
            })
            .collect(),
        vms,
        left_out: Vec::new(),
    })
}

/// A plan of another version may have other keys: it is told by its first word alone.
fn check_schema(file: TomlText<'_>) -> Result<(), Trouble> {
    #[derive(Deserialize)]
    struct Word {
        schema: Option<Spanned<String>>,
    }
    let word: Word = file.parse()?;
    match &word.schema {
        Some(schema) if schema.get_ref() == SCHEMA => Ok(()),
        Some(schema) => {
            let what = format_args!("{:?} is not {SCHEMA:?}, which this trimtab reads", schema.get_ref())
                .to_string();
            Err(file.error(schema, "schema", what).hint("plan anew with this trimtab"))
        }
        None => {
            Err(Trouble::new(Kind::Config, format!("{}: is no plan: it has no schema", file.path.display()))
                .hint("trimtab campaign plan -o plan.toml writes one"))
        }
    }
}

/// The plan's hosts: the one, or each of a fleet's.
fn hosts(
    file: TomlText<'_>,
    one: Option<&Spanned<String>>,
    tables: Vec<HostTable>,
    surveyed: Timestamp,
) -> Result<Vec<PlanHost>, Trouble> {
    if let Some(id) = one {
        return match tables.is_empty() {
            true => Ok(vec![PlanHost { id: id.get_ref().clone(), name: String::new(), published: surveyed }]),
            false => Err(file.error(id, "host", "a plan is of one host, or it has [[hosts]]")),
        };
    }
    let mut hosts: Vec<PlanHost> = Vec::new();
    for table in tables {
        if hosts.iter().any(|host| host.id == *table.id.get_ref()) {
            return Err(file.error(&table.id, "id", "this host stands here a second time"));
        }
        hosts.push(PlanHost { id: table.id.into_inner(), name: table.name, published: table.published });
    }
    match hosts.is_empty() {
        true => Err(Trouble::new(
            Kind::Config,
            format!("{}: says of no host: it has neither host nor [[hosts]]", file.path.display()),
        )
        .hint("trimtab campaign plan -o plan.toml writes a whole one")),
        false => Ok(hosts),
    }
}

/// Which of the plan's hosts a VM is on.
fn host(file: TomlText<'_>, vm: &VmTable, hosts: &[PlanHost], is_fleet: bool) -> Result<String, Trouble> {
    match (&vm.host, hosts) {
        (Some(id), _) if hosts.iter().any(|host| host.id == *id.get_ref()) => Ok(id.get_ref().clone()),
        (Some(id), _) => Err(file.error(id, "host", "this plan has no host of that machine id")),
        (None, [one]) if !is_fleet => Ok(one.id.clone()),
        (None, _) => Err(file.error(&vm.name, "host", format_args!("{:?} has none", vm.name.get_ref()))),
    }
}

fn datastores<'t>(file: TomlText<'_>, tables: &'t [DatastoreTable]) -> Result<BTreeSet<&'t str>, Trouble> {
    let mut known = BTreeSet::new();
    for table in tables {
        if !known.insert(table.name.get_ref().as_str()) {
            let what = format!("{:?} stands here a second time", table.name.get_ref());
            return Err(file.error(&table.name, "name", what));
        }
    }
    Ok(known)
}

fn check_limits(
    file: TomlText<'_>,
    gates: &BTreeSet<&str>,
    datastores: &BTreeSet<&str>,
) -> Result<(), Trouble> {
    let places: Places = file.parse()?;
    let limits = places.limits;
    if let Some(unknown) = limits.gates.iter().find(|gate| !gates.contains(gate.get_ref().as_str())) {
        let what =
            format!("no [[gate]] of trimtab.toml on each of the hosts is called {:?}", unknown.get_ref());
        return Err(file.error(unknown, "gates", what).hint(match gates.is_empty() {
            true => "it defines none".to_owned(),
            false => format!("it defines {}", gates.iter().copied().collect::<Vec<_>>().join(", ")),
        }));
    }
    let unknown = limits.datastores.keys().find(|name| !datastores.contains(name.get_ref().as_str()));
    if let Some(unknown) = unknown {
        let what = format!("no [[datastore]] of this plan is called {:?}", unknown.get_ref());
        return Err(file.error(unknown, "limits.datastores", what));
    }
    if let Some(secs) = &limits.deadline_secs
        && !(1..=MOST_DEADLINE_SECS).contains(secs.get_ref())
    {
        let what = format_args!("{} is not from 1 to {MOST_DEADLINE_SECS}", secs.get_ref()).to_string();
        return Err(file.error(secs, "deadline_secs", what));
    }
    if let Some(retries) = &limits.retries
        && *retries.get_ref() > MOST_RETRIES
    {
        let what = format_args!("{} is more than {MOST_RETRIES}", retries.get_ref()).to_string();
        return Err(file.error(retries, "retries", what));
    }
    Ok(())
}

fn weeks(file: TomlText<'_>, windows: &WindowsTable) -> Result<u16, Trouble> {
    match &windows.weeks {
        Some(weeks) if !(1..=MOST_WEEKS).contains(weeks.get_ref()) => {
            let what = format_args!("{} is not from 1 to {MOST_WEEKS}", weeks.get_ref()).to_string();
            Err(file.error(weeks, "weeks", what))
        }
        Some(weeks) => Ok(*weeks.get_ref()),
        None => Ok(DEFAULT_WEEKS),
    }
}

fn vm(
    file: TomlText<'_>,
    table: VmTable,
    host: String,
    datastores: &BTreeSet<&str>,
    before: &[PlanVm],
) -> Result<PlanVm, Trouble> {
    let name = table.name.get_ref().clone();
    let line = file.line_at(table.name.span().start);
    if let Some(first) = before.iter().find(|vm| vm.name == name && vm.host == host) {
        let what = format!("{name:?} stands here a second time, after line {}", first.line);
        return Err(file.error(&table.name, "name", what));
    }
    if table.disks.get_ref().is_empty() {
        return Err(file.error(&table.disks, "disks", format_args!("{name:?} has none")));
    }
    let mut disks = Vec::new();
    for disk in table.disks.into_inner() {
        if let Some(unknown) =
            disk.datastore.as_ref().filter(|of| !datastores.contains(of.get_ref().as_str()))
        {
            let what = format!("no [[datastore]] of this plan is called {:?}", unknown.get_ref());
            return Err(file.error(unknown, "datastore", what));
        }
        let datastore = disk.datastore.map(Spanned::into_inner);
        disks.push(PlanDisk { image: disk.image, inode: disk.inode, datastore });
    }
    Ok(PlanVm {
        name,
        host,
        uuid: table.uuid,
        expected_bytes: table.expected_bytes,
        at_most_bytes: table.at_most_bytes,
        first: table.first,
        notes: Vec::new(),
        disks,
        line,
    })
}

#[cfg(test)]
mod tests;
