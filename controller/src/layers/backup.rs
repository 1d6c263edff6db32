//! Dirty bitmaps: a backup that copies what changed since the last one. A discard is a change, so the next incremental
//! backup has to look at all that a trim discards.

use super::{DiskFacts, Finding, Layer, State};

pub(super) fn finding(facts: &DiskFacts<'_>) -> Option<Finding> {
    let in_header = facts.image.and_then(|image| image.header).map_or(0, |header| header.bitmaps);
    let text = match facts.host.dirty_bitmaps.max(in_header) {
        0 => return None,
        1 => "a dirty bitmap is kept for backups".to_owned(),
        several => format!("{several} dirty bitmaps are kept for backups"),
    };
    Some(
        Finding::new(Layer::Backup, State::Note, format!("{text}: a trim makes the next one larger"))
            .short("dirty bitmap")
            .warns()
            .fix("trim right before a full backup rather than before an incremental one"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::samples::{HEADER, Sample},
        model::image::Qcow2Header,
    };

    #[test]
    fn bitmaps_are_told_before_a_trim() {
        let mut sample = Sample::raw();
        assert_eq!(finding(&sample.facts()), None);
        sample.host.dirty_bitmaps = 1;
        let one = finding(&sample.facts()).unwrap();
        assert!(one.warns && one.state == State::Note && one.text.starts_with("a dirty bitmap"), "{one:?}");
        sample.host.dirty_bitmaps = 3;
        assert!(finding(&sample.facts()).unwrap().text.starts_with("3 dirty bitmaps"));
        let stored = Sample::qcow2(Qcow2Header { bitmaps: 2, ..HEADER });
        assert!(finding(&stored.facts()).is_some(), "in the header, where QMP was not asked");
    }
}
