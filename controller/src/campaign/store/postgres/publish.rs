//! What hosts publish: written by the function of `migrations/0001-publish.sql`, read by operators.

use std::collections::BTreeMap;

use sqlx::{FromRow, PgConnection};

use super::{
    fault::Fault,
    fit,
    words::{parsed, time},
};
use crate::campaign::{
    seen::{Out, SeenVm},
    store::{
        Claimant,
        fleet::{Has, News, PublishedHost, PublishedVm},
    },
};

pub(super) async fn publish(db: &mut PgConnection, by: &Claimant, news: &News) -> Result<Option<i64>, Fault> {
    let names: Vec<&str> = news.changed.iter().map(|vm| vm.name.as_str()).collect();
    let uuids: Vec<&str> = news.changed.iter().map(|vm| vm.uuid.as_deref().unwrap_or_default()).collect();
    let are_on: Vec<bool> = news.changed.iter().map(|vm| vm.is_on).collect();
    let docs = news.changed.iter().map(|vm| vm.seen.as_ref().map(fit::document).transpose());
    let docs: Vec<Option<String>> = docs.collect::<Result<_, _>>()?;
    let revision = sqlx::query_scalar("SELECT publish($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(&by.host)
        .bind(news.since)
        .bind(news.about.as_ref().map(fit::document).transpose()?)
        .bind(names)
        .bind(uuids)
        .bind(are_on)
        .bind(docs)
        .bind(&news.gone)
        .fetch_one(db)
        .await?;
    Ok(revision)
}

pub(super) async fn unheard(db: &mut PgConnection) -> Result<Vec<String>, Fault> {
    let hosts = sqlx::query_scalar(
        "SELECT r.host FROM host_role r WHERE NOT EXISTS (SELECT FROM published_host p WHERE p.host = r.host) \
         ORDER BY r.host",
    );
    Ok(hosts.fetch_all(db).await?)
}

#[derive(FromRow)]
struct VmLine {
    host: String,
    name: String,
    uuid: String,
    at: i64,
    since: i64,
    seen: Option<String>,
    has: bool,
    is_on: bool,
    other: Option<String>,
}

pub(super) async fn published(db: &mut PgConnection, now: i64) -> Result<Vec<PublishedHost>, Fault> {
    let hosts: Vec<(String, String, i64, bool)> =
        sqlx::query_as("SELECT host, about, at, is_silent(host, $1) FROM published_host ORDER BY host")
            .bind(now)
            .fetch_all(&mut *db)
            .await?;
    let lines: Vec<VmLine> = sqlx::query_as(
        "SELECT p.host, p.name, p.uuid, p.at, p.since, p.seen, p.has, p.is_on, o.host AS other FROM published_vm p \
         LEFT JOIN published_vm o ON o.uuid = p.uuid AND o.has AND o.uuid <> '' AND NOT p.has \
         ORDER BY p.host, p.name",
    )
    .fetch_all(db)
    .await?;
    let mut vms: BTreeMap<String, Vec<PublishedVm>> = BTreeMap::new();
    for line in lines {
        let has = match (line.has, line.other.clone()) {
            (true, _) => Has::Yes,
            (false, other) if line.is_on => Has::Claims(other),
            (false, _) => Has::Off,
        };
        let vm = PublishedVm { seen: seen(&line)?, at: time(line.at)?, since: time(line.since)?, has };
        vms.entry(line.host).or_default().push(vm);
    }
    let hosts = hosts.into_iter().map(|(host, about, at, is_silent)| {
        Ok(PublishedHost {
            vms: vms.remove(&host).unwrap_or_default(),
            about: parsed(&about)?,
            at: time(at)?,
            is_silent,
            host,
        })
    });
    hosts.collect()
}

/// How it was seen last, on or off as it is since. Which VM that is, its row says: a host may have published any document
/// with it.
fn seen(line: &VmLine) -> Result<SeenVm, Fault> {
    let uuid = (!line.uuid.is_empty()).then(|| line.uuid.clone());
    let unseen = |labels| SeenVm::not_looked_at(line.name.clone(), uuid.clone(), labels, line.is_on);
    let Some(seen) = line.seen.as_deref().map(parsed::<SeenVm>).transpose()? else {
        return Ok(unseen(Vec::new()));
    };
    if seen.is_on != line.is_on {
        return Ok(SeenVm { disks: seen.disks, ..unseen(seen.labels) });
    }
    let out = seen.out.map(|out| Out { paste: paste(&line.name, out.paste.as_deref()), ..out });
    Ok(SeenVm { name: line.name.clone(), uuid, out, ..seen })
}

/// A host's word is pasted by nobody: it stands for a command of ours, on a VM that it has.
fn paste(name: &str, told: Option<&str>) -> Option<String> {
    let told = told?;
    let name = shlex::try_quote(name).ok().filter(|name| !name.contains(char::is_control))?;
    let doctor = format!("trimtab doctor {name}");
    Some(if told.ends_with(" --fix") { format!("{doctor} --fix") } else { doctor })
}
