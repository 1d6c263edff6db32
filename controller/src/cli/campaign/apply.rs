//! `trimtab campaign apply`.

use crate::{
    cli::{
        args::{
            Global,
            campaign::{ApplyArgs, StoreArgs},
        },
        output::Output,
    },
    model::trouble::{Kind, Trouble},
};

pub(super) async fn run(
    _global: &Global,
    _store: &StoreArgs,
    _args: &ApplyArgs,
    _output: &Output,
) -> Result<u8, Trouble> {
    Err(Trouble::new(Kind::Store, "this build keeps no campaigns"))
}
