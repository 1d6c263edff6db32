//! A job on the disk or on the whole VM: du moves for other reasons, and discards under a job have lost data before.

use super::{DiskFacts, Finding, Guard, Layer, State};

/// What is going on, as the beginning of a sentence.
fn job(facts: &DiskFacts<'_>) -> Option<String> {
    let on_disk = facts.host.block_job.as_ref().map(|job| format!("a block job is {job} on this disk"));
    on_disk.or_else(|| facts.vm.job.as_ref().map(|job| format!("the VM is busy: {job}")))
}

pub(super) fn finding(facts: &DiskFacts<'_>) -> Option<Finding> {
    Some(Finding::new(Layer::Job, State::Note, job(facts)?).short("a job runs"))
}

pub(super) fn guard(facts: &DiskFacts<'_>) -> Option<Guard> {
    Some(Guard {
        layer: Layer::Job,
        text: format!("{}; trim when it is over", job(facts)?),
        short: "a job runs".to_owned(),
        passes_by_itself: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{guard, samples::Sample};

    #[test]
    fn a_job_guards_until_it_is_over_or_overridden() {
        for (name, disk, vm) in
            [("a block job", Some("running"), None), ("a migration", None, Some("migration"))]
        {
            let mut sample = Sample::raw();
            assert_eq!(guard(&sample.facts(), &[]), None);
            sample.host.block_job = disk.map(str::to_owned);
            sample.vm.job = vm.map(str::to_owned);
            let said = guard(&sample.facts(), &[]).unwrap();
            assert_eq!((said.layer, said.passes_by_itself), (Layer::Job, true), "{name}");
            assert_eq!(guard(&sample.facts(), &[Layer::Job]), None, "{name}");
            assert_eq!(finding(&sample.facts()).unwrap().state, State::Note, "{name}");
        }
    }
}
