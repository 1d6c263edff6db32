//! What follows from an end: a campaign that stops, is aborted or done. And the history.

use sqlx::SqliteConnection;

use super::{
    claim::campaign,
    fault::Fault,
    words::{count, json, word},
};
use crate::campaign::{
    account::CampaignState,
    budget::{Weight, weight},
    run::{Claimed, Class, RunResult},
};

/// Adds a line to the history; gives its number, which only rises.
pub(super) async fn note(
    db: &mut SqliteConnection,
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

pub(super) const FAILED: &str =
    "SELECT count(*) FROM run WHERE campaign = $1 AND state = 'done' AND class = 'failed' AND end_event > $2";

/// How many have failed since the event `since`.
pub(super) async fn failed(db: &mut SqliteConnection, campaign: i64, since: i64) -> Result<u32, Fault> {
    let failed: i64 = sqlx::query_scalar(FAILED).bind(campaign).bind(since).fetch_one(db).await?;
    Ok(count(failed))
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

/// Puts a run back whose worker is gone; in a campaign that a person has aborted, ends it.
pub(super) async fn put_back(db: &mut SqliteConnection, run: i64, now: i64) -> Result<(), Fault> {
    sqlx::query("UPDATE run SET state = 'waiting', stage = NULL, not_before = 0 WHERE id = $1")
        .bind(run)
        .execute(&mut *db)
        .await?;
    let aborting: Option<i64> = sqlx::query_scalar(
        "SELECT c.id FROM run r JOIN campaign c ON c.id = r.campaign WHERE r.id = $1 AND c.state = 'aborting'",
    )
    .bind(run)
    .fetch_optional(&mut *db)
    .await?;
    match aborting {
        Some(campaign) => end_waiting(db, campaign, now).await,
        None => Ok(()),
    }
}

/// Ends all that waits: the campaign is aborted.
pub(super) async fn end_waiting(db: &mut SqliteConnection, campaign: i64, now: i64) -> Result<(), Fault> {
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

/// Stops admission, and says why.
pub(super) async fn stop(
    db: &mut SqliteConnection,
    campaign: i64,
    why: &str,
    cancels: bool,
    now: i64,
) -> Result<(), Fault> {
    sqlx::query("UPDATE campaign SET state = 'stopped', why = $2, cancels = max(cancels, $3) WHERE id = $1")
        .bind(campaign)
        .bind(why)
        .bind(cancels)
        .execute(&mut *db)
        .await?;
    note(db, now, (Some(campaign), None), "stopped", "the store", why, None).await?;
    Ok(())
}

/// Whether anything waits, or runs. The plus sign keeps the index `run_running` in use, which is short.
pub(super) const OPEN: &str = "SELECT EXISTS (SELECT 1 FROM run WHERE campaign = $1 AND state = 'waiting'), \
     EXISTS (SELECT 1 FROM run WHERE +campaign = $1 AND state = 'running')";

/// Looks at a campaign after one of its runs came to an end, of its turn or of all.
pub(super) async fn settle(
    db: &mut SqliteConnection,
    id: i64,
    ended: Option<(&Claimed, &RunResult)>,
    now: i64,
) -> Result<(), Fault> {
    let of = campaign(db, id).await?;
    let mut state = of.state;
    if let Some((claimed, result)) = ended {
        let harm = result.class == Class::Harmed;
        let admits = matches!(state, CampaignState::Active | CampaignState::Paused);
        let why = if harm && state != CampaignState::Aborting {
            let told = result.text.as_deref().unwrap_or("the host saw harm");
            Some(format!("harm: {}: {told}", claimed.vm.name))
        } else if admits && weight(result.class) == Weight::Blocked {
            streak(db, id, of.since, of.limits.cut_in_a_row).await?
        } else if admits && result.class.is_failure() {
            let failed = failed(db, id, of.since).await?;
            let budget = of.limits.failure_budget.of(of.total);
            (failed >= budget)
                .then(|| format!("{failed} of {} VMs have failed; the budget is {budget}", of.total))
        } else {
            None
        };
        if let Some(why) = why {
            stop(db, id, &why, harm, now).await?;
            state = CampaignState::Stopped;
        }
    }
    let (waits, runs): (bool, bool) = sqlx::query_as(OPEN).bind(id).fetch_one(&mut *db).await?;
    if waits || runs {
        return Ok(());
    }
    let end = if state == CampaignState::Aborting { CampaignState::Aborted } else { CampaignState::Done };
    over(db, id, end, now).await
}

/// A campaign's own end.
pub(super) async fn over(
    db: &mut SqliteConnection,
    id: i64,
    end: CampaignState,
    now: i64,
) -> Result<(), Fault> {
    let what = word(&end)?;
    sqlx::query("UPDATE campaign SET state = $2, ended = $3, cancels = 0 WHERE id = $1")
        .bind(id)
        .bind(&what)
        .bind(now)
        .execute(&mut *db)
        .await?;
    let text = "every run has ended";
    note(db, now, (Some(id), None), &what, "the store", text, None).await?;
    Ok(())
}

/// Runs that ended cut or held since the last one that ended otherwise and says something of the way.
async fn streak(db: &mut SqliteConnection, id: i64, since: i64, most: u32) -> Result<Option<String>, Fault> {
    if most == 0 {
        return Ok(None);
    }
    // One step in the index run_ended for each class that breaks a streak.
    let mut from = since;
    for class in [Class::Reclaimed, Class::NotMeasurable, Class::Failed, Class::Harmed] {
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT max(end_event) FROM run WHERE campaign = $1 AND state = 'done' AND class = $2",
        )
        .bind(id)
        .bind(word(&class)?)
        .fetch_one(&mut *db)
        .await?;
        from = from.max(last.unwrap_or(0));
    }
    let layers: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT layer FROM run WHERE campaign = $1 AND state = 'done' AND class IN ('cut', 'held') \
         AND end_event > $2 ORDER BY end_event DESC LIMIT $3",
    )
    .bind(id)
    .bind(from)
    .bind(i64::from(most))
    .fetch_all(db)
    .await?;
    let streak = u32::try_from(layers.len()).unwrap_or(u32::MAX);
    if streak < most {
        return Ok(None);
    }
    let mut names: Vec<String> = layers.into_iter().flatten().collect();
    names.sort_unstable();
    names.dedup();
    let at = if names.is_empty() { String::new() } else { format!(" at {}", names.join(", ")) };
    Ok(Some(format!("{streak} runs in a row were cut or held{at}: something is wired wrong")))
}
