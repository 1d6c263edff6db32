//! `trimtab worker`.

use super::{
    args::{Global, campaign::WorkerArgs},
    output::Output,
};
use crate::model::trouble::{Kind, Trouble};

pub(super) async fn run(_global: &Global, _args: &WorkerArgs, _output: &Output) -> Result<u8, Trouble> {
    Err(Trouble::new(Kind::Store, "this build keeps no campaigns"))
}
