//! `trimtab campaign`: plan, apply, and what a person says and asks of campaigns afterwards.

mod apply;
mod follow;
mod list;
mod orphans;
mod plan;
mod report;
mod status;
mod steer;
pub(super) mod store;
mod views;
mod which;

use super::{
    args::{
        Global,
        campaign::{CampaignArgs, CampaignCommand},
    },
    output::Output,
};
use crate::{campaign::store::Order, model::trouble::Trouble};

pub(super) async fn run(global: &Global, args: &CampaignArgs, output: &Output) -> Result<u8, Trouble> {
    let store = &args.store;
    match &args.command {
        CampaignCommand::Plan(args) => plan::run(global, store, args, output).await,
        CampaignCommand::Apply(args) => apply::run(global, store, args, output).await,
        CampaignCommand::List => list::run(global, store, output).await,
        CampaignCommand::Status(which) => status::run(global, store, *which, output).await,
        CampaignCommand::Pause(which) => steer::run(global, store, *which, &Order::Pause, output).await,
        CampaignCommand::Resume(which) => steer::run(global, store, *which, &Order::Resume, output).await,
        CampaignCommand::Abort(args) => steer::abort(global, store, args, output).await,
        CampaignCommand::Report(args) => report::run(global, store, args, output).await,
    }
}
