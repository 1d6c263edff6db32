//! QEMU's `discard=` of the drive: unset means ignore, and the guest cannot see it.

use super::{DiskFacts, Finding, Layer, State, words};
use crate::model::disk::{DriveDiscard, SaidBy};

pub(super) fn finding(facts: &DiskFacts<'_>) -> Finding {
    let arrived_before = facts.counters.arrived_bytes.unwrap_or(0) > 0;
    match facts.host.discard {
        DriveDiscard::Unmap => Finding::new(
            Layer::Drive,
            State::Open,
            match facts.host.discard_said_by {
                SaidBy::CommandLine => "discard=unmap on QEMU's command line",
                SaidBy::LiveXml => "discard='unmap' in the live XML",
            },
        ),
        // Counters outrank both: a drive that was opened anew since may pass discards.
        _ if arrived_before => {
            Finding::new(Layer::Drive, State::Open, "discards have reached the image since QEMU opened it")
        }
        DriveDiscard::Ignore => ignored(facts),
        DriveDiscard::Unknown => Finding::new(
            Layer::Drive,
            State::Unknown,
            "nothing tells whether QEMU passes discards of this disk on",
        )
        .short("discard not known")
        .fix("name the VM's QMP socket in the inventory, or let a probe with a small file show it (--probe)"),
    }
}

fn ignored(facts: &DiskFacts<'_>) -> Finding {
    let finding = Finding::new(
        Layer::Drive,
        State::Cut,
        "discard is not set to unmap: QEMU drops what the guest sends",
    )
    .short("discard ignored");
    match words::trimtab(facts.vm, "doctor", "--fix") {
        Some(line) => finding
            .fix(
                "set discard='unmap' on this disk (the line shows the change and asks), then power-cycle the VM: a \
                 reboot inside is not enough",
            )
            .paste(line),
        None => finding
            .fix("add discard=unmap to its -drive, or to every -blockdev node of it; then power-cycle the VM"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{layers::samples::Sample, model::disk::Manager};

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

    #[test]
    fn a_fix_in_the_managers_words() {
        let mut sample = Sample::raw();
        sample.host.discard = DriveDiscard::Ignore;
        let by_hand = finding(&sample.facts()).fix.unwrap();
        assert!(by_hand.text.contains("-blockdev") && by_hand.paste.is_empty(), "{by_hand:?}");
        sample.vm.manager = Manager::Libvirt { uri: "qemu:///system".into(), domain: "$(x)".into() };
        let managed = finding(&sample.facts()).fix.unwrap();
        assert_eq!(managed.paste, ["trimtab doctor '$(x)' --fix"]);
        assert!(managed.text.contains("power-cycle"));
    }
}
