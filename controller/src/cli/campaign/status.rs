//! `trimtab campaign status`.

use super::{store, which::which};
use crate::{
    campaign::store::Store,
    cli::{
        args::{
            Global,
            campaign::{CampaignId, StoreArgs},
        },
        exit,
        output::Output,
    },
    model::trouble::Trouble,
    render::{campaign::status::screen, json::campaign::StatusDocument},
};

pub(super) async fn run(
    global: &Global,
    args: &StoreArgs,
    campaign: CampaignId,
    output: &Output,
) -> Result<u8, Trouble> {
    let store = store::to_read(global, args).await?;
    let status = store.status(which(&store, campaign.id, true).await?).await?;
    output.result(&StatusDocument::new(&status, exit::OK), || screen(&status));
    Ok(exit::OK)
}
