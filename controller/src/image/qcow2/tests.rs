use std::{path::Path, process::Command};

use proptest::prelude::*;

use super::*;
use crate::{
    image::{HostStorage, file},
    model::image::{Format, Image},
    trim::ports::Storage,
};

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

/// tests/corpus/qcow2: headers as somebody who means harm would make them, each with what is to be read in it. No case
/// is left out on either side.
#[test]
fn hostile_headers() {
    let fine = Qcow2Header { virtual_bytes: 1 << 30, ..PLAIN };
    let over_backing = Qcow2Header { has_backing_file: true, ..fine };
    let expected = [
        ("backing-name-beyond-the-file", Ok(over_backing)),
        ("backing-name-inside-the-header", Ok(over_backing)),
        ("backing-name-is-a-host-file", Ok(over_backing)),
        ("backing-name-is-a-url", Ok(over_backing)),
        ("backing-name-is-json", Ok(over_backing)),
        ("backing-name-without-an-end", Ok(over_backing)),
        // The extension counts only with its autoclear bit.
        ("bitmaps-by-the-billion", Ok(fine)),
        ("bitmaps-by-the-billion-valid", Err(NotQcow2::Count(u32::MAX))),
        ("cluster-bits-all-set", Err(NotQcow2::ClusterBits(u32::MAX))),
        ("cluster-bits-that-shift-out", Err(NotQcow2::ClusterBits(64))),
        ("data-file-name-is-a-host-file", Ok(Qcow2Header { external_data_file: true, ..fine })),
        ("data-file-name-without-its-feature", Ok(fine)),
        ("empty", Err(NotQcow2::Magic)),
        ("encryption-of-the-future", Ok(fine)),
        ("extension-cut-short", Ok(fine)),
        ("extension-longer-than-everything", Ok(fine)),
        ("extension-that-wraps-around", Ok(fine)),
        ("extensions-without-an-end", Ok(fine)),
        ("feature-beyond-the-known", Err(NotQcow2::Features(1 << 63))),
        ("features-all-set", Err(NotQcow2::Features(u64::MAX << 5))),
        ("format-name-is-a-protocol", Ok(over_backing)),
        ("header-length-all-set", Err(NotQcow2::Length(u32::MAX))),
        ("header-length-not-of-eight", Ok(fine)),
        ("header-longer-than-its-cluster", Err(NotQcow2::Length(1024))),
        ("header-longer-than-the-file", Ok(fine)),
        ("luks-in-front", Err(NotQcow2::Magic)),
        ("magic-alone", Err(NotQcow2::Short)),
        ("one-byte", Err(NotQcow2::Magic)),
        ("raw-disk-with-a-boot-sector", Err(NotQcow2::Magic)),
        ("refcount-width-absurd", Ok(fine)),
        ("smallest-clusters-full-of-extensions", Ok(Qcow2Header { cluster_bytes: 512, ..fine })),
        ("snapshots-by-the-billion", Err(NotQcow2::Count(u32::MAX))),
        ("version-2-with-what-only-3-has", Ok(Qcow2Header { version: 2, ..fine })),
        ("version-3-cut-at-its-features", Err(NotQcow2::Short)),
        ("version-of-the-future", Err(NotQcow2::Version(0x7fff_ffff))),
        ("virtual-size-of-all", Ok(Qcow2Header { virtual_bytes: u64::MAX, ..fine })),
        ("zeros", Err(NotQcow2::Magic)),
    ];
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/qcow2");
    for (name, expected) in &expected {
        assert_eq!(parse(&file::head(&corpus.join(name), HEAD_BYTES).unwrap()), *expected, "{name}");
    }
    assert_eq!(std::fs::read_dir(corpus).unwrap().count(), expected.len(), "a header that nobody expects");
}

/// The names in a header are of FIFOs: whoever opened one would wait for ever.
#[tokio::test]
async fn no_name_in_a_header_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let name = fifo.to_str().unwrap().as_bytes();
    let mut bytes = header(3, 16, 1 << 2, 104);
    bytes.resize(1 << 20, 0);
    bytes[104..112].copy_from_slice(&[0x44, 0x41, 0x54, 0x41, 0, 0, 0, u8::try_from(name.len()).unwrap()]);
    bytes[112..][..name.len()].copy_from_slice(name);
    bytes[8..16].copy_from_slice(&4096_u64.to_be_bytes());
    bytes[16..20].copy_from_slice(&u32::try_from(name.len()).unwrap().to_be_bytes());
    bytes[4096..][..name.len()].copy_from_slice(name);
    let path = directory.path().join("image");
    std::fs::write(&path, bytes).unwrap();
    let image = Image { path, format: Format::Qcow2 };
    let began = std::time::Instant::now();
    let read = HostStorage.qcow2_header(&image).await.unwrap();
    assert!(read.has_backing_file && read.external_data_file, "{read:?}");
    assert!(HostStorage.allocation(&image).await.is_ok() && HostStorage.place(&image).await.is_ok());
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
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

    /// A real header with some bytes changed and its end cut: whatever is read in it stays within its bounds, and takes
    /// no longer than the bytes are many.
    #[test]
    fn changed_bytes_stay_within_bounds(
        changes in proptest::collection::vec((0_usize..520, any::<u8>()), 0..12), cut in 0_usize..600,
    ) {
        let mut bytes = std::fs::read(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/qcow2/data-file-name-is-a-host-file"),
        )
        .unwrap();
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(cut);
        if let Ok(read) = parse(&bytes) {
            prop_assert!(matches!(read.version, 2 | 3));
            prop_assert!(read.cluster_bytes.is_power_of_two() && (512..=2 << 20).contains(&read.cluster_bytes));
            prop_assert!(read.snapshots <= 65536 && read.bitmaps <= 65536);
        }
    }
}
