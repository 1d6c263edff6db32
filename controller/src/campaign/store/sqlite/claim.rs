//! `claim`: the best run that has room, by counting what runs.
//!
//! Runs of one lane (on the same datastores, first trims or not, begun before or not) have room together or not at all. A
//! claim looks at the few lanes that have runs waiting, and then at the head of those with room: ten thousand runs cost
//! what ten cost, and a datastore that is full keeps nobody else from his turn.

use sqlx::{FromRow, SqliteConnection};
use uuid::Uuid;

use super::{
    close::note,
    fault::Fault,
    look::{Campaign, bar, begun, campaign, hours, room},
    settle,
    words::{count, datastores, integer, noun, parsed, time, unsigned, until},
};
use crate::campaign::{
    limits::Limits,
    ramp,
    run::{Claimed, VmKey, Wait},
    store::{Active, Claim, Claimant, hours::Hours, room::Room},
};

/// Runs that have room together: first trims or not, begun before or not, of one place.
struct Lane {
    key: String,
    is_first: bool,
    is_admitted: bool,
    datastores: Vec<String>,
}

impl Lane {
    /// Reads the column: two digits and the place.
    fn of(key: String) -> Result<Self, Fault> {
        let parts = key.split_at_checked(2).map(|(marks, place)| (marks, datastores(place)));
        let (is_first, is_admitted, datastores) = match parts {
            Some(("00", datastores)) => (false, false, datastores),
            Some(("01", datastores)) => (false, true, datastores),
            Some(("10", datastores)) => (true, false, datastores),
            Some(("11", datastores)) => (true, true, datastores),
            _ => return Err(Fault::damaged(format!("{key:?} is no lane"))),
        };
        Ok(Self { key, is_first, is_admitted, datastores })
    }
}

/// The lanes of a campaign that have runs waiting on a host: one step in the index `run_waiting` for each.
pub(super) const LANES: &str = "
WITH RECURSIVE head (lane) AS (
    SELECT min(lane) FROM run WHERE campaign = $1 AND host = $2 AND state = 'waiting'
    UNION ALL
    SELECT (SELECT min(lane) FROM run WHERE campaign = $1 AND host = $2 AND state = 'waiting' AND lane > h.lane)
    FROM head h WHERE h.lane IS NOT NULL
)
SELECT lane FROM head WHERE lane IS NOT NULL";

/// The best run of a lane that is due and whose VM is not in another campaign's turn. The plus signs keep the index
/// `run_waiting` in use, which has the runs in their order.
pub(super) const HEAD: &str = "
SELECT id, position FROM run
WHERE campaign = $1 AND host = $2 AND state = 'waiting' AND lane = $3
  AND +not_before <= $4 AND +vm NOT IN (SELECT vm FROM run WHERE state = 'running')
ORDER BY position LIMIT 1";

/// The campaigns that admit runs of this host, or want those cancelled that it has.
pub(super) async fn active(db: &mut SqliteConnection, by: &Claimant) -> Result<Vec<Active>, Fault> {
    let rows: Vec<(i64, bool, bool, String)> = sqlx::query_as(
        "SELECT id, state = 'active' AND waits, cancels AND runs, limits FROM (SELECT c.id, c.state, c.cancels, \
         EXISTS (SELECT 1 FROM run r WHERE r.campaign = c.id AND r.host = $1 AND r.state = 'waiting') AS waits, \
         EXISTS (SELECT 1 FROM run r WHERE r.campaign = c.id AND r.host = $1 AND r.state = 'running') AS runs, \
         c.limits FROM campaign c WHERE c.state = 'active' OR c.cancels) \
         WHERE (state = 'active' AND (waits OR runs)) OR (cancels AND runs) ORDER BY id",
    )
    .bind(&by.host)
    .fetch_all(&mut *db)
    .await?;
    let mut active = Vec::new();
    for (campaign, has_waiting, cancels, limits) in rows {
        let is_full = has_waiting && !room(db, campaign).await?.on_host(&by.host);
        let gates = parsed::<Limits>(&limits)?.gates;
        // There is no other host.
        active.push(Active { campaign, has_waiting, is_full, yields: false, cancels, gates });
    }
    Ok(active)
}

/// Claims.
pub(super) async fn claim(
    db: &mut SqliteConnection,
    id: i64,
    by: &Claimant,
    now: i64,
) -> Result<Claim, Fault> {
    let of = campaign(db, id).await?;
    let lanes: Vec<String> = sqlx::query_scalar(LANES).bind(id).bind(&by.host).fetch_all(&mut *db).await?;
    let lanes = lanes.into_iter().map(Lane::of).collect::<Result<Vec<_>, _>>()?;
    if lanes.is_empty() {
        return Ok(Claim::Empty);
    }
    let room = room(db, id).await?;
    if let Some(why) = bar(db, &of, &room).await? {
        return Ok(Claim::Nothing { why, next: None });
    }
    let closes = match hours(db, id, now).await? {
        Hours::Open(closes) => closes,
        Hours::Closed(opens) => {
            return Ok(Claim::Nothing { why: Wait::Window, next: Some(until(now, opens)) });
        }
        Hours::Past => {
            let why = "no window is left in which one more run ends in time; plan the rest anew";
            settle::stop(db, id, why, false, now).await?;
            return Ok(Claim::Nothing { why: Wait::Campaign, next: None });
        }
    };
    if !room.on_host(&by.host) {
        return Ok(Claim::Nothing { why: Wait::Room, next: None });
    }
    let stage = begun(db, &of).await?.map_or(u32::MAX, |begun| ramp::room(&of.limits.ramp, of.total, begun));
    match best(db, &of, by, &lanes, &room, stage, now).await? {
        Some(run) => Ok(Claim::Run(Box::new(take(db, run, &of, by, closes, now).await?))),
        None => nothing(db, id, by, stage, now).await,
    }
}

/// The best of the lanes that have room. What was begun before goes first: a run that a worker left in the middle may go
/// on in its guest for a moment, and has its place back before another one gets it.
async fn best(
    db: &mut SqliteConnection,
    of: &Campaign,
    by: &Claimant,
    lanes: &[Lane],
    room: &Room,
    stage: u32,
    now: i64,
) -> Result<Option<i64>, Fault> {
    let mut best: Option<(bool, i64, i64)> = None;
    for lane in lanes {
        let datastores = lane.datastores.iter().map(String::as_str);
        if !((lane.is_admitted || stage > 0) && room.on_datastores(datastores, lane.is_first)) {
            continue;
        }
        let head: Option<(i64, i64)> = sqlx::query_as(HEAD)
            .bind(of.id)
            .bind(&by.host)
            .bind(&lane.key)
            .bind(now)
            .fetch_optional(&mut *db)
            .await?;
        let rank = head.map(|(run, position)| (!lane.is_admitted, position, run));
        best = [best, rank].into_iter().flatten().min();
    }
    Ok(best.map(|(_, _, run)| run))
}

/// Why there is none, in the words of the best that waits.
async fn nothing(
    db: &mut SqliteConnection,
    id: i64,
    by: &Claimant,
    stage: u32,
    now: i64,
) -> Result<Claim, Fault> {
    let next: Option<i64> = sqlx::query_scalar(
        "SELECT min(not_before) FROM run WHERE campaign = $1 AND state = 'waiting' AND not_before > $2 AND host = $3",
    )
    .bind(id)
    .bind(now)
    .bind(&by.host)
    .fetch_one(&mut *db)
    .await?;
    let due: Option<bool> = sqlx::query_scalar(
        "SELECT admitted FROM run WHERE campaign = $1 AND host = $2 AND state = 'waiting' AND not_before <= $3 LIMIT 1",
    )
    .bind(id)
    .bind(&by.host)
    .bind(now)
    .fetch_optional(&mut *db)
    .await?;
    let why = match due {
        Some(_) if stage == 0 => Wait::Ramp,
        Some(_) => Wait::Room,
        None => {
            let word: Option<String> = sqlx::query_scalar(
                "SELECT wait FROM run WHERE campaign = $1 AND host = $2 AND state = 'waiting' \
                 ORDER BY not_before, position LIMIT 1",
            )
            .bind(id)
            .bind(&by.host)
            .fetch_one(db)
            .await?;
            word.map(noun).transpose()?.unwrap_or(Wait::Retry)
        }
    };
    Ok(Claim::Nothing { why, next: next.map(|next| until(now, next)) })
}

/// What a claim hands out of a run's row.
#[derive(FromRow)]
struct Taken {
    name: String,
    uuid: String,
    place: String,
    agent_run: String,
    fence: i64,
    failures: i64,
    put_off: i64,
    baseline: Option<String>,
}

/// Marks the run as this worker's, under a new and higher fence.
async fn take(
    db: &mut SqliteConnection,
    run: i64,
    of: &Campaign,
    by: &Claimant,
    closes: Option<i64>,
    now: i64,
) -> Result<Claimed, Fault> {
    sqlx::query(
        "UPDATE run SET state = 'running', admitted = TRUE, fence = max(fence + 1, $2), worker = $3, claimed = $2, \
         heard = $2, agent_run = coalesce(agent_run, $4), stage = NULL, not_before = 0, wait = NULL, \
         wait_text = NULL WHERE id = $1",
    )
    .bind(run)
    .bind(now)
    .bind(&by.worker)
    .bind(Uuid::new_v4().to_string())
    .execute(&mut *db)
    .await?;
    let taken: Taken = sqlx::query_as(
        "SELECT v.name, v.uuid, r.place, r.agent_run, r.fence, r.failures, r.put_off, r.baseline \
         FROM run r JOIN vm v ON v.id = r.vm WHERE r.id = $1",
    )
    .bind(run)
    .fetch_one(&mut *db)
    .await?;
    let text = format!("fence {}", taken.fence);
    note(db, now, (Some(of.id), Some(run)), "claimed", &by.worker, &text, None).await?;
    Ok(Claimed {
        run,
        campaign: of.id,
        vm: VmKey {
            host: by.host.clone(),
            name: taken.name,
            uuid: (!taken.uuid.is_empty()).then_some(taken.uuid),
        },
        datastores: datastores(&taken.place),
        agent_run_id: taken.agent_run,
        fence: unsigned(taken.fence),
        attempt: count(taken.failures).saturating_add(1),
        put_off: count(taken.put_off),
        baseline: taken.baseline.as_deref().map(parsed).transpose()?,
        until: closes.map(time).transpose()?,
        remaining: closes.map(|closes| until(now, closes)),
        limits: of.limits.clone(),
    })
}

/// The fence as the column has it.
pub(super) fn fence(claimed: &Claimed) -> i64 {
    integer(claimed.fence)
}
