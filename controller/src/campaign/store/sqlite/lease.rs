//! What a worker says of runs that it has, and what is taken back from one that is gone.

use sqlx::SqliteConnection;

use super::{
    claim::fence,
    close::note,
    fault::Fault,
    settle,
    words::{count, integer, json},
};
use crate::campaign::{
    run::{Baseline, Claimed, Instruction},
    store::Claimant,
};

/// What to do with a run, for who has this fence.
async fn instruction(db: &mut SqliteConnection, run: i64, fence: i64) -> Result<Instruction, Fault> {
    let cancels: Option<bool> = sqlx::query_scalar(
        "SELECT c.cancels FROM run r JOIN campaign c ON c.id = r.campaign \
         WHERE r.id = $1 AND r.fence = $2 AND r.state = 'running'",
    )
    .bind(run)
    .bind(fence)
    .fetch_optional(db)
    .await?;
    Ok(match cancels {
        None => Instruction::Gone,
        Some(true) => Instruction::Cancel,
        Some(false) => Instruction::Keep,
    })
}

/// Keeps the baseline of a run that goes on.
pub(super) async fn baseline(
    db: &mut SqliteConnection,
    claimed: &Claimed,
    baseline: &Baseline,
    now: i64,
) -> Result<Instruction, Fault> {
    let fence = fence(claimed);
    let answer = instruction(db, claimed.run, fence).await?;
    if answer == Instruction::Keep {
        sqlx::query("UPDATE run SET baseline = $2, heard = $3 WHERE id = $1")
            .bind(claimed.run)
            .bind(json(baseline)?)
            .bind(now)
            .execute(db)
            .await?;
    }
    Ok(answer)
}

/// Notes that the worker is there and where its runs are.
pub(super) async fn heartbeat(
    db: &mut SqliteConnection,
    by: &Claimant,
    held: Option<&str>,
    stages: &[(i64, u64, String)],
    now: i64,
) -> Result<Vec<(i64, Instruction)>, Fault> {
    seen(db, by, held, now).await?;
    let mut answers = Vec::with_capacity(stages.len());
    for (run, fence, stage) in stages {
        let fence = integer(*fence);
        let answer = instruction(db, *run, fence).await?;
        if answer != Instruction::Gone {
            sqlx::query("UPDATE run SET stage = $2, heard = $3 WHERE id = $1")
                .bind(run)
                .bind(stage)
                .bind(now)
                .execute(&mut *db)
                .await?;
        }
        answers.push((*run, answer));
    }
    Ok(answers)
}

async fn seen(db: &mut SqliteConnection, by: &Claimant, held: Option<&str>, now: i64) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO host (id, worker, seen, held) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (id) DO UPDATE SET worker = $2, seen = $3, held = $4",
    )
    .bind(&by.host)
    .bind(&by.worker)
    .bind(now)
    .bind(held)
    .execute(db)
    .await?;
    Ok(())
}

/// Puts the runs of this host's former workers back.
pub(super) async fn recover(db: &mut SqliteConnection, by: &Claimant, now: i64) -> Result<u32, Fault> {
    let orphans: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT id, campaign FROM run WHERE state = 'running' AND host = $1 AND worker <> $2 ORDER BY id",
    )
    .bind(&by.host)
    .bind(&by.worker)
    .fetch_all(&mut *db)
    .await?;
    for &(run, campaign) in &orphans {
        settle::put_back(db, run, now).await?;
        let text = "its worker is gone; it waits again";
        note(db, now, (Some(campaign), Some(run)), "recovered", &by.worker, text, None).await?;
        settle::settle(db, campaign, None, now).await?;
    }
    seen(db, by, None, now).await?;
    Ok(count(integer(u64::try_from(orphans.len()).unwrap_or(u64::MAX))))
}
