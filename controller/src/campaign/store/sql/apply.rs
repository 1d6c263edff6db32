//! `apply`: a campaign with all of its rows, or nothing.

use std::collections::BTreeSet;

use super::{
    Connection,
    close::note,
    fault::Fault,
    words::{figure, json},
};
use crate::{
    campaign::{
        limits::Limits,
        run::{NewRun, VmKey},
        store::{NewCampaign, room::Scope},
    },
    model::trouble::{Kind, Trouble},
};

pub(super) async fn apply(db: &mut Connection, new: &NewCampaign, now: i64) -> Result<i64, Fault> {
    check(new)?;
    let campaign: i64 = sqlx::query_scalar(
        "INSERT INTO campaign (name, state, who, plan, limits, total, applied) \
         VALUES ($1, 'active', $2, $3, $4, $5, $6) RETURNING id",
    )
    .bind(&new.name)
    .bind(&new.who)
    .bind(&new.plan)
    .bind(json(&new.limits)?)
    .bind(i64::try_from(new.runs.len()).unwrap_or(i64::MAX))
    .bind(now)
    .fetch_one(&mut *db)
    .await?;
    for (opens, closes) in &new.windows {
        sqlx::query(r#"INSERT INTO "window" (campaign, opens, closes) VALUES ($1, $2, $3)"#)
            .bind(campaign)
            .bind(opens.as_microsecond())
            .bind(closes.as_microsecond())
            .execute(&mut *db)
            .await?;
    }
    for run in &new.runs {
        insert(db, campaign, run, now).await?;
    }
    caps(db, campaign, new).await?;
    let text = format!("{}: {} VMs", new.name, new.runs.len());
    note(db, now, (Some(campaign), None), "applied", &new.who, &text, None).await?;
    Ok(campaign)
}

/// What no plan can mean; the plan's own reader says so with the line.
fn check(new: &NewCampaign) -> Result<(), Fault> {
    let wrong =
        |text: String| Err(Fault::Told(Trouble::new(Kind::Usage, text).hint("mend the plan, or plan anew")));
    if new.runs.is_empty() {
        return wrong("a campaign without a VM: nothing to do".to_owned());
    }
    let (mut seen, mut uuids) = (BTreeSet::new(), BTreeSet::new());
    for VmKey { host, name, uuid } in new.runs.iter().map(|run| &run.vm) {
        if !seen.insert((host, name)) || !uuid.iter().all(|uuid| uuids.insert(uuid)) {
            return wrong(format!("VM {name} is in the plan twice"));
        }
    }
    let mut datastores = new.runs.iter().flat_map(|run| &run.datastores);
    if let Some(name) = datastores.find(|name| name.is_empty() || name.contains(char::is_control)) {
        return wrong(format!("{name:?} is no name of a datastore"));
    }
    if let Some((opens, _)) = new.windows.iter().find(|(opens, closes)| closes <= opens) {
        return wrong(format!("the window that opens at {opens} closes before"));
    }
    Ok(())
}

/// The row of a VM. By its uuid it is the same one, whatever it is called now and whichever host it has come to.
async fn vm(db: &mut Connection, key: &VmKey, now: i64) -> Result<i64, Fault> {
    let known: Option<i64> = sqlx::query_scalar(
        "UPDATE vm SET host = $1, name = $2, seen = $4 WHERE uuid = $3 AND uuid <> '' RETURNING id",
    )
    .bind(&key.host)
    .bind(&key.name)
    .bind(key.uuid.as_deref().unwrap_or_default())
    .bind(now)
    .fetch_optional(&mut *db)
    .await?;
    if let Some(known) = known {
        return Ok(known);
    }
    let new = sqlx::query_scalar(
        "INSERT INTO vm (host, name, uuid, seen) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (host, name, uuid) DO UPDATE SET seen = $4 RETURNING id",
    )
    .bind(&key.host)
    .bind(&key.name)
    .bind(key.uuid.as_deref().unwrap_or_default())
    .bind(now)
    .fetch_one(db)
    .await?;
    Ok(new)
}

async fn insert(db: &mut Connection, campaign: i64, new: &NewRun, now: i64) -> Result<(), Fault> {
    let vm = vm(db, &new.vm, now).await?;
    let datastores: BTreeSet<&str> = new.datastores.iter().map(String::as_str).collect();
    let place: Vec<&str> = datastores.iter().copied().collect();
    let run: i64 = sqlx::query_scalar(
        "INSERT INTO run (campaign, vm, host, place, position, expected, is_first, state) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'waiting') RETURNING id",
    )
    .bind(campaign)
    .bind(vm)
    .bind(&new.vm.host)
    .bind(place.join("\n"))
    .bind(i64::from(new.position))
    .bind(figure(new.expected_bytes))
    .bind(new.is_first)
    .fetch_one(&mut *db)
    .await?;
    for datastore in datastores {
        sqlx::query("INSERT INTO run_datastore (run, datastore) VALUES ($1, $2)")
            .bind(run)
            .bind(datastore)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Each cap that the campaign has, by what it is for.
async fn caps(db: &mut Connection, campaign: i64, new: &NewCampaign) -> Result<(), Fault> {
    let Limits { at_once, per_host, per_datastore, datastores, .. } = &new.limits;
    let mut caps = vec![(Scope::All, "", *at_once)];
    if let Some(per_host) = per_host {
        let hosts: BTreeSet<_> = new.runs.iter().map(|run| run.vm.host.as_str()).collect();
        caps.extend(hosts.into_iter().map(|host| (Scope::Host, host, *per_host)));
    }
    let names: BTreeSet<_> = new.runs.iter().flat_map(|run| &run.datastores).collect();
    for name in names {
        caps.push((Scope::Datastore, name, *datastores.get(name).unwrap_or(per_datastore)));
    }
    for (scope, name, at_once) in caps {
        sqlx::query("INSERT INTO cap (campaign, scope, name, at_once) VALUES ($1, $2, $3, $4)")
            .bind(campaign)
            .bind(scope.as_str())
            .bind(name)
            .bind(i64::from(at_once.get()))
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}
