//! `trimtab campaign report`.

use super::{store, which::which};
use crate::{
    campaign::store::Store,
    cli::{
        args::{
            Global,
            campaign::{ReportArgs, StoreArgs},
        },
        exit,
        output::Output,
    },
    model::trouble::Trouble,
    render::{
        campaign::{history, report},
        json::campaign::ReportDocument,
    },
};

pub(super) async fn run(
    global: &Global,
    args: &StoreArgs,
    which_one: &ReportArgs,
    output: &Output,
) -> Result<u8, Trouble> {
    let store = store::to_read(global, args).await?;
    let id = which(&store, which_one.campaign.id, true).await?;
    let (status, runs, events) = (store.status(id).await?, store.runs(id).await?, store.events(id).await?);
    output.result(&ReportDocument::new(&status, &runs, &events), || match which_one.history {
        true => events.iter().map(|event| format!("{}\n", history::line(event, &status.names))).collect(),
        false => report::text(&status, &runs, which_one.all),
    });
    Ok(exit::OK)
}
