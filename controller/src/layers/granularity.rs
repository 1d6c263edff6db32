//! The smallest piece that the guest discards against the smallest that the image can free.

use super::{
    DiskFacts, Finding, Layer, State,
    extents::{free_below, smallest_piece},
    stack::filesystems_on,
};

pub(super) fn finding(facts: &DiskFacts<'_>) -> Option<Finding> {
    let piece = smallest_piece(facts)?;
    let (survey, disk) = facts.paired()?;
    let granularity = disk.discard_granularity?;
    let held: u64 = filesystems_on(survey, &disk.id)
        .filter(|on| on.filesystem.skip.is_none())
        .filter_map(|on| free_below(on.filesystem, piece))
        .fold(0, u64::saturating_add);
    if granularity == 0 || (granularity >= piece && held == 0) {
        return None;
    }
    let kib = |bytes: u64| bytes.checked_div(1024).unwrap_or(0);
    let fragments = match held {
        0 => String::new(),
        _ => format!("; {} MiB of the free space lies in smaller pieces", kib(kib(held))),
    };
    Some(
        Finding::new(
            Layer::Granularity,
            State::Note,
            format!(
                "{granularity} B under {} KiB clusters: claims too much, frees the same{fragments}",
                kib(piece)
            ),
        )
        .held((held > 0).then_some(held))
        .fix(format!("give the guest's disk discard_granularity={piece} (a device property of QEMU)")),
    )
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
        assert_eq!(found.held_bytes, Some(40 << 20));
        assert!(found.text.contains("40 MiB"), "{}", found.text);
        sample.survey.filesystems[0].free_extents.clear();
        assert_eq!(finding(&sample.facts()).unwrap().held_bytes, None);
        sample.guest_disk().discard_granularity = Some(65536);
        assert_eq!(finding(&sample.facts()), None);
    }

    #[test]
    fn raw_has_no_cluster() {
        assert_eq!(finding(&Sample::raw().facts()), None);
    }
}
