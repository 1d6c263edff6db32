//! The image's format: what of it passes no discards on, and what in it keeps clusters.

use super::{DiskFacts, Finding, Layer, State, quoted};
use crate::model::image::{Format, ImageFacts, Qcow2Header};

pub(super) fn findings(facts: &DiskFacts<'_>) -> Vec<Finding> {
    let Some(image) = &facts.host.image else {
        return vec![Finding::new(
            Layer::Protocol,
            State::Unknown,
            format!("QEMU reaches this disk by {:?}, which trimtab cannot measure", facts.host.protocol),
        )];
    };
    match (&image.format, facts.image.and_then(|image| image.header.as_ref())) {
        (Format::Raw, _) => vec![Finding::new(Layer::Format, State::Open, "raw")],
        (Format::Qcow2, Some(header)) => qcow2(facts, header),
        (Format::Qcow2, None) => {
            vec![Finding::new(Layer::Format, State::Unknown, "the qcow2 header could not be read")]
        }
        (Format::Other(name), _) => vec![
            Finding::new(
                Layer::Format,
                State::Cut,
                format!("{name} images pass no discards on, although QEMU answers \"done\""),
            )
            .fix("convert the image to qcow2 or raw while the VM is off: qemu-img convert"),
        ],
    }
}

/// The image's path as a shell takes it.
fn image_quoted(facts: &DiskFacts<'_>) -> String {
    facts
        .host
        .image
        .as_ref()
        .map_or_else(|| "IMAGE".to_owned(), |image| quoted(&image.path.to_string_lossy()))
}

fn qcow2(facts: &DiskFacts<'_>, header: &Qcow2Header) -> Vec<Finding> {
    let allocated = facts.image.and_then(ImageFacts::allocated_bytes);
    let mut found = Vec::new();
    if header.snapshots > 0 {
        let count = match header.snapshots {
            1 => "an internal snapshot keeps".to_owned(),
            n => format!("{n} internal snapshots keep"),
        };
        found.push(
            Finding::new(Layer::Format, State::Holds, format!("{count} the clusters that the guest frees"))
                .held(allocated)
                .fix("list them with `qemu-img snapshot -l -U IMAGE`; deleting one gives its clusters back for good, \
                      so that is yours to choose"),
        );
    }
    if header.version < 3 && header.has_backing_file {
        found.push(
            Finding::new(
                Layer::Format,
                State::Holds,
                "a version 2 qcow2 with a backing file cannot say \"this cluster reads as zeros\", so it keeps what \
                 the guest frees",
            )
            .held(allocated)
            .fix("with the VM off, make it version 3:")
            .paste(format!("qemu-img amend -f qcow2 -o compat=1.1 {}", image_quoted(facts))),
        );
    }
    if header.external_data_file {
        found.push(Finding::new(
            Layer::Format,
            State::Unknown,
            "the guest's data lies in an external data file, which is not measured",
        ));
    }
    if found.is_empty() {
        let backing = if header.has_backing_file { ", over a backing file that keeps its own" } else { "" };
        found.push(Finding::new(
            Layer::Format,
            if header.has_backing_file { State::Note } else { State::Open },
            format!("qcow2 v{}{backing}", header.version),
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::samples::{HEADER, Sample};

    #[test]
    fn qcow2_holders() {
        let cases = [
            ("plain v3", HEADER, State::Open),
            ("snapshot", Qcow2Header { snapshots: 1, ..HEADER }, State::Holds),
            ("v2", Qcow2Header { version: 2, ..HEADER }, State::Open),
            ("v2 overlay", Qcow2Header { version: 2, has_backing_file: true, ..HEADER }, State::Holds),
            ("v3 overlay", Qcow2Header { has_backing_file: true, ..HEADER }, State::Note),
            ("data file", Qcow2Header { external_data_file: true, ..HEADER }, State::Unknown),
        ];
        for (name, header, expected) in cases {
            let found = findings(&Sample::qcow2(header).facts());
            assert_eq!(found.first().map(|f| f.state), Some(expected), "{name}");
        }
    }

    #[test]
    fn formats_without_discard_cut() {
        let mut sample = Sample::raw();
        sample.set_format(Format::Other("vmdk".into()));
        assert_eq!(findings(&sample.facts())[0].state, State::Cut);
        sample.host.image = None;
        sample.host.protocol = "nbd".into();
        let found = findings(&sample.facts());
        assert_eq!((found[0].layer, found[0].state), (Layer::Protocol, State::Unknown));
    }
}
