//! The disk as the guest sees it: whether it offers discard at all.

use super::{DiskFacts, Finding, Layer, State, words};
use crate::model::guest::Device;

/// `discard_granularity` 0 is the kernel's "cannot discard" (Documentation/ABI/stable/sysfs-block).
pub(super) fn findings(facts: &DiskFacts<'_>) -> Vec<Finding> {
    // Without a guest there is nobody to pair with: the agent's finding says why.
    if facts.survey.is_none() {
        return Vec::new();
    }
    let Some(disk) = facts.guest else {
        return vec![
            Finding::new(Layer::Device, State::Unknown, "no disk of the guest could be paired with it")
                .short("not paired")
                .fix("give it a serial, or name it in the inventory: guest = \"NAME\" under its [[vm.disk]]"),
        ];
    };
    let mut found = Vec::new();
    if disk.provisioning_mode == "disabled" {
        found.push(switched_off(disk));
    }
    let front_end = match facts.host.front_end.as_str() {
        "" => "the disk",
        name => name,
    };
    found.push(match (disk.discard_granularity, disk.discard_max_bytes) {
        (Some(0), _) | (_, Some(0)) if found.is_empty() => none_offered(facts, front_end),
        (None, None) => {
            Finding::new(Layer::Device, State::Unknown, "the guest does not say whether it can discard")
                .short("device not known")
        }
        (_, max) => {
            let max =
                max.map(|bytes| format!(", up to {} a request", words::size(bytes))).unwrap_or_default();
            let state = if found.is_empty() { State::Open } else { State::Note };
            Finding::new(Layer::Device, state, format!("{front_end} offers discards{max}"))
        }
    });
    found
}

/// sd's answer to one refused UNMAP (drivers/scsi/sd.c).
fn switched_off(disk: &Device) -> Finding {
    let finding = Finding::new(
        Layer::Scsi,
        State::Cut,
        "the guest switched discards off after the disk refused one (provisioning_mode)",
    )
    .short("SCSI discard off");
    let is_name = !disk.name.is_empty() && disk.name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match is_name {
        true => finding
            .fix("in the guest, have it look again (or reboot):")
            .paste(format!("echo 1 > /sys/class/block/{}/device/rescan", disk.name)),
        false => finding.fix("reboot the guest, or rescan the disk in it"),
    }
}

fn none_offered(facts: &DiskFacts<'_>, front_end: &str) -> Finding {
    let finding =
        Finding::new(Layer::Device, State::Cut, format!("{front_end} offers the guest no discard at all"))
            .short("no discard offered");
    let what = "virtio-blk offers it with machine type 4.0 or newer and a guest kernel of 5.0 or newer, virtio-scsi \
                always; either change needs a power cycle";
    match words::virsh(facts.vm, "edit") {
        Some(edit) => finding.fix(format!("{what}:")).paste(edit),
        None => finding.fix(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::samples::Sample;

    #[test]
    fn states() {
        type Case = (&'static str, Option<u64>, Option<u64>, &'static str, &'static [(Layer, State)]);
        let cases: [Case; 5] = [
            ("scsi", Some(4096), Some(1 << 30), "unmap", &[(Layer::Device, State::Open)]),
            ("old machine", Some(0), Some(0), "", &[(Layer::Device, State::Cut)]),
            ("switched off", Some(4096), Some(0), "", &[(Layer::Device, State::Cut)]),
            (
                "refused",
                Some(0),
                Some(0),
                "disabled",
                &[(Layer::Scsi, State::Cut), (Layer::Device, State::Note)],
            ),
            ("not said", None, None, "", &[(Layer::Device, State::Unknown)]),
        ];
        for (name, granularity, max, mode, expected) in cases {
            let mut sample = Sample::raw();
            let disk = sample.guest_disk();
            disk.discard_granularity = granularity;
            disk.discard_max_bytes = max;
            disk.provisioning_mode = mode.into();
            let found: Vec<_> = findings(&sample.facts()).iter().map(|f| (f.layer, f.state)).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn an_unpaired_disk_is_unknown() {
        let mut sample = Sample::raw();
        sample.paired = false;
        assert_eq!(findings(&sample.facts())[0].state, State::Unknown);
    }
}
