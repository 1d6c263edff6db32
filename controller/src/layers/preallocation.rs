//! An image that has all of its room: preallocated on purpose, or filled to the brim. The host cannot tell which, so a
//! trim, which would make it thin, waits for its owner's word.

use super::{DiskFacts, Finding, Guard, ImageFacts, Layer, State, words};
use crate::model::image::Format;

/// What is missing at most, as a share of the whole: qcow2's own tables come on top, ends of files may be holes.
const ROUNDING: u64 = 100;

/// The whole size, where (nearly) all of it is allocated.
fn full(facts: &DiskFacts<'_>) -> Option<u64> {
    let image = facts.image.filter(|image| !image.allocation.is_block_device)?;
    let length = match facts.host.image.as_ref()?.format {
        Format::Raw => Some(image.allocation.length_bytes),
        Format::Qcow2 | Format::Other(_) => image.header.map(|header| header.virtual_bytes),
    };
    let size = facts.host.virtual_bytes.or(length).filter(|size| *size > 0)?;
    let missing = size.saturating_sub(ImageFacts::allocated_bytes(image)?);
    (missing <= size.checked_div(ROUNDING)?).then_some(size)
}

pub(super) fn finding(facts: &DiskFacts<'_>) -> Option<Finding> {
    let size = full(facts)?;
    Some(
        Finding::new(
            Layer::Preallocation,
            State::Note,
            format!("all of its {} are allocated, as preallocation leaves it", words::size(size)),
        )
        .short("preallocated"),
    )
}

pub(super) fn guard(facts: &DiskFacts<'_>) -> Option<Guard> {
    let size = full(facts)?;
    Some(Guard {
        layer: Layer::Preallocation,
        text: format!(
            "all of the image's {} are allocated, as preallocation leaves it: a trim would make it thin",
            words::size(size)
        ),
        short: "preallocated".to_owned(),
        passes_by_itself: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::samples::{HEADER, Sample};

    const GIB: u64 = 1 << 30;

    #[test]
    fn images_that_have_all_their_room() {
        let cases = [
            ("raw, all", Sample::raw(), Some(40 * GIB), true),
            ("raw, a little less", Sample::raw(), Some(40 * GIB - 40 * GIB / 100), true),
            ("raw, less", Sample::raw(), Some(39 * GIB), false),
            ("qcow2 with its tables", Sample::qcow2(HEADER), Some(41 * GIB), true),
            ("not measured", Sample::raw(), None, false),
        ];
        for (name, mut sample, allocated, expected) in cases {
            sample.image.allocation.allocated_bytes = allocated;
            assert_eq!(guard(&sample.facts()).is_some(), expected, "{name}");
            assert_eq!(finding(&sample.facts()).is_some(), expected, "{name}");
            sample.image.allocation.is_block_device = true;
            assert_eq!(guard(&sample.facts()), None, "{name}, a volume");
        }
    }

    #[test]
    fn without_a_size_from_qemu_the_file_tells() {
        let mut sample = Sample::raw();
        sample.host.virtual_bytes = None;
        sample.image.allocation.allocated_bytes = Some(40 * GIB);
        assert!(guard(&sample.facts()).is_some());
        sample.image.allocation.length_bytes = 80 * GIB;
        assert_eq!(guard(&sample.facts()), None);
    }
}
