//! What a claim and a status look at: what runs, the caps that bear on it, the budget, the windows, the ramp.

use std::collections::BTreeSet;

use super::{
    Connection,
    fault::Fault,
    words::{count, datastores, noun, parsed},
};
use crate::campaign::{
    account::CampaignState,
    budget,
    limits::Limits,
    ramp::{self, Begun},
    run::Wait,
    store::{
        hours::{self, ENOUGH_ENDS, Hours, MODEST_MICROS, Window},
        room::{Cap, Room, Running, Scope},
    },
};

/// A campaign, as far as a claim and a status need it.
pub(super) struct Campaign {
    pub(super) id: i64,
    pub(super) state: CampaignState,
    pub(super) limits: Limits,
    pub(super) total: u32,
    pub(super) since: i64,
}

/// Reads it.
pub(super) async fn campaign(db: &mut Connection, id: i64) -> Result<Campaign, Fault> {
    let row: Option<(String, String, i64, i64)> =
        sqlx::query_as("SELECT state, limits, total, since FROM campaign WHERE id = $1")
            .bind(id)
            .fetch_optional(db)
            .await?;
    let (state, limits, total, since) = row.ok_or_else(|| Fault::no_campaign(id))?;
    Ok(Campaign { id, state: noun(state)?, limits: parsed(&limits)?, total: count(total), since })
}

/// All that runs, and the caps that bear on it.
pub(super) async fn room(db: &mut Connection, campaign: i64) -> Result<Room, Fault> {
    let running: Vec<(i64, i64, String, String, bool)> =
        sqlx::query_as("SELECT campaign, vm, host, place, is_first FROM run WHERE state = 'running'")
            .fetch_all(&mut *db)
            .await?;
    let running = running.into_iter().map(|(campaign, vm, host, place, is_first)| Running {
        campaign,
        vm,
        host,
        datastores: datastores(&place),
        is_first,
    });
    let running: Vec<Running> = running.collect();
    let campaigns: BTreeSet<i64> = running.iter().map(|run| run.campaign).chain([campaign]).collect();
    let mut caps = Vec::new();
    for of in campaigns {
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT scope, name, at_once FROM cap WHERE campaign = $1")
                .bind(of)
                .fetch_all(&mut *db)
                .await?;
        for (scope, name, at_once) in rows {
            let scope = Scope::of(&scope).ok_or_else(|| Fault::damaged(format!("{scope:?} is no scope")))?;
            caps.push(Cap { campaign: of, scope, name, at_once: count(at_once) });
        }
    }
    Ok(Room { campaign, running, caps })
}

/// What keeps every run of the campaign that is due from being admitted, if anything does.
pub(super) async fn bar(db: &mut Connection, of: &Campaign, room: &Room) -> Result<Option<Wait>, Fault> {
    if of.state != CampaignState::Active {
        return Ok(Some(Wait::Campaign));
    }
    let budget = of.limits.failure_budget.of(of.total);
    let failed = failed(db, of.id, of.since).await?;
    let may = budget::may_admit(budget, of.limits.strict, failed, room.own());
    Ok((!may).then_some(Wait::Budget))
}

/// What the windows say to a run that would begin now.
pub(super) async fn hours(db: &mut Connection, campaign: i64, now: i64) -> Result<Hours, Fault> {
    let coming: Vec<Window> = sqlx::query_as(
        r#"SELECT opens, closes FROM "window" WHERE campaign = $1 AND closes > $2 ORDER BY closes LIMIT 2"#,
    )
    .bind(campaign)
    .bind(now)
    .fetch_all(&mut *db)
    .await?;
    let any: bool = sqlx::query_scalar(r#"SELECT EXISTS (SELECT 1 FROM "window" WHERE campaign = $1)"#)
        .bind(campaign)
        .fetch_one(&mut *db)
        .await?;
    let expected = if any { expected(db).await? } else { 0 };
    Ok(hours::look(any, &coming, now, expected))
}

/// What nineteen of twenty runs have stayed below, of those that trimmed: microseconds.
async fn expected(db: &mut Connection) -> Result<i64, Fault> {
    // The words of the index run_duration, so that it is used.
    let ends: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM run WHERE class IN ('reclaimed', 'already_compact', 'held', 'not_measurable')",
    )
    .fetch_one(&mut *db)
    .await?;
    if count(ends) < ENOUGH_ENDS {
        return Ok(MODEST_MICROS);
    }
    let millis: i64 = sqlx::query_scalar(
        "SELECT duration FROM run WHERE class IN ('reclaimed', 'already_compact', 'held', 'not_measurable') \
         ORDER BY duration LIMIT 1 OFFSET $1",
    )
    .bind(ends.saturating_mul(95).checked_div(100).unwrap_or(0))
    .fetch_one(db)
    .await?;
    Ok(millis.saturating_mul(1000))
}

/// How many were admitted, up to as many as the ramp can tell apart, and how many of them are open.
pub(super) const BEGUN: &str = "SELECT (SELECT count(*) FROM (SELECT 1 FROM run WHERE campaign = $1 AND admitted LIMIT $2) AS few), \
     (SELECT count(*) FROM run WHERE campaign = $1 AND admitted AND state IN ('running', 'waiting'))";

/// What the ramp knows of a campaign; `None`: it is over.
pub(super) async fn begun(db: &mut Connection, of: &Campaign) -> Result<Option<Begun>, Fault> {
    let end = ramp::end(&of.limits.ramp, of.total);
    if end == 0 {
        return Ok(None);
    }
    let (admitted, open): (i64, i64) =
        sqlx::query_as(BEGUN).bind(of.id).bind(i64::from(end).saturating_add(1)).fetch_one(db).await?;
    let begun = Begun { admitted: count(admitted), open: count(open) };
    Ok((begun.admitted <= end).then_some(begun))
}

pub(super) const FAILED: &str =
    "SELECT count(*) FROM run WHERE campaign = $1 AND state = 'done' AND class = 'failed' AND end_event > $2";

/// How many have failed since the event `since`.
pub(super) async fn failed(db: &mut Connection, campaign: i64, since: i64) -> Result<u32, Fault> {
    let failed: i64 = sqlx::query_scalar(FAILED).bind(campaign).bind(since).fetch_one(db).await?;
    Ok(count(failed))
}
