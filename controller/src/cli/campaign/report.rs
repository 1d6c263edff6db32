//! `trimtab campaign report`.

use crate::{
    cli::{
        args::{
            Global,
            campaign::{CampaignId, StoreArgs},
        },
        output::Output,
    },
    model::trouble::{Kind, Trouble},
};

pub(super) async fn run(
    _global: &Global,
    _store: &StoreArgs,
    _which: CampaignId,
    _output: &Output,
) -> Result<u8, Trouble> {
    Err(Trouble::new(Kind::Store, "this build keeps no campaigns"))
}
