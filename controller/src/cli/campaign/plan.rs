//! `trimtab campaign plan`.

use crate::{
    cli::{
        args::{
            Global,
            campaign::{PlanArgs, StoreArgs},
        },
        output::Output,
    },
    model::trouble::{Kind, Trouble},
};

pub(super) async fn run(
    _global: &Global,
    _store: &StoreArgs,
    _args: &PlanArgs,
    _output: &Output,
) -> Result<u8, Trouble> {
    Err(Trouble::new(Kind::Store, "this build keeps no campaigns"))
}
