//! What hosts publish: written by the function of `migrations/0001-publish.sql`, read by operators.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{FromRow, PgConnection};

use super::{
    fault::Fault,
    fit,
    sound::Row,
    words::{parsed, time},
};
use crate::campaign::store::{
    Claimant,
    fleet::{Has, News, PublishedHost, PublishedVm},
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
    let hosts = hosts.into_iter().map(|(host, about, at, is_silent)| {
        Ok(PublishedHost { about: parsed(&about)?, at: time(at)?, is_silent, host, vms: Vec::new() })
    });
    let mut hosts = hosts.collect::<Result<Vec<_>, Fault>>()?;
    let lines: Vec<VmLine> = sqlx::query_as(
        "SELECT p.host, p.name, p.uuid, p.at, p.since, p.seen, p.has, p.is_on, o.host AS other FROM published_vm p \
         LEFT JOIN published_vm o ON o.uuid = p.uuid AND o.has AND o.uuid <> '' AND NOT p.has \
         ORDER BY p.host, p.name",
    )
    .fetch_all(db)
    .await?;
    let mut vms: BTreeMap<String, Vec<VmLine>> = BTreeMap::new();
    for line in lines {
        vms.entry(line.host.clone()).or_default().push(line);
    }
    for host in &mut hosts {
        let lines = vms.remove(&host.host).unwrap_or_default();
        let datastores = host.about.datastores.iter().map(|store| store.name.as_str()).collect();
        host.vms = lines.iter().map(|line| line.vm(&datastores)).collect::<Result<_, _>>()?;
    }
    Ok(hosts)
}

impl VmLine {
    /// The VM, of a host that tells of these datastores.
    fn vm(&self, datastores: &BTreeSet<&str>) -> Result<PublishedVm, Fault> {
        let row = Row { name: &self.name, uuid: &self.uuid, is_on: self.is_on };
        let seen = match &self.seen {
            Some(seen) => row.seen(parsed(seen)?, datastores),
            None => row.unseen(Vec::new()),
        };
        let has = match (self.has, &self.other) {
            (true, _) => Has::Yes,
            (false, other) if self.is_on => Has::Claims(other.clone()),
            (false, _) => Has::Off,
        };
        Ok(PublishedVm { seen, at: time(self.at)?, since: time(self.since)?, has })
    }
}
