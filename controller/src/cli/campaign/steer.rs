//! `trimtab campaign pause|resume|abort`.

use nix::unistd::gethostname;

use super::{follow::follow, orphans, store, which::which};
use crate::{
    campaign::{
        account::{CampaignState, Status},
        store::{Order, Store, any::AnyStore},
    },
    cli::{
        args::{
            Global,
            campaign::{AbortArgs, CampaignId, StoreArgs},
        },
        exit, interrupt, journal,
        output::Output,
    },
    model::trouble::Trouble,
    render::{campaign::status::screen, json::campaign::StatusDocument},
};

pub(super) async fn run(
    global: &Global,
    args: &StoreArgs,
    campaign: CampaignId,
    order: &Order,
    output: &Output,
) -> Result<u8, Trouble> {
    let (store, id) = open(global, args, campaign).await?;
    store.order(id, order, &who()).await?;
    let status = store.status(id).await?;
    show(&status, exit::OK, output);
    Ok(exit::OK)
}

pub(super) async fn abort(
    global: &Global,
    args: &StoreArgs,
    abort: &AbortArgs,
    output: &Output,
) -> Result<u8, Trouble> {
    let (store, id) = open(global, args, abort.campaign).await?;
    store.order(id, &Order::Abort, &who()).await?;
    let status = match abort.no_wait {
        true => store.status(id).await?,
        false => {
            // Ctrl-C leaves here as well: the order stands.
            orphans::take_back(&store, id, &store::config(global, args)?, *output).await?;
            tokio::select! {
                status = follow(&store, id, *output, global.quiet, interrupt::once()?) => status?,
                never = orphans::expire(&store, id) => match never {},
            }
        }
    };
    let exit = match status.summary.state {
        CampaignState::Aborting if !abort.no_wait => exit::INTERRUPTED,
        _ => exit::OK,
    };
    show(&status, exit, output);
    Ok(exit)
}

/// The store and the campaign that is meant. A store that is not there is not made for that.
async fn open(global: &Global, args: &StoreArgs, campaign: CampaignId) -> Result<(AnyStore, i64), Trouble> {
    let id = which(&store::to_read(global, args).await?, campaign.id, false).await?;
    Ok((store::to_write(&store::config(global, args)?).await?, id))
}

fn show(status: &Status, exit: u8, output: &Output) {
    output.result(&StatusDocument::new(status, exit), || screen(status));
}

/// Who orders, for the history: "root@node1".
pub(super) fn who() -> String {
    let host = gethostname().map_or_else(|_| "?".to_owned(), |name| name.to_string_lossy().into_owned());
    format!("{}@{host}", journal::who())
}
