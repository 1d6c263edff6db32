//! A block job on the disk: du moves for other reasons, and discards under a job have lost data before.

use super::{DiskFacts, Finding, Guard, Layer, State};

pub(super) fn finding(facts: &DiskFacts<'_>) -> Option<Finding> {
    let job = facts.host.block_job.as_ref()?;
    Some(Finding::new(Layer::Job, State::Note, format!("a block job is {job} on this disk")))
}

pub(super) fn guard(facts: &DiskFacts<'_>) -> Option<Guard> {
    let job = facts.host.block_job.as_ref()?;
    Some(Guard {
        layer: Layer::Job,
        text: format!("a block job is {job} on this disk; trim when it is over"),
        short: "block job".to_owned(),
        passes_by_itself: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{guard, samples::Sample};

    #[test]
    fn a_job_guards_until_it_is_over_or_overridden() {
        let mut sample = Sample::raw();
        assert_eq!(guard(&sample.facts(), &[]), None);
        sample.host.block_job = Some("running".into());
        let said = guard(&sample.facts(), &[]).unwrap();
        assert_eq!((said.layer, said.passes_by_itself), (Layer::Job, true));
        assert_eq!(guard(&sample.facts(), &[Layer::Job]), None);
        assert_eq!(finding(&sample.facts()).unwrap().state, State::Note);
    }
}
