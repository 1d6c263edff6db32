//! `finish` and `later`: what came of a turn is counted once, and only under the run's own fence.

use sqlx::SqliteConnection;

use super::{
    claim::fence,
    close::{aborted, note},
    fault::Fault,
    settle,
    words::{figure, json, micros, noun, signed, word},
};
use crate::campaign::{
    account::CampaignState,
    run::{Claimed, Class, Counted, Did, Later, RunResult, Wait},
};

/// The run's row, as far as its end needs it.
struct Turn {
    vm: i64,
    worker: String,
    campaign: CampaignState,
    has_baseline: bool,
}

/// Whose word this is: the run's own worker's, or an older one's. A fenced word goes to the history.
async fn turn(
    db: &mut SqliteConnection,
    claimed: &Claimed,
    result: Option<&RunResult>,
    now: i64,
) -> Result<Result<Turn, Counted>, Fault> {
    type Row = (i64, i64, String, i64, i64, Option<String>, String, bool);
    let row: Option<Row> = sqlx::query_as(
        "SELECT r.campaign, r.vm, r.state, r.fence, r.settled, r.worker, c.state, r.baseline IS NOT NULL \
         FROM run r JOIN campaign c ON c.id = r.campaign WHERE r.id = $1",
    )
    .bind(claimed.run)
    .fetch_optional(&mut *db)
    .await?;
    let Some((campaign, vm, state, last, settled, worker, campaign_state, has_baseline)) = row else {
        return Err(Fault::no_campaign(claimed.campaign));
    };
    let own = fence(claimed);
    let worker = worker.unwrap_or_default();
    if own == last && state == "running" {
        return Ok(Ok(Turn { vm, worker, campaign: noun(campaign_state)?, has_baseline }));
    }
    if own == settled {
        return Ok(Err(Counted::AlreadyCounted));
    }
    let text = match result {
        Some(result) => format!("fence {own} came too late: {}", said(result)?),
        None => format!("fence {own} came too late"),
    };
    note(db, now, (Some(campaign), Some(claimed.run)), "fenced", "a former worker", &text, result).await?;
    Ok(Err(Counted::Fenced))
}

/// Adds what a turn freed: to the run's sum and to its datastores'.
async fn count(db: &mut SqliteConnection, run: i64, result: &RunResult) -> Result<(), Fault> {
    sqlx::query("UPDATE run SET freed = freed + $2, held = $3, duration = duration + $4 WHERE id = $1")
        .bind(run)
        .bind(signed(result.freed_bytes()))
        .bind(figure(result.held_bytes()))
        .bind(figure(result.duration_ms))
        .execute(&mut *db)
        .await?;
    for disk in &result.disks {
        let (Some(datastore), Some(freed)) = (&disk.datastore, disk.freed_bytes) else { continue };
        sqlx::query(
            "INSERT INTO run_datastore (run, datastore, freed) VALUES ($1, $2, $3) \
             ON CONFLICT (run, datastore) DO UPDATE SET freed = run_datastore.freed + $3",
        )
        .bind(run)
        .bind(datastore)
        .bind(signed(freed))
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// What outlives the campaign. A cut or held run has shown that the VM answers; one that was away has shown nothing.
async fn remember(
    db: &mut SqliteConnection,
    vm: i64,
    class: Class,
    is_over: bool,
    now: i64,
) -> Result<(), Fault> {
    if matches!(class, Class::Reclaimed | Class::AlreadyCompact) {
        sqlx::query("UPDATE vm SET proven = $2 WHERE id = $1").bind(vm).bind(now).execute(&mut *db).await?;
    }
    let failed = match class {
        Class::Failed | Class::Harmed => "UPDATE vm SET failed = failed + 1 WHERE id = $1",
        Class::NotRun | Class::Away | Class::SetAside | Class::Aborted => return Ok(()),
        Class::Reclaimed | Class::AlreadyCompact | Class::Cut | Class::Held | Class::NotMeasurable => {
            "UPDATE vm SET failed = 0 WHERE id = $1"
        }
    };
    if is_over {
        sqlx::query(failed).bind(vm).execute(db).await?;
    }
    Ok(())
}

/// The run's end.
pub(super) async fn finish(
    db: &mut SqliteConnection,
    claimed: &Claimed,
    result: &RunResult,
    now: i64,
) -> Result<Counted, Fault> {
    let turn = match turn(db, claimed, Some(result), now).await? {
        Ok(turn) => turn,
        Err(answer) => return Ok(answer),
    };
    count(db, claimed.run, result).await?;
    end(db, claimed, &turn, result, now).await?;
    Ok(Counted::Counted)
}

async fn end(
    db: &mut SqliteConnection,
    claimed: &Claimed,
    turn: &Turn,
    result: &RunResult,
    now: i64,
) -> Result<(), Fault> {
    let of = (Some(claimed.campaign), Some(claimed.run));
    let event = note(db, now, of, "counted", &turn.worker, &said(result)?, Some(result)).await?;
    sqlx::query(
        "UPDATE run SET state = 'done', settled = fence, agent_run = NULL, baseline = NULL, stage = NULL, \
         class = $2, layer = $3, result = $4, ended = $5, end_event = $6 WHERE id = $1",
    )
    .bind(claimed.run)
    .bind(word(&result.class)?)
    .bind(result.layer.map(|layer| layer.as_str()))
    .bind(json(result)?)
    .bind(now)
    .bind(event)
    .execute(&mut *db)
    .await?;
    remember(db, turn.vm, result.class, true, now).await?;
    settle::settle(db, claimed.campaign, Some((claimed, result)), now).await
}

/// The run goes back to wait; where a person has aborted the campaign, this is its end.
pub(super) async fn later(
    db: &mut SqliteConnection,
    claimed: &Claimed,
    later: &Later,
    now: i64,
) -> Result<Counted, Fault> {
    let done = later.did.known();
    let turn = match turn(db, claimed, done, now).await? {
        Ok(turn) => turn,
        Err(answer) => return Ok(answer),
    };
    if let Some(done) = done {
        count(db, claimed.run, done).await?;
    }
    if turn.campaign == CampaignState::Aborting {
        let disks = done.map(|done| done.disks.clone()).unwrap_or_default();
        let text = match (&later.did, turn.has_baseline) {
            (Did::Unknown, true) => format!("{}; what its last turn freed is not known", later.text),
            _ => later.text.clone(),
        };
        let aborted = RunResult { disks, text: Some(text), ..aborted() };
        end(db, claimed, &turn, &aborted, now).await?;
        return Ok(Counted::Counted);
    }
    // "Not now" before anything was begun is no start.
    let is_put_off = matches!(later.why, Wait::Gate | Wait::Guard) && done.is_none();
    let is_start = !is_put_off || (turn.has_baseline && later.did == Did::Unknown);
    sqlx::query(
        "UPDATE run SET state = 'waiting', settled = fence, stage = NULL, admitted = $2, \
         failures = failures + $3, not_before = $4, wait = $5, wait_text = $6, \
         put_off = CASE WHEN $7 THEN put_off + 1 ELSE 0 END WHERE id = $1",
    )
    .bind(claimed.run)
    .bind(is_start)
    .bind(i64::from(later.why == Wait::Retry))
    // At once is at once, also when the clock goes back meanwhile.
    .bind(if later.after.is_zero() { 0 } else { now.saturating_add(micros(later.after)) })
    .bind(word(&later.why)?)
    .bind(&later.text)
    .bind(is_put_off)
    .execute(&mut *db)
    .await?;
    if later.did != Did::Unknown {
        // Its result is known: the next turn is another one to the agent.
        sqlx::query("UPDATE run SET agent_run = NULL, baseline = NULL WHERE id = $1")
            .bind(claimed.run)
            .execute(&mut *db)
            .await?;
    }
    if let Some(done) = done {
        remember(db, turn.vm, done.class, false, now).await?;
    }
    let text = match done {
        Some(done) => format!("{} ({})", later.text, said(done)?),
        None => later.text.clone(),
    };
    let of = (Some(claimed.campaign), Some(claimed.run));
    note(db, now, of, "later", &turn.worker, &text, done).await?;
    settle::settle(db, claimed.campaign, done.map(|done| (claimed, done)), now).await?;
    Ok(Counted::Counted)
}

/// "reclaimed, 1073741824 bytes".
fn said(result: &RunResult) -> Result<String, Fault> {
    let class = word(&result.class)?;
    let freed = result.freed_bytes();
    Ok(match &result.text {
        Some(text) => format!("{class}, {freed} bytes: {text}"),
        None => format!("{class}, {freed} bytes"),
    })
}
