use std::{path::Path, process::Command};

use proptest::prelude::*;

use super::*;
use crate::image::file;

/// What a plain v3 image of 64 MiB says.
const PLAIN: Qcow2Header = Qcow2Header {
    version: 3,
    cluster_bytes: 65536,
    virtual_bytes: 64 << 20,
    has_backing_file: false,
    snapshots: 0,
    extended_l2: false,
    external_data_file: false,
    bitmaps: 0,
    is_corrupt: false,
};

fn qemu_img(directory: &Path, line: &str) {
    let run = Command::new("qemu-img").current_dir(directory).args(line.split(' ')).output();
    let output = run.expect("qemu-img is needed: install the package qemu-utils");
    assert!(output.status.success(), "qemu-img {line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_qemu_img_makes() {
    let cases: [(&str, &[&str], Qcow2Header); 8] = [
        ("plain", &["create -q -f qcow2 i 64M"], PLAIN),
        ("v2", &["create -q -f qcow2 -o compat=0.10 i 64M"], Qcow2Header { version: 2, ..PLAIN }),
        (
            "clusters of 2 MiB",
            &["create -q -f qcow2 -o cluster_size=2M i 64M"],
            Qcow2Header { cluster_bytes: 2 << 20, ..PLAIN },
        ),
        (
            "smallest clusters",
            &["create -q -f qcow2 -o cluster_size=512 i 64M"],
            Qcow2Header { cluster_bytes: 512, ..PLAIN },
        ),
        (
            "snapshots",
            &["create -q -f qcow2 i 64M", "snapshot -c a i", "snapshot -c b i"],
            Qcow2Header { snapshots: 2, ..PLAIN },
        ),
        (
            "backing file",
            &["create -q -f raw base 64M", "create -q -f qcow2 -b base -F raw i"],
            Qcow2Header { has_backing_file: true, ..PLAIN },
        ),
        (
            "extended L2 and a data file",
            &["create -q -f qcow2 -o extended_l2=on,data_file=d i 64M"],
            Qcow2Header { extended_l2: true, external_data_file: true, ..PLAIN },
        ),
        (
            "bitmaps beside a backing file",
            &[
                "create -q -f raw base 64M",
                "create -q -f qcow2 -b base -F raw i",
                "bitmap --add i b0",
                "bitmap --add i b1",
            ],
            Qcow2Header { has_backing_file: true, bitmaps: 2, ..PLAIN },
        ),
    ];
    for (name, lines, expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        for line in lines {
            qemu_img(directory.path(), line);
        }
        let head = file::head(&directory.path().join("i"), HEAD_BYTES).unwrap();
        assert_eq!(parse(&head), Ok(expected), "{name}");
    }
}

/// The fixed fields of a v3 header, all others 0.
fn header(version: u32, cluster_bits: u32, incompatible: u64, length: u32) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    let mut put = |at: usize, value: &[u8]| bytes[at..][..value.len()].copy_from_slice(value);
    put(0, b"QFI\xfb");
    put(4, &version.to_be_bytes());
    put(20, &cluster_bits.to_be_bytes());
    put(24, &(1_u64 << 30).to_be_bytes());
    put(72, &incompatible.to_be_bytes());
    put(100, &length.to_be_bytes());
    bytes
}

#[test]
fn what_is_refused() {
    let short = header(3, 16, 0, 104)[..100].to_vec();
    let cases = [
        ("empty", vec![], NotQcow2::Magic),
        ("another format", b"KDMV and more of it".to_vec(), NotQcow2::Magic),
        ("version 1", header(1, 16, 0, 104), NotQcow2::Version(1)),
        ("version 4", header(4, 16, 0, 104), NotQcow2::Version(4)),
        ("clusters too small", header(3, 8, 0, 104), NotQcow2::ClusterBits(8)),
        ("clusters too large", header(3, 22, 0, 104), NotQcow2::ClusterBits(22)),
        ("clusters absurd", header(3, u32::MAX, 0, 104), NotQcow2::ClusterBits(u32::MAX)),
        ("header too short", header(3, 16, 0, 72), NotQcow2::Length(72)),
        ("header beyond its cluster", header(3, 16, 0, 65537), NotQcow2::Length(65537)),
        ("a feature of the future", header(3, 16, 1 << 5, 104), NotQcow2::Features(1 << 5)),
        ("cut short", short, NotQcow2::Short),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(parse(&bytes), Err(expected), "{name}");
    }
}

#[test]
fn dirty_corrupt_and_compressed_are_readable() {
    assert!(parse(&header(3, 16, 0b1011, 112)).unwrap().is_corrupt);
    assert!(!parse(&header(3, 16, 0b1001, 112)).unwrap().is_corrupt);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_the_magic_never_panic(
        tail in proptest::collection::vec(any::<u8>(), 100..600), bits in 0_u32..40, v in 1_u32..5, length in 0_u32..600,
    ) {
        let mut bytes = header(v, bits, 0, length);
        bytes.truncate(104);
        bytes.extend(tail);
        if let Ok(read) = parse(&bytes) {
            prop_assert!(read.cluster_bytes.is_power_of_two());
        }
    }
}
