//! What is told of campaigns: sums are counted anew each time, from the runs themselves.

use std::collections::BTreeMap;

use sqlx::FromRow;

use super::{
    Connection,
    fault::Fault,
    look::{self, begun, campaign},
    words::{count, datastores, micros, noun, parsed, time, unsigned},
};
use crate::campaign::{
    account::{DatastoreSum, Event, HostRow, RunRow, Status, Summary, VmRow},
    ramp,
    run::{Class, RunState, VmKey, Wait},
    store::{
        hours::Hours,
        room::{Cap, Room, Scope},
    },
};

fn key(host: String, name: String, uuid: String) -> VmKey {
    VmKey { host, name, uuid: (!uuid.is_empty()).then_some(uuid) }
}

/// All campaigns, newest first.
pub(super) async fn list(db: &mut Connection) -> Result<Vec<Summary>, Fault> {
    let ids: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM campaign ORDER BY id DESC").fetch_all(&mut *db).await?;
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        all.push(summary(db, id).await?);
    }
    Ok(all)
}

#[derive(FromRow)]
struct CampaignRow {
    name: String,
    state: String,
    why: Option<String>,
    applied: i64,
    ended: Option<i64>,
    total: i64,
}

#[derive(FromRow)]
struct Sum {
    state: String,
    class: Option<String>,
    runs: i64,
    freed: i64,
    held: i64,
    expected: i64,
}

/// One campaign in a few numbers.
pub(super) async fn summary(db: &mut Connection, id: i64) -> Result<Summary, Fault> {
    let row: Option<CampaignRow> =
        sqlx::query_as("SELECT name, state, why, applied, ended, total FROM campaign WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *db)
            .await?;
    let row = row.ok_or_else(|| Fault::no_campaign(id))?;
    let mut summary = Summary {
        id,
        name: row.name,
        state: noun(row.state)?,
        why: row.why,
        applied: time(row.applied)?,
        ended: row.ended.map(time).transpose()?,
        total: count(row.total),
        waiting: 0,
        running: 0,
        done: BTreeMap::new(),
        freed_bytes: 0,
        held_bytes: 0,
        expected_bytes: 0,
    };
    let sums: Vec<Sum> = sqlx::query_as(
        "SELECT state, class, count(*) AS runs, CAST(sum(freed) AS BIGINT) AS freed, \
         CAST(sum(held) AS BIGINT) AS held, CAST(sum(expected) AS BIGINT) AS expected \
         FROM run WHERE campaign = $1 GROUP BY state, class",
    )
    .bind(id)
    .fetch_all(db)
    .await?;
    for sum in sums {
        match (noun::<RunState>(sum.state)?, sum.class) {
            (RunState::Waiting, _) => summary.waiting = summary.waiting.saturating_add(count(sum.runs)),
            (RunState::Running, _) => summary.running = summary.running.saturating_add(count(sum.runs)),
            (RunState::Done, Some(class)) => {
                summary.done.insert(noun::<Class>(class)?, count(sum.runs));
            }
            (RunState::Done, None) => {
                return Err(Fault::damaged("a run that is done has no class".to_owned()));
            }
        }
        summary.freed_bytes = summary.freed_bytes.saturating_add(sum.freed);
        summary.held_bytes = summary.held_bytes.saturating_add(unsigned(sum.held));
        summary.expected_bytes = summary.expected_bytes.saturating_add(unsigned(sum.expected));
    }
    Ok(summary)
}

/// One campaign now.
pub(super) async fn status(db: &mut Connection, id: i64, now: i64) -> Result<Status, Fault> {
    let summary = summary(db, id).await?;
    let of = campaign(db, id).await?;
    let room = look::room(db, id).await?;
    let hours = look::hours(db, id, now).await?;
    let hosts = hosts(db, id, now).await?;
    let (waiting, next) = waiting(db, &of, &room, hours, &hosts, now).await?;
    let window: Option<(i64, i64)> = sqlx::query_as(
        r#"SELECT opens, closes FROM "window" WHERE campaign = $1 AND closes > $2 ORDER BY closes LIMIT 1"#,
    )
    .bind(id)
    .bind(now)
    .fetch_optional(&mut *db)
    .await?;
    Ok(Status {
        now: time(now)?,
        summary,
        running: rows(db, id, Some("running")).await?,
        waiting,
        next: next.map(time).transpose()?,
        window: window.map(|(opens, closes)| Ok::<_, Fault>((time(opens)?, time(closes)?))).transpose()?,
        datastores: datastore_sums(db, id, &room).await?,
        hosts,
        names: super::names::names(db).await?,
        limits: of.limits,
    })
}

/// What waits, by what for, and when the next may be tried where none may now.
async fn waiting(
    db: &mut Connection,
    of: &look::Campaign,
    room: &Room,
    hours: Hours,
    hosts: &[HostRow],
    now: i64,
) -> Result<(BTreeMap<Wait, u32>, Option<i64>), Fault> {
    let due: Vec<(String, bool, i64)> = sqlx::query_as(
        "SELECT host, admitted, count(*) FROM run \
         WHERE campaign = $1 AND state = 'waiting' AND not_before <= $2 GROUP BY host, admitted",
    )
    .bind(of.id)
    .bind(now)
    .fetch_all(&mut *db)
    .await?;
    let not_due: Vec<(String, Option<String>, i64, i64)> = sqlx::query_as(
        "SELECT host, wait, count(*), min(not_before) FROM run \
         WHERE campaign = $1 AND state = 'waiting' AND not_before > $2 GROUP BY host, wait",
    )
    .bind(of.id)
    .bind(now)
    .fetch_all(&mut *db)
    .await?;
    let bar = look::bar(db, of, room).await?;
    let stage = begun(db, of).await?.map_or(u32::MAX, |begun| ramp::room(&of.limits.ramp, of.total, begun));
    let mut waits = BTreeMap::new();
    let mut add = |wait: Wait, runs: i64| {
        let sum: &mut u32 = waits.entry(wait).or_default();
        *sum = sum.saturating_add(count(runs));
    };
    let has_worker = |host: &str| hosts.iter().any(|row| row.host == host && row.has_worker);
    for (host, admitted, runs) in &due {
        add(
            match (bar, hours) {
                (Some(Wait::Campaign), _) => Wait::Campaign,
                _ if !has_worker(host) => Wait::Worker,
                (Some(bar), _) => bar,
                (None, Hours::Closed(_) | Hours::Past) => Wait::Window,
                (None, Hours::Open(_)) if stage == 0 && !*admitted => Wait::Ramp,
                (None, Hours::Open(_)) => Wait::Room,
            },
            *runs,
        );
    }
    let mut soonest: Option<i64> = None;
    for (host, word, runs, first) in not_due {
        let own = word.map(noun).transpose()?.unwrap_or(Wait::Room);
        add(
            match bar {
                Some(Wait::Campaign) => Wait::Campaign,
                _ if !has_worker(&host) => Wait::Worker,
                _ => own,
            },
            runs,
        );
        soonest = Some(soonest.map_or(first, |other| other.min(first)));
    }
    let next = match (bar, hours) {
        (None, Hours::Closed(opens)) => {
            Some(soonest.filter(|_| due.is_empty()).map_or(opens, |at| at.max(opens)))
        }
        (None, Hours::Open(_)) if due.is_empty() => soonest,
        _ => None,
    };
    Ok((waits, next))
}

async fn datastore_sums(db: &mut Connection, id: i64, room: &Room) -> Result<Vec<DatastoreSum>, Fault> {
    let sums: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT d.datastore, count(*), count(r.class), CAST(sum(d.freed) AS BIGINT) \
         FROM run r JOIN run_datastore d ON d.run = r.id WHERE r.campaign = $1 \
         GROUP BY d.datastore ORDER BY d.datastore",
    )
    .bind(id)
    .fetch_all(db)
    .await?;
    let sums = sums.into_iter().map(|(datastore, total, done, freed_bytes)| {
        let own = |cap: &&Cap| cap.campaign == id && cap.scope == Scope::Datastore && cap.name == datastore;
        let there = room.running.iter().filter(|run| run.datastores.contains(&datastore));
        DatastoreSum {
            running: u32::try_from(there.count()).unwrap_or(u32::MAX),
            cap: room.caps.iter().find(own).map_or(u32::MAX, |cap| cap.at_once),
            total: count(total),
            done: count(done),
            freed_bytes,
            datastore,
        }
    });
    Ok(sums.collect())
}

async fn hosts(db: &mut Connection, id: i64, now: i64) -> Result<Vec<HostRow>, Fault> {
    let silent_after = micros(super::names::silent_after(db).await?);
    let rows: Vec<(String, Option<i64>, Option<String>)> = sqlx::query_as(
        "SELECT r.host, h.seen, h.held FROM (SELECT DISTINCT host FROM run WHERE campaign = $1) AS r \
         LEFT JOIN host h ON h.id = r.host ORDER BY r.host",
    )
    .bind(id)
    .fetch_all(db)
    .await?;
    let rows = rows.into_iter().map(|(host, seen, held)| {
        let has_worker = seen.is_some_and(|seen| now.saturating_sub(seen) <= silent_after);
        Ok(HostRow { host, seen: seen.map(time).transpose()?, has_worker, held })
    });
    rows.collect()
}

#[derive(FromRow)]
struct Row {
    id: i64,
    host: String,
    name: String,
    uuid: String,
    state: String,
    place: String,
    failures: i64,
    fence: i64,
    claimed: Option<i64>,
    ended: Option<i64>,
    stage: Option<String>,
    not_before: i64,
    wait: Option<String>,
    wait_text: Option<String>,
    expected: i64,
    freed: i64,
    result: Option<String>,
}

impl Row {
    fn noun(self) -> Result<RunRow, Fault> {
        let state: RunState = noun(self.state)?;
        let wait = match self.wait {
            Some(wait) if state == RunState::Waiting => {
                Some((noun(wait)?, time(self.not_before)?, self.wait_text.unwrap_or_default()))
            }
            _ => None,
        };
        let attempt = if self.fence == 0 { 0 } else { count(self.failures).saturating_add(1) };
        Ok(RunRow {
            run: self.id,
            vm: key(self.host, self.name, self.uuid),
            state,
            datastores: datastores(&self.place),
            attempt,
            claimed: self.claimed.map(time).transpose()?,
            ended: self.ended.map(time).transpose()?,
            stage: self.stage,
            wait,
            expected_bytes: unsigned(self.expected),
            freed_bytes: self.freed,
            result: self.result.as_deref().map(parsed).transpose()?,
        })
    }
}

/// All of a campaign's runs in its order, or those of one state, oldest claim first.
const ROWS: &str = "SELECT r.id, r.host, v.name, v.uuid, r.state, r.place, r.failures, r.fence, r.claimed, r.ended, \
    r.stage, r.not_before, r.wait, r.wait_text, r.expected, r.freed, r.result \
    FROM run r JOIN vm v ON v.id = r.vm WHERE r.campaign = $1 AND ($2 IS NULL OR r.state = $2) \
    ORDER BY CASE WHEN $2 IS NULL THEN r.position ELSE r.claimed END, r.id";

async fn rows(db: &mut Connection, id: i64, state: Option<&str>) -> Result<Vec<RunRow>, Fault> {
    let rows: Vec<Row> = sqlx::query_as(ROWS).bind(id).bind(state).fetch_all(db).await?;
    rows.into_iter().map(Row::noun).collect()
}

/// Each run of a campaign.
pub(super) async fn runs(db: &mut Connection, id: i64) -> Result<Vec<RunRow>, Fault> {
    campaign(db, id).await?;
    rows(db, id, None).await
}

/// The history of a campaign.
pub(super) async fn events(db: &mut Connection, id: i64) -> Result<Vec<Event>, Fault> {
    campaign(db, id).await?;
    type Line = (i64, Option<i64>, Option<String>, String, String, String);
    let lines: Vec<Line> = sqlx::query_as(
        "SELECT e.at, e.run, v.name, e.what, e.who, e.text FROM event e \
         LEFT JOIN run r ON r.id = e.run LEFT JOIN vm v ON v.id = r.vm WHERE e.campaign = $1 ORDER BY e.id",
    )
    .bind(id)
    .fetch_all(db)
    .await?;
    let lines = lines.into_iter().map(|(at, run, vm, what, who, text)| {
        Ok(Event { at: time(at)?, campaign: Some(id), run, vm, what, who, text })
    });
    lines.collect()
}

/// What is known of VMs beyond one campaign.
pub(super) async fn vms(db: &mut Connection) -> Result<Vec<VmRow>, Fault> {
    type Line = (String, String, String, i64, Option<i64>, i64);
    let lines: Vec<Line> =
        sqlx::query_as("SELECT host, name, uuid, seen, proven, failed FROM vm ORDER BY host, name, uuid")
            .fetch_all(db)
            .await?;
    let lines = lines.into_iter().map(|(host, name, uuid, seen, proven, failed)| {
        Ok(VmRow {
            vm: key(host, name, uuid),
            seen: time(seen)?,
            proven: proven.map(time).transpose()?,
            failed_in_a_row: count(failed),
        })
    });
    lines.collect()
}
