//! How QEMU reaches the image, and what its own counter says of discards that failed there.

use super::{DiskFacts, Finding, Layer, State};

pub(super) fn findings(facts: &DiskFacts<'_>) -> Vec<Finding> {
    elsewhere(facts).into_iter().chain(failed(facts)).collect()
}

fn elsewhere(facts: &DiskFacts<'_>) -> Option<Finding> {
    if facts.host.image.is_some() {
        return None;
    }
    let by = match facts.host.protocol.as_str() {
        "" => "in a way that is not known".to_owned(),
        protocol => format!("by {protocol}"),
    };
    Some(
        Finding::new(
            Layer::Protocol,
            State::Unknown,
            format!("QEMU reaches this disk {by}, which cannot be measured from here"),
        )
        .short("no local image"),
    )
}

/// After the first EOPNOTSUPP QEMU tries no more until the node is opened again (handle_aiocb_discard() in
/// block/file-posix.c).
fn failed(facts: &DiskFacts<'_>) -> Option<Finding> {
    let failed = facts.counters.failed_requests.filter(|requests| *requests > 0)?;
    let text = format!("{failed} discards have failed at the image since QEMU opened it");
    Some(match facts.counters.arrived_bytes {
        Some(0) => Finding::new(Layer::Protocol, State::Cut, format!("{text}, and none got through"))
            .short("discards fail")
            .fix(
                "the host filesystem or its server cannot punch holes, or could not; once it can, power-cycle the VM: \
                 QEMU does not try again before",
            ),
        _ => Finding::new(Layer::Protocol, State::Note, text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{layers::samples::Sample, model::disk::DiskCounters};

    #[test]
    fn what_is_not_on_this_host() {
        let mut sample = Sample::raw();
        assert!(findings(&sample.facts()).is_empty());
        sample.host.image = None;
        for (protocol, expected) in [("nbd", "by nbd"), ("", "not known")] {
            sample.host.protocol = protocol.into();
            let found = findings(&sample.facts());
            assert_eq!(found[0].state, State::Unknown);
            assert!(found[0].text.contains(expected), "{}", found[0].text);
        }
    }

    #[test]
    fn discards_that_failed() {
        for (failed, arrived, expected) in [
            (Some(0), Some(0), None),
            (Some(3), Some(0), Some(State::Cut)),
            (Some(3), Some(1 << 20), Some(State::Note)),
            (None, None, None),
        ] {
            let mut sample = Sample::raw();
            sample.counters = DiskCounters {
                written_bytes: None,
                arrived_bytes: arrived,
                failed_requests: failed,
                failed_io: None,
            };
            let found = findings(&sample.facts());
            assert_eq!(found.first().map(|f| f.state), expected, "{failed:?} {arrived:?}");
        }
    }
}
