//! The image's format: what of it passes no discards on, and what in it keeps clusters.

use super::{DiskFacts, Finding, Guard, Layer, State, words};
use crate::model::{
    disk::FreedClusters,
    image::{Format, ImageFacts, Qcow2Header},
};

/// More names than this are counted.
const NAMES_SHOWN: usize = 3;

pub(super) fn findings(facts: &DiskFacts<'_>) -> Vec<Finding> {
    // Without an image of this host there is no format to speak of: protocol.rs says so.
    let Some(image) = &facts.host.image else { return Vec::new() };
    match (&image.format, facts.image.and_then(|image| image.header.as_ref())) {
        (Format::Raw, _) => vec![Finding::new(Layer::Format, State::Open, "raw")],
        (Format::Qcow2, Some(header)) => qcow2(facts, header),
        (Format::Qcow2, None) => vec![
            Finding::new(Layer::Format, State::Unknown, "the qcow2 header could not be read")
                .short("header not read"),
        ],
        (Format::Other(name), _) => vec![
            Finding::new(
                Layer::Format,
                State::Cut,
                format!("{name} passes no discards on, although QEMU answers \"done\""),
            )
            .short("format cuts")
            .fix("with the VM off, convert the image to qcow2 or raw (qemu-img convert) and point the VM to it"),
        ],
    }
}

/// An image whose own tables QEMU found to be wrong: a discard could free a cluster that is in use.
pub(super) fn guard(facts: &DiskFacts<'_>) -> Option<Guard> {
    let header = facts.image?.header?;
    header.is_corrupt.then(|| Guard {
        layer: Layer::Format,
        text: format!(
            "the qcow2 image is marked as corrupt: with the VM off, look at it with qemu-img check -f qcow2 {}",
            words::image(facts)
        ),
        short: "image corrupt".to_owned(),
        passes_by_itself: false,
    })
}

fn qcow2(facts: &DiskFacts<'_>, header: &Qcow2Header) -> Vec<Finding> {
    let mut found: Vec<Finding> = [
        snapshots(facts, header),
        version_2(facts, header),
        kept(facts),
        data_file(facts, header),
        corrupt(header),
    ]
    .into_iter()
    .flatten()
    .collect();
    if found.is_empty() {
        found.push(whole(facts, header));
    }
    found
}

/// All that a holder could hold.
fn allocated(facts: &DiskFacts<'_>) -> Option<u64> {
    facts.image.and_then(ImageFacts::allocated_bytes)
}

fn snapshots(facts: &DiskFacts<'_>, header: &Qcow2Header) -> Option<Finding> {
    if header.snapshots == 0 {
        return None;
    }
    // The manager's names may be of external snapshots too: they are told apart only where the numbers agree.
    let names = &facts.vm.snapshots;
    let same_number = usize::try_from(header.snapshots).is_ok_and(|count| count == names.len());
    let text = match names.as_slice() {
        [name] if same_number => format!("the internal snapshot {name:?} keeps what the guest frees"),
        _ if header.snapshots == 1 => "an internal snapshot keeps what the guest frees".to_owned(),
        _ => format!("{} internal snapshots keep what the guest frees", header.snapshots),
    };
    let finding =
        Finding::new(Layer::Format, State::Holds, text).short("internal snapshot").held(allocated(facts));
    Some(match (words::virsh(facts.vm, "snapshot-delete"), words::virsh(facts.vm, "snapshot-list")) {
        (Some(delete), Some(list)) if !names.is_empty() => {
            let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| words::quoted(name)).collect();
            let more = if names.len() > NAMES_SHOWN { ", …" } else { "" };
            finding
                .fix(format!(
                    "deleting a snapshot gives its clusters back, and there is no way back to it: if you no longer \
                     need it, {delete} NAME ({}{more})",
                    shown.join(", ")
                ))
                .paste(list)
        }
        _ => finding
            .fix(
                "deleting a snapshot gives its clusters back, and there is no way back to it: if you no longer need \
                 it, qemu-img snapshot -d NAME with the VM off, or HMP's delvm; which there are:",
            )
            .paste(format!("qemu-img snapshot -l -U {}", words::image(facts))),
    })
}

/// Without the zero flag of version 3 a freed cluster would show what lies below (qcow2_co_pdiscard() of QEMU).
fn version_2(facts: &DiskFacts<'_>, header: &Qcow2Header) -> Option<Finding> {
    (header.version < 3 && header.has_backing_file).then(|| {
        Finding::new(
            Layer::Format,
            State::Holds,
            "qcow2 version 2 over a backing file frees no clusters: it cannot mark them as zero",
        )
        .short("qcow2 v2 overlay")
        .held(allocated(facts))
        .fix("with the VM off, make it version 3:")
        .paste(format!("qemu-img amend -f qcow2 -o compat=1.1 {}", words::image(facts)))
    })
}

fn kept(facts: &DiskFacts<'_>) -> Option<Finding> {
    match facts.host.freed_clusters {
        FreedClusters::Punched => None,
        FreedClusters::Kept => Some(
            Finding::new(
                Layer::Format,
                State::Holds,
                "pass-discard-request=off: clusters that come free stay in the image file",
            )
            .short("clusters kept")
            .held(allocated(facts))
            .fix("take pass-discard-request=off off QEMU's command line, then power-cycle the VM"),
        ),
        FreedClusters::Reserved => Some(Finding::new(
            Layer::Format,
            State::Note,
            "discard-no-unref=on: freed clusters are punched out and keep their place in the image",
        )),
    }
}

fn data_file(facts: &DiskFacts<'_>, header: &Qcow2Header) -> Option<Finding> {
    if !header.external_data_file {
        return None;
    }
    Some(match &facts.host.data_file {
        Some(path) => {
            Finding::new(Layer::Format, State::Open, format!("qcow2 v3, its data in {}", path.display()))
        }
        None => Finding::new(
            Layer::Format,
            State::Unknown,
            "its data lies in another file, which only the header names: that is not followed",
        )
        .short("data file unknown")
        .fix("name the VM's QMP socket in the inventory: QEMU says which file it is"),
    })
}

fn corrupt(header: &Qcow2Header) -> Option<Finding> {
    header.is_corrupt.then(|| {
        Finding::new(Layer::Format, State::Note, "QEMU has marked the image as corrupt")
            .short("image corrupt")
    })
}

fn whole(facts: &DiskFacts<'_>, header: &Qcow2Header) -> Finding {
    let version = header.version;
    let extended = if header.extended_l2 { ", extended L2" } else { "" };
    if !header.has_backing_file && facts.host.backing.is_empty() {
        let text = format!("qcow2 v{version}{extended}, no snapshot, no backing file");
        return Finding::new(Layer::Format, State::Open, text);
    }
    let own = match facts.image.and_then(|image| image.backing_allocated_bytes) {
        Some(bytes) => format!("its own {}", words::size(bytes)),
        None => "its own".to_owned(),
    };
    Finding::new(
        Layer::Format,
        State::Note,
        format!("qcow2 v{version}{extended} over a backing file, which keeps {own}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::{
            guard as any_guard,
            samples::{HEADER, Sample},
        },
        model::{disk::Manager, image::Image},
    };

    #[test]
    fn qcow2_holders() {
        let cases = [
            ("plain v3", HEADER, State::Open),
            ("snapshot", Qcow2Header { snapshots: 1, ..HEADER }, State::Holds),
            ("v2", Qcow2Header { version: 2, ..HEADER }, State::Open),
            ("v2 overlay", Qcow2Header { version: 2, has_backing_file: true, ..HEADER }, State::Holds),
            ("v3 overlay", Qcow2Header { has_backing_file: true, ..HEADER }, State::Note),
            ("data file", Qcow2Header { external_data_file: true, ..HEADER }, State::Unknown),
            ("corrupt", Qcow2Header { is_corrupt: true, ..HEADER }, State::Note),
            ("extended L2", Qcow2Header { extended_l2: true, ..HEADER }, State::Open),
        ];
        for (name, header, expected) in cases {
            let found = findings(&Sample::qcow2(header).facts());
            assert_eq!(found.iter().map(|f| f.state).collect::<Vec<_>>(), [expected], "{name}");
        }
    }

    #[test]
    fn what_qemu_was_told_to_keep() {
        for (fate, expected) in [
            (FreedClusters::Punched, State::Open),
            (FreedClusters::Kept, State::Holds),
            (FreedClusters::Reserved, State::Note),
        ] {
            let mut sample = Sample::qcow2(HEADER);
            sample.host.freed_clusters = fate;
            assert_eq!(findings(&sample.facts())[0].state, expected, "{fate:?}");
        }
    }

    #[test]
    fn a_snapshot_by_the_managers_name() {
        let mut sample = Sample::qcow2(Qcow2Header { snapshots: 1, ..HEADER });
        let plain = &findings(&sample.facts())[0];
        assert_eq!(plain.fix.as_ref().unwrap().paste, ["qemu-img snapshot -l -U /guests/a.img"]);
        sample.vm.manager = Manager::Libvirt { uri: "qemu:///system".into(), domain: "web".into() };
        sample.vm.snapshots = vec!["before; reboot".into()];
        let named = &findings(&sample.facts())[0];
        assert!(named.text.contains("\"before; reboot\""), "{}", named.text);
        let fix = named.fix.as_ref().unwrap();
        assert!(fix.text.contains("virsh snapshot-delete web NAME ('before; reboot')"), "{}", fix.text);
        // What destroys is a choice in words, never a line to paste.
        assert_eq!(fix.paste, ["virsh snapshot-list web"]);
        sample.vm.snapshots.push("external".into());
        assert!(!findings(&sample.facts())[0].text.contains("before"), "which of the two is not known");
    }

    #[test]
    fn what_a_backing_file_keeps() {
        let mut sample = Sample::qcow2(Qcow2Header { has_backing_file: true, ..HEADER });
        sample.host.backing = vec![Image { path: "/guests/base".into(), format: Format::Qcow2 }];
        sample.image.backing_allocated_bytes = Some(3 << 30);
        assert!(findings(&sample.facts())[0].text.ends_with("keeps its own 3.0 GiB"));
    }

    #[test]
    fn a_data_file_that_qemu_names() {
        let mut sample = Sample::qcow2(Qcow2Header { external_data_file: true, ..HEADER });
        sample.host.data_file = Some("/guests/data.raw".into());
        assert_eq!(findings(&sample.facts())[0].state, State::Open);
    }

    #[test]
    fn a_corrupt_image_is_not_trimmed() {
        let sample = Sample::qcow2(Qcow2Header { is_corrupt: true, ..HEADER });
        let said = any_guard(&sample.facts(), &[]).unwrap();
        assert!(said.layer == Layer::Format && said.text.contains("qemu-img check"), "{said:?}");
    }

    #[test]
    fn formats_without_discard_cut() {
        let mut sample = Sample::raw();
        sample.set_format(Format::Other("vmdk".into()));
        assert_eq!(findings(&sample.facts())[0].state, State::Cut);
        sample.host.image = None;
        assert!(findings(&sample.facts()).is_empty());
    }
}
