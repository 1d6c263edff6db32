//! The end of a campaign, the lines of its history, and what an abort does to what waits.

use super::{
    Connection,
    fault::Fault,
    words::{json, word},
};
use crate::campaign::{
    account::CampaignState,
    run::{Class, RunResult},
};

/// Adds a line to the history; gives its number, which only rises.
pub(super) async fn note(
    db: &mut Connection,
    at: i64,
    (campaign, run): (Option<i64>, Option<i64>),
    what: &str,
    who: &str,
    text: &str,
    result: Option<&RunResult>,
) -> Result<i64, Fault> {
    let event = sqlx::query_scalar(
        "INSERT INTO event (at, campaign, run, what, who, text, result) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         RETURNING id",
    )
    .bind(at)
    .bind(campaign)
    .bind(run)
    .bind(what)
    .bind(who)
    .bind(text)
    .bind(result.map(json).transpose()?)
    .fetch_one(db)
    .await?;
    Ok(event)
}

/// A run that nobody had a turn at, or whose turn a person ended.
pub(super) fn aborted() -> RunResult {
    RunResult {
        class: Class::Aborted,
        disks: Vec::new(),
        text: Some("the campaign was aborted before its turn".to_owned()),
        kind: None,
        layer: None,
        duration_ms: 0,
    }
}

/// Ends all that waits: the campaign is aborted.
pub(super) async fn end_waiting(db: &mut Connection, campaign: i64, now: i64) -> Result<(), Fault> {
    let unknown = RunResult {
        text: Some("the campaign was aborted before the end of its turn was known".to_owned()),
        ..aborted()
    };
    sqlx::query(
        "UPDATE run SET state = 'done', class = 'aborted', ended = $2, \
         end_event = (SELECT max(id) FROM event), \
         result = CASE WHEN baseline IS NULL THEN $3 ELSE $4 END, agent_run = NULL, baseline = NULL \
         WHERE campaign = $1 AND state = 'waiting'",
    )
    .bind(campaign)
    .bind(now)
    .bind(json(&aborted())?)
    .bind(json(&unknown)?)
    .execute(db)
    .await?;
    Ok(())
}

/// Whether anything waits, or runs. The plus sign keeps the index `run_running` in use, which is short.
pub(super) const OPEN: &str = "SELECT EXISTS (SELECT 1 FROM run WHERE campaign = $1 AND state = 'waiting'), \
     EXISTS (SELECT 1 FROM run WHERE +campaign = $1 AND state = 'running')";

/// Ends a campaign of which nothing waits or runs any more.
pub(super) async fn close(db: &mut Connection, id: i64, state: CampaignState, now: i64) -> Result<(), Fault> {
    let (waits, runs): (bool, bool) = sqlx::query_as(OPEN).bind(id).fetch_one(&mut *db).await?;
    if waits || runs {
        return Ok(());
    }
    let end = if state == CampaignState::Aborting { CampaignState::Aborted } else { CampaignState::Done };
    over(db, id, end, now).await
}

/// A campaign's own end.
async fn over(db: &mut Connection, id: i64, end: CampaignState, now: i64) -> Result<(), Fault> {
    let what = word(&end)?;
    sqlx::query("UPDATE campaign SET state = $2, ended = $3, cancels = FALSE WHERE id = $1")
        .bind(id)
        .bind(&what)
        .bind(now)
        .execute(&mut *db)
        .await?;
    let text = "every run has ended";
    note(db, now, (Some(id), None), &what, "the store", text, None).await?;
    Ok(())
}
