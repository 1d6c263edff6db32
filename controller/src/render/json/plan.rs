//! `trimtab.campaign_plan/1` and `trimtab.campaign_apply/1`: docs/schema/campaign_plan.json.

use jiff::Timestamp;
use serde::Serialize;

use crate::campaign::{
    limits::Limits,
    plan::{LeftOut, Plan, PlanDatastore, PlanHost, PlanVm},
    store::NewCampaign,
    window::Window,
};

/// What a plan says.
#[derive(Serialize, Debug)]
pub struct PlanDocument<'a> {
    schema: &'static str,
    exit: u8,
    /// Where it was written.
    file: &'a str,
    name: &'a str,
    hosts: &'a [PlanHost],
    surveyed: Timestamp,
    limits: &'a Limits,
    windows: &'a [Window],
    expected_bytes: u64,
    datastores: &'a [PlanDatastore],
    vms: &'a [PlanVm],
    left_out: &'a [LeftOut],
}

impl<'a> PlanDocument<'a> {
    /// Of a plan in a file.
    pub fn new(plan: &'a Plan, file: &'a str, exit: u8) -> Self {
        Self {
            schema: "trimtab.campaign_plan/1",
            exit,
            file,
            name: &plan.name,
            hosts: &plan.hosts,
            surveyed: plan.surveyed,
            limits: &plan.limits,
            windows: &plan.windows,
            expected_bytes: plan.expected_bytes(),
            datastores: &plan.datastores,
            vms: &plan.vms,
            left_out: &plan.left_out,
        }
    }
}

/// What was taken on.
#[derive(Serialize, Debug)]
pub struct ApplyDocument<'a> {
    schema: &'static str,
    exit: u8,
    /// The campaign's number; `null`: it was only checked.
    campaign: Option<i64>,
    name: &'a str,
    vms: usize,
    expected_bytes: u64,
    /// When trims may run, in UTC; empty: always.
    windows: &'a [(Timestamp, Timestamp)],
}

impl<'a> ApplyDocument<'a> {
    /// Of a plan as it was handed in.
    pub fn new(campaign: Option<i64>, taken: &'a NewCampaign) -> Self {
        Self {
            schema: "trimtab.campaign_apply/1",
            exit: 0,
            campaign,
            name: &taken.name,
            vms: taken.runs.len(),
            expected_bytes: taken.runs.iter().map(|run| run.expected_bytes).fold(0, u64::saturating_add),
            windows: &taken.windows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        campaign::plan::samples::{self, plan},
        render::json::check,
    };

    const SCHEMA: &str = "campaign_plan.json";

    #[test]
    fn what_the_schema_promises() {
        let mut plan = plan();
        check(SCHEMA, &PlanDocument::new(&plan, "plan.toml", 0));
        check(SCHEMA, &PlanDocument::new(&samples::fleet(), "plan.toml", 0));
        let mut campaign = plan.campaign("text", "root@h", plan.surveyed);
        check(SCHEMA, &ApplyDocument::new(Some(7), &campaign));
        campaign.windows.clear();
        check(SCHEMA, &ApplyDocument::new(None, &campaign));
        plan.vms.clear();
        check(SCHEMA, &PlanDocument::new(&plan, "-", 32));
    }
}
