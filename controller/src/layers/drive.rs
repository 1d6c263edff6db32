//! QEMU's `discard=` of the drive: unset means ignore, and the guest cannot see it.

use super::{DiskFacts, Finding, Layer, State};
use crate::model::disk::DriveDiscard;

pub(super) fn finding(facts: &DiskFacts<'_>) -> Finding {
    let arrived_before = facts.counters.arrived_bytes.unwrap_or(0) > 0;
    match facts.host.discard {
        DriveDiscard::Unmap => {
            Finding::new(Layer::Drive, State::Open, "discard=unmap on QEMU's command line")
        }
        // Counters outrank the command line: a drive that was opened anew since may pass discards.
        _ if arrived_before => {
            Finding::new(Layer::Drive, State::Open, "discards have reached the image since QEMU opened it")
        }
        DriveDiscard::Ignore => Finding::new(
            Layer::Drive,
            State::Cut,
            "no discard=unmap on this drive: QEMU drops what the guest sends",
        )
        .fix("add discard=unmap to the -drive or to both -blockdev nodes, then power-cycle the VM"),
        DriveDiscard::Unknown => Finding::new(
            Layer::Drive,
            State::Unknown,
            "not known to pass discards: QEMU's command line does not name this disk, and none has arrived yet",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::samples::Sample;

    #[test]
    fn states() {
        let cases = [
            (DriveDiscard::Unmap, 0, State::Open),
            (DriveDiscard::Unmap, 1, State::Open),
            (DriveDiscard::Ignore, 0, State::Cut),
            (DriveDiscard::Ignore, 1, State::Open),
            (DriveDiscard::Unknown, 0, State::Unknown),
            (DriveDiscard::Unknown, 1, State::Open),
        ];
        for (discard, arrived, expected) in cases {
            let mut sample = Sample::raw();
            sample.host.discard = discard;
            sample.counters.arrived_bytes = Some(arrived);
            assert_eq!(finding(&sample.facts()).state, expected, "{discard:?} {arrived}");
        }
    }
}
