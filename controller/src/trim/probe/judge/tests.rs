use super::*;
use crate::{
    layers::{
        findings,
        samples::{HEADER, Sample},
    },
    model::{
        disk::{DiskCounters, DriveDiscard},
        image::Qcow2Header,
    },
};

const MIB: u64 = 1 << 20;
const FILE: u64 = 16 * MIB;

fn reading(allocated_mib: u64, arrived_mib: Option<u64>, failed: u64) -> Reading {
    let counters = DiskCounters {
        written_bytes: arrived_mib.map(|_| 0),
        arrived_bytes: arrived_mib.map(|mib| mib * MIB),
        failed_requests: arrived_mib.map(|_| failed),
        failed_io: None,
    };
    Reading { allocated_bytes: Some(allocated_mib * MIB), counters }
}

/// Allocation before, with the file, and after; what arrived.
fn seen(mib: [u64; 3], arrived: Option<u64>) -> Evidence<'static> {
    Evidence {
        bytes: FILE,
        extents: &[
            FreeExtents { at_least_bytes: 4096, bytes: FILE },
            FreeExtents { at_least_bytes: MIB, bytes: FILE },
        ],
        sent_bytes: Some(128 * MIB),
        written_bytes: Some(MIB / 2),
        before: reading(mib[0], arrived.map(|_| 7), 0),
        between: Some(reading(mib[1], arrived.map(|_| 7), 0)),
        after: reading(mib[2], arrived.map(|mib| 7 + mib), 0),
        findings: &[],
        format: &Format::Raw,
        cluster_bytes: None,
        is_remote: false,
    }
}

fn ends(evidence: &Evidence<'_>) -> (Option<bool>, Option<Layer>) {
    let ruling = judge(evidence);
    assert!(!ruling.text.is_empty() && ruling.ended_at.is_none_or(|_| ruling.proven == Some(false)));
    (ruling.proven, ruling.ended_at)
}

#[test]
fn raw() {
    let open = seen([100, 116, 100], Some(128));
    let flat = seen([100, 116, 116], Some(128));
    let dropped = seen([100, 116, 116], Some(0));
    let failed = Evidence { after: reading(116, Some(7), 3), ..dropped.clone() };
    let at = |layer| (Some(false), Some(layer));
    for (name, evidence, expected) in [
        ("into holes and back", open.clone(), (Some(true), None)),
        ("into blocks that were there", seen([116, 116, 100], Some(128)), (Some(true), None)),
        ("with its neighbours in the group", seen([300, 300, 180], Some(128)), (Some(true), None)),
        ("no counters", seen([100, 116, 100], None), (Some(true), None)),
        ("half of it, beside other writes", seen([100, 116, 108], None), (Some(true), None)),
        ("nothing sent", Evidence { sent_bytes: Some(0), ..flat.clone() }, at(Layer::Filesystem)),
        ("nothing arrived", dropped.clone(), at(Layer::Drive)),
        (
            "the image fell, and none of it by discards",
            Evidence { after: reading(100, Some(7), 0), ..open.clone() },
            at(Layer::Drive),
        ),
        ("refused by the host", failed.clone(), at(Layer::HostFilesystem)),
        ("refused by a server", Evidence { is_remote: true, ..failed }, at(Layer::Protocol)),
        ("arrived and kept", flat.clone(), at(Layer::HostFilesystem)),
        ("no counters, and kept", seen([100, 116, 116], None), (Some(false), None)),
        ("the guest writes", Evidence { written_bytes: Some(FILE / 4), ..flat.clone() }, (None, None)),
        (
            "the guest writes, and yet it came back",
            Evidence { written_bytes: Some(FILE), ..open.clone() },
            (Some(true), None),
        ),
        ("not read in time", Evidence { between: None, ..flat.clone() }, (None, None)),
        (
            "not read in time, into blocks that were there",
            Evidence { between: None, ..seen([116, 116, 100], None) },
            (Some(true), None),
        ),
        (
            "old kernel: what was sent is not counted",
            Evidence { sent_bytes: None, ..open.clone() },
            (Some(true), None),
        ),
    ] {
        assert_eq!(ends(&evidence), expected, "{name}");
    }
}

#[test]
fn a_volume_that_nothing_measures() {
    let unmeasured = |reading: Reading| Reading { allocated_bytes: None, ..reading };
    let arrived = seen([100, 116, 100], Some(128));
    for (name, evidence, text) in [
        ("counters", arrived, "what they free cannot be measured"),
        ("no counters", seen([100, 116, 100], None), "nothing measures"),
    ] {
        let evidence = Evidence {
            before: unmeasured(evidence.before),
            between: evidence.between.map(unmeasured),
            after: unmeasured(evidence.after),
            ..evidence
        };
        let ruling = judge(&evidence);
        assert_eq!((ruling.proven, ruling.ended_at), (None, None), "{name}");
        assert!(ruling.text.contains(text), "{name}: {}", ruling.text);
    }
}

#[test]
fn qcow2_by_what_its_layers_do() {
    let held = Qcow2Header { snapshots: 1, ..HEADER };
    let at = |layer| (Some(false), Some(layer));
    for (name, discard, header, arrived, expected) in [
        ("dropped by the drive", DriveDiscard::Ignore, HEADER, Some(0), at(Layer::Drive)),
        ("dropped, and nobody said so", DriveDiscard::Unknown, HEADER, Some(0), (Some(false), None)),
        ("kept by a snapshot", DriveDiscard::Unmap, held, Some(0), at(Layer::Format)),
        ("kept, for no reason that is known", DriveDiscard::Unmap, HEADER, Some(0), at(Layer::Format)),
        ("no counters, ignore", DriveDiscard::Ignore, held, None, at(Layer::Drive)),
        ("no counters, snapshot", DriveDiscard::Unmap, held, None, at(Layer::Format)),
        ("no counters, all open", DriveDiscard::Unmap, HEADER, None, (Some(false), None)),
    ] {
        let mut sample = Sample::qcow2(header);
        sample.host.discard = discard;
        let findings = findings(&sample.facts());
        let evidence = Evidence {
            findings: &findings,
            format: &Format::Qcow2,
            cluster_bytes: Some(65_536),
            ..seen([100, 116, 116], arrived)
        };
        assert_eq!(ends(&evidence), expected, "{name}");
    }
}

#[test]
fn pieces_below_the_clusters_tell_nothing() {
    let pieces = [
        FreeExtents { at_least_bytes: 4096, bytes: FILE },
        FreeExtents { at_least_bytes: 64 << 10, bytes: FILE },
        FreeExtents { at_least_bytes: MIB, bytes: FILE / 4 },
    ];
    let small = Evidence {
        extents: &pieces,
        format: &Format::Qcow2,
        cluster_bytes: Some(65_536),
        ..seen([100, 116, 116], Some(0))
    };
    assert_eq!(ends(&small), (None, None), "pieces of 64 KiB need not hold a cluster of 64 KiB");
    assert_eq!(ends(&Evidence { after: reading(116, Some(8), 0), ..small.clone() }), (None, None));
    // On raw each piece counts.
    let raw = Evidence { format: &Format::Raw, cluster_bytes: None, ..small };
    assert_eq!(ends(&raw), (Some(false), Some(Layer::Drive)));
}

#[test]
fn a_layer_of_the_guest_is_named() {
    let mut sample = Sample::raw();
    sample.guest_disk().discard_granularity = Some(0);
    let findings = findings(&sample.facts());
    let evidence = Evidence { findings: &findings, sent_bytes: Some(0), ..seen([100, 116, 116], None) };
    assert_eq!(ends(&evidence), (Some(false), Some(Layer::Device)));
}
