//! What follows from an end: a campaign that stops, is aborted or done. And the history.

use sqlx::SqliteConnection;

use super::{
    close::{close, end_waiting, note},
    fault::Fault,
    look::{campaign, failed},
    words::word,
};
use crate::campaign::{
    account::CampaignState,
    budget::{Weight, weight},
    run::{Claimed, Class, RunResult},
};

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
    close(db, id, state, now).await
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
