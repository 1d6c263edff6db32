//! A person's orders. One that changes nothing is no error; one that cannot be meant is.

use super::{
    Connection,
    close::{close, end_waiting, note},
    fault::Fault,
    look::campaign,
    read,
    words::word,
};
use crate::{
    campaign::{
        account::{CampaignState, Summary},
        store::Order,
    },
    model::trouble::{Kind, Trouble},
};

pub(super) async fn order(
    db: &mut Connection,
    id: i64,
    order: &Order,
    who: &str,
    now: i64,
) -> Result<Summary, Fault> {
    use CampaignState::{Aborted, Aborting, Active, Done, Paused, Stopped};
    let state = campaign(db, id).await?.state;
    match (order, state) {
        (Order::Pause, Active) => to(db, id, Paused, "paused", who, now).await?,
        (Order::Resume, Paused) => to(db, id, Active, "resumed", who, now).await?,
        (Order::Resume, Stopped) => {
            to(db, id, Active, "resumed", who, now).await?;
            // A person has looked: what stopped it is history.
            sqlx::query(
                "UPDATE campaign SET why = NULL, cancels = FALSE, since = (SELECT max(id) FROM event) WHERE id = $1",
            )
            .bind(id)
            .execute(&mut *db)
            .await?;
        }
        (Order::Abort, Active | Paused | Stopped) => {
            to(db, id, Aborting, "aborting", who, now).await?;
            sqlx::query("UPDATE campaign SET cancels = TRUE WHERE id = $1")
                .bind(id)
                .execute(&mut *db)
                .await?;
            end_waiting(db, id, now).await?;
            close(db, id, Aborting, now).await?;
        }
        (Order::Pause, Paused | Stopped)
        | (Order::Resume, Active)
        | (Order::Abort, Aborting | Aborted | Done) => {}
        (Order::Pause | Order::Resume, Aborting | Aborted | Done) => {
            let text = format!("campaign {id} is {}: it admits nothing any more", word(&state)?);
            return Err(Fault::Told(
                Trouble::new(Kind::UnknownCampaign, text)
                    .hint("trimtab campaign report shows what came of it"),
            ));
        }
    }
    read::summary(db, id).await
}

async fn to(
    db: &mut Connection,
    id: i64,
    state: CampaignState,
    what: &str,
    who: &str,
    now: i64,
) -> Result<(), Fault> {
    sqlx::query("UPDATE campaign SET state = $2 WHERE id = $1")
        .bind(id)
        .bind(word(&state)?)
        .execute(&mut *db)
        .await?;
    note(db, now, (Some(id), None), what, who, "", None).await?;
    Ok(())
}
