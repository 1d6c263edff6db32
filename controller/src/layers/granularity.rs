//! The smallest piece that the guest discards against the smallest that the image can free.

use super::{
    DiskFacts, Finding, Layer, State,
    extents::{free_below, smallest_piece},
    stack::filesystems_on,
    words,
};

pub(super) fn finding(facts: &DiskFacts<'_>) -> Option<Finding> {
    let (survey, disk) = facts.paired()?;
    // A disk that offers no discard is device.rs's to tell.
    let granularity = disk.discard_granularity.filter(|bytes| *bytes > 0)?;
    let Some(piece) = smallest_piece(facts) else {
        let text = format!("{}: the image frees any block", words::size(granularity));
        return Some(Finding::new(Layer::Granularity, State::Open, text));
    };
    let held: u64 = filesystems_on(survey, &disk.id)
        .filter(|on| on.filesystem.skip.is_none())
        .filter_map(|on| free_below(on.filesystem, piece))
        .fold(0, u64::saturating_add);
    let (asked, frees) = (words::size(granularity), words::size(piece));
    if granularity >= piece && held == 0 {
        let text = format!("{asked} for pieces of {frees}");
        return Some(Finding::new(Layer::Granularity, State::Open, text));
    }
    let text = match held {
        0 => format!("{asked} for pieces of {frees}: claims too much, frees the same"),
        _ => format!("{} of free space in pieces below {frees}, which stay", words::size(held)),
    };
    let mut finding = Finding::new(Layer::Granularity, State::Note, text).short("fragments");
    if granularity < piece {
        finding = finding.fix(format!(
            "to make the claim honest and the trim faster, give the guest's disk discard_granularity={piece} (a \
             property of QEMU's device; libvirt: <blockio discard_granularity='{piece}'/>, where it is new enough to \
             keep that); it frees no more"
        ));
    }
    Some(finding.held((held > 0).then_some(held)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::samples::{HEADER, Sample},
        model::guest::FreeExtents,
    };

    #[test]
    fn small_extents_are_held() {
        let mut sample = Sample::qcow2(HEADER);
        sample.survey.filesystems[0].free_extents = vec![
            FreeExtents { at_least_bytes: 4096, bytes: 100 << 20 },
            FreeExtents { at_least_bytes: 65536, bytes: 60 << 20 },
            FreeExtents { at_least_bytes: 1 << 20, bytes: 10 << 20 },
        ];
        let found = finding(&sample.facts()).unwrap();
        assert_eq!((found.held_bytes, found.state), (Some(40 << 20), State::Note));
        assert!(found.text.starts_with("40.0 MiB of free space"), "{}", found.text);
        sample.survey.filesystems[0].free_extents.clear();
        let found = finding(&sample.facts()).unwrap();
        assert_eq!((found.held_bytes, found.state), (None, State::Note));
        sample.guest_disk().discard_granularity = Some(65536);
        assert_eq!(finding(&sample.facts()).unwrap().state, State::Open);
    }

    #[test]
    fn raw_frees_any_block() {
        let mut sample = Sample::raw();
        assert_eq!(finding(&sample.facts()).unwrap().state, State::Open);
        sample.guest_disk().discard_granularity = Some(0);
        assert_eq!(finding(&sample.facts()), None);
    }
}
