//! `trimtab campaign pause|resume|abort`.

use crate::{
    campaign::store::Order,
    cli::{
        args::{
            Global,
            campaign::{AbortArgs, CampaignId, StoreArgs},
        },
        output::Output,
    },
    model::trouble::{Kind, Trouble},
};

pub(super) async fn run(
    _global: &Global,
    _store: &StoreArgs,
    _which: CampaignId,
    _order: &Order,
    _output: &Output,
) -> Result<u8, Trouble> {
    Err(Trouble::new(Kind::Store, "this build keeps no campaigns"))
}

pub(super) async fn abort(
    _global: &Global,
    _store: &StoreArgs,
    _args: &AbortArgs,
    _output: &Output,
) -> Result<u8, Trouble> {
    Err(Trouble::new(Kind::Store, "this build keeps no campaigns"))
}
