//! What a worker asks for, by the functions of `migrations/0001-worker.sql`.

use sqlx::{FromRow, PgConnection};

use super::{
    fault::Fault,
    fit,
    words::{count, datastores, integer, micros, noun, parsed, time, unsigned, until},
};
use crate::{
    campaign::{
        account::Figures,
        run::{Baseline, Claimed, Counted, Did, Instruction, Later, RunResult, VmKey, Wait},
        store::{Active, Claim, Claimant},
    },
    model::trouble::{Kind, Trouble},
};

pub(super) async fn active(db: &mut PgConnection, by: &Claimant) -> Result<Vec<Active>, Fault> {
    let rows: Vec<(i64, bool, bool, bool, bool, String)> =
        sqlx::query_as("SELECT campaign, has_waiting, is_full, yields, cancels, gates FROM active($1)")
            .bind(&by.host)
            .fetch_all(db)
            .await?;
    let rows = rows.into_iter().map(|(campaign, has_waiting, is_full, yields, cancels, gates)| {
        Ok(Active { campaign, has_waiting, is_full, yields, cancels, gates: parsed(&gates)? })
    });
    rows.collect()
}

/// The type `claimed`.
#[derive(FromRow)]
struct Answer {
    what: String,
    why: Option<String>,
    next: Option<i64>,
    run: Option<i64>,
    name: Option<String>,
    uuid: Option<String>,
    agent_run: Option<String>,
    fence: Option<i64>,
    failures: Option<i64>,
    put_off: Option<i64>,
    baseline: Option<String>,
    closes: Option<i64>,
    now: i64,
    limits: Option<String>,
    campaign: Option<i64>,
    place: Option<String>,
}

pub(super) async fn claim(
    db: &mut PgConnection,
    campaign: i64,
    by: &Claimant,
    mark: &str,
) -> Result<Claim, Fault> {
    let answer: Answer = sqlx::query_as("SELECT * FROM claim($1, $2, $3, $4)")
        .bind(campaign)
        .bind(&by.host)
        .bind(&by.worker)
        .bind(mark)
        .fetch_one(db)
        .await?;
    match answer.what.as_str() {
        "run" => Ok(Claim::Run(Box::new(answer.claimed(by).ok_or_else(|| missing("claim"))??))),
        "nothing" => Ok(Claim::Nothing {
            why: answer.why.map(noun).transpose()?.unwrap_or(Wait::Retry),
            next: answer.next.map(|next| until(0, next)),
        }),
        "empty" => Ok(Claim::Empty),
        _ => Err(Fault::no_campaign(campaign)),
    }
}

fn missing(function: &str) -> Fault {
    Fault::damaged(format!("{function}() left something out"))
}

impl Answer {
    /// `None`: a column of a run is missing.
    fn claimed(self, by: &Claimant) -> Option<Result<Claimed, Fault>> {
        let vm = VmKey {
            host: by.host.clone(),
            name: self.name?,
            uuid: self.uuid.filter(|uuid| !uuid.is_empty()),
        };
        let (run, campaign, agent_run_id, limits) =
            (self.run?, self.campaign?, self.agent_run?, self.limits?);
        let place = self.place?;
        let (fence, failures, put_off) = (self.fence?, self.failures?, self.put_off?);
        let claimed = || {
            Ok(Claimed {
                run,
                campaign,
                vm,
                datastores: datastores(&place),
                agent_run_id,
                fence: unsigned(fence),
                attempt: count(failures).saturating_add(1),
                put_off: count(put_off),
                baseline: self.baseline.as_deref().map(parsed).transpose()?,
                until: self.closes.map(time).transpose()?,
                remaining: self.closes.map(|closes| until(self.now, closes)),
                limits: parsed(&limits)?,
            })
        };
        Some(claimed())
    }
}

fn instruction(word: &str) -> Instruction {
    match word {
        "keep" => Instruction::Keep,
        "cancel" => Instruction::Cancel,
        _ => Instruction::Gone,
    }
}

pub(super) async fn baseline(
    db: &mut PgConnection,
    claimed: &Claimed,
    baseline: &Baseline,
) -> Result<Instruction, Fault> {
    let word: String = sqlx::query_scalar("SELECT baseline($1, $2, $3, $4)")
        .bind(&claimed.vm.host)
        .bind(claimed.run)
        .bind(integer(claimed.fence))
        .bind(fit::document(baseline)?)
        .fetch_one(db)
        .await?;
    Ok(instruction(&word))
}

pub(super) async fn used_elsewhere(
    db: &mut PgConnection,
    claimed: &Claimed,
    images: &[String],
) -> Result<Option<String>, Fault> {
    let users = sqlx::query_scalar("SELECT used_elsewhere($1, $2, $3)")
        .bind(&claimed.vm.host)
        .bind(claimed.run)
        .bind(images)
        .fetch_one(db)
        .await?;
    Ok(users)
}

pub(super) async fn heartbeat(
    db: &mut PgConnection,
    by: &Claimant,
    held: Option<&str>,
    stages: &[(i64, u64, String)],
) -> Result<Vec<(i64, Instruction)>, Fault> {
    let runs: Vec<i64> = stages.iter().map(|(run, ..)| *run).collect();
    let fences: Vec<i64> = stages.iter().map(|(_, fence, _)| integer(*fence)).collect();
    let words: Vec<String> = stages.iter().map(|(.., stage)| fit::line(stage)).collect();
    let answers: Vec<(i64, String)> =
        sqlx::query_as("SELECT run, answer FROM heartbeat($1, $2, $3, $4, $5, $6)")
            .bind(&by.host)
            .bind(&by.worker)
            .bind(held.map(fit::line))
            .bind(runs)
            .bind(fences)
            .bind(words)
            .fetch_all(db)
            .await?;
    Ok(answers.into_iter().map(|(run, word)| (run, instruction(&word))).collect())
}

fn counted(word: &str, claimed: &Claimed) -> Result<Counted, Fault> {
    match word {
        "counted" => Ok(Counted::Counted),
        "already_counted" => Ok(Counted::AlreadyCounted),
        "fenced" => Ok(Counted::Fenced),
        _ => Err(Fault::no_campaign(claimed.campaign)),
    }
}

pub(super) async fn finish(
    db: &mut PgConnection,
    claimed: &Claimed,
    result: &RunResult,
) -> Result<Counted, Fault> {
    let word: String = sqlx::query_scalar("SELECT finish($1, $2, $3, $4)")
        .bind(&claimed.vm.host)
        .bind(claimed.run)
        .bind(integer(claimed.fence))
        .bind(fit::result(result)?)
        .fetch_one(db)
        .await?;
    counted(&word, claimed)
}

pub(super) async fn later(db: &mut PgConnection, claimed: &Claimed, later: &Later) -> Result<Counted, Fault> {
    let word: String = sqlx::query_scalar("SELECT later($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(&claimed.vm.host)
        .bind(claimed.run)
        .bind(integer(claimed.fence))
        .bind(super::words::word(&later.why)?)
        .bind(fit::line(&later.text))
        .bind(micros(later.after))
        .bind(later.did == Did::Unknown)
        .bind(later.did.known().map(fit::result).transpose()?)
        .fetch_one(db)
        .await?;
    counted(&word, claimed)
}

pub(super) async fn mine(db: &mut PgConnection, by: &Claimant) -> Result<Vec<Figures>, Fault> {
    let told: String = sqlx::query_scalar("SELECT mine($1)").bind(&by.host).fetch_one(db).await?;
    parsed(&told)
}

pub(super) async fn recover(db: &mut PgConnection, by: &Claimant) -> Result<u32, Fault> {
    let (runs, other): (Option<i64>, Option<String>) =
        sqlx::query_as("SELECT runs, other FROM recover($1, $2)")
            .bind(&by.host)
            .bind(&by.worker)
            .fetch_one(db)
            .await?;
    let Some(runs) = runs else {
        let text =
            format!("another worker stands for this host in the store ({})", other.unwrap_or_default());
        return Err(Fault::Told(
            Trouble::new(Kind::Busy, text)
                .hint("one worker per host; one that is gone is forgotten after its lease"),
        ));
    };
    Ok(count(runs))
}
