//! `trimtab campaign list`.

use super::store;
use crate::{
    campaign::store::Store,
    cli::{
        args::{Global, campaign::StoreArgs},
        exit,
        output::Output,
    },
    model::trouble::Trouble,
    render::{campaign::list::table, json::campaign::ListDocument},
};

pub(super) async fn run(global: &Global, args: &StoreArgs, output: &Output) -> Result<u8, Trouble> {
    let campaigns = store::to_read(global, args).await?.list().await?;
    output.result(&ListDocument::new(&campaigns), || table(&campaigns));
    Ok(exit::OK)
}
