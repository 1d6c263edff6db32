//! The disk as the guest sees it: whether it offers discard at all.

use super::{DiskFacts, Finding, Layer, State};

/// `discard_granularity` 0 is the kernel's "cannot discard" (Documentation/ABI/stable/sysfs-block).
pub(super) fn findings(facts: &DiskFacts<'_>) -> Vec<Finding> {
    let Some(disk) = facts.guest else {
        return vec![Finding::new(
            Layer::Device,
            State::Unknown,
            "no disk of the guest could be paired with it",
        )];
    };
    let mut found = Vec::new();
    if disk.provisioning_mode == "disabled" {
        found.push(
            Finding::new(
                Layer::Scsi,
                State::Cut,
                "the guest's kernel has switched discards off after the disk refused one (provisioning_mode disabled)",
            )
            .fix("in the guest: reboot, or rescan the disk: echo 1 > /sys/class/block/DISK/device/rescan"),
        );
    }
    let front_end = match facts.host.front_end.as_str() {
        "" => "the disk",
        name => name,
    };
    found.push(match (disk.discard_granularity, disk.discard_max_bytes) {
        (Some(0), _) | (_, Some(0)) if found.is_empty() => Finding::new(
            Layer::Device,
            State::Cut,
            format!("{front_end} offers the guest no discard at all"),
        )
        .fix(
            "give the VM a newer machine type (virtio-blk discards since 4.0 and guest kernel 5.0), or put the disk \
             on virtio-scsi; needs a power cycle",
        ),
        (None, None) => Finding::new(Layer::Device, State::Unknown, "the guest does not say whether it can discard"),
        (granularity, max) => Finding::new(
            Layer::Device,
            if found.is_empty() { State::Open } else { State::Note },
            format!(
                "{front_end}, granularity {} B, at most {} B a request",
                granularity.unwrap_or(0),
                max.unwrap_or(0)
            ),
        ),
    });
    found
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
