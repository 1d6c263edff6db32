//! `trimtab list`: reads the inventory and nothing else.

use super::{
    args::{Global, Selection},
    exit,
    output::Output,
    vms,
};
use crate::{
    model::trouble::Trouble,
    render::{json::list::ListDocument, list},
};

pub(super) async fn run(global: &Global, selection: &Selection, output: &Output) -> Result<u8, Trouble> {
    let known = vms::load(global, None).await?;
    let vms = known.select(selection)?;
    output.result(&ListDocument::new(&vms), || match vms.is_empty() {
        true => "no VM is known here\n".to_owned(),
        false => list::table(&vms),
    });
    Ok(exit::OK)
}
