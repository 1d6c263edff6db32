//! The guest's filesystems on the disk, and the guest's own layers between them and it, as the agent's skips name
//! them.

use trimtab_proto::words::{DeviceKind, SkipReason};

use super::{
    DiskFacts, Finding, Layer, State,
    stack::{OnDisk, filesystems_on},
};
use crate::model::guest::{Device, GuestSurvey, Skip};

pub(super) fn findings(facts: &DiskFacts<'_>) -> Vec<Finding> {
    let Some((survey, disk)) = facts.paired() else { return Vec::new() };
    let mut found: Vec<Finding> = filesystems_on(survey, &disk.id)
        .map(|on| match &on.filesystem.skip {
            None => open(on),
            Some(skip) => skipped(survey, disk, on, skip),
        })
        .collect();
    // One filesystem that can be trimmed is a way through the guest; a cut beside it only holds its own part.
    if found.iter().any(|finding| finding.state == State::Open) {
        for finding in found.iter_mut().filter(|finding| finding.state == State::Cut) {
            finding.state = State::Holds;
        }
    }
    found
}

fn open(on: OnDisk<'_>) -> Finding {
    let fs = on.filesystem;
    Finding::new(Layer::Filesystem, State::Open, format!("{} on {}", fs.fs_type, fs.mount))
}

fn skipped(survey: &GuestSurvey, disk: &Device, on: OnDisk<'_>, skip: &Skip) -> Finding {
    let fs = on.filesystem;
    let held = on.alone.then_some(fs.free_bytes).flatten();
    let text = format!("{} on {} is left out: {}", fs.fs_type, fs.mount, skip.text);
    let cutting = survey.device(&skip.device_id);
    match (skip.reason.known(), cutting) {
        (Some(SkipReason::NoDiscard), Some(layer)) if layer.id != disk.id => {
            let (name, fix) = match layer.kind.known() {
                Some(DeviceKind::Crypt) => (
                    Layer::Crypt,
                    "in the guest: cryptsetup --allow-discards --persistent refresh NAME (it then shows which blocks \
                     are free), and discard in /etc/crypttab",
                ),
                Some(DeviceKind::Lvm) => (
                    Layer::Lvm,
                    "in the guest: look at `dmsetup table` and `lsblk -D` for the member that cannot discard",
                ),
                Some(DeviceKind::Md) => {
                    (Layer::Md, "in the guest: raid4, raid5 and raid6 pass no discards on")
                }
                _ => (Layer::Filesystem, "in the guest: `lsblk -D` shows where the granularity turns to 0"),
            };
            Finding::new(name, State::Cut, text).held(held).fix(fix)
        }
        // The disk itself: device.rs says so.
        (Some(SkipReason::NoDiscard), _) => Finding::new(Layer::Filesystem, State::Note, text).held(held),
        _ => Finding::new(Layer::Filesystem, State::Holds, text).held(held),
    }
}

#[cfg(test)]
mod tests {
    use trimtab_proto::words::Wire;

    use super::*;
    use crate::layers::samples::{Sample, device as a_device, filesystem as a_filesystem};

    fn crypt_sample() -> Sample {
        let mut sample = Sample::raw();
        sample.survey.devices.push(a_device("253:0", "dm-0", DeviceKind::Crypt, &["8:0"]));
        let mut secret = a_filesystem("253:0", "/secret", &["8:0"]);
        secret.free_bytes = Some(7 << 30);
        secret.skip = Some(Skip {
            reason: Wire::Known(SkipReason::NoDiscard),
            device_id: "253:0".into(),
            text: "dm-0 passes no discards on".into(),
        });
        sample.survey.filesystems.push(secret);
        sample
    }

    #[test]
    fn a_crypt_layer_cuts_when_it_is_the_only_way() {
        let mut sample = crypt_sample();
        let found = findings(&sample.facts());
        assert_eq!(found.iter().map(|f| f.state).collect::<Vec<_>>(), [State::Open, State::Holds]);
        assert_eq!(found[1].held_bytes, Some(7 << 30));
        sample.survey.filesystems.remove(0);
        let found = findings(&sample.facts());
        assert_eq!((found[0].layer, found[0].state), (Layer::Crypt, State::Cut));
    }

    #[test]
    fn the_disk_itself_is_not_accused_twice() {
        let mut sample = crypt_sample();
        sample.survey.filesystems.remove(0);
        sample.survey.filesystems[0].skip.as_mut().unwrap().device_id = "8:0".into();
        assert_eq!(findings(&sample.facts())[0].state, State::Note);
    }

    #[test]
    fn what_spans_disks_holds_no_figure() {
        let mut sample = crypt_sample();
        sample.survey.filesystems[1].leaf_ids.push("8:16".into());
        assert_eq!(findings(&sample.facts())[1].held_bytes, None);
    }
}
