//! Pure: the smallest free extent that is worth a discard, for each filesystem of an order.

use super::{
    look::{DiskLook, Look},
    options::TrimOptions,
};
use crate::{layers::extents::smallest_piece, model::guest::Filesystem};

/// No more is asked for unasked. ext4 refuses more than a block group (EINVAL, ext4_trim_fs in fs/ext4/mballoc.c), which has
/// 8 MiB where blocks have 1 KiB; a thin pool's chunk can be larger.
const MOST_UNASKED: u64 = 8 << 20;

/// What the caller says, or the largest piece that none of the filesystem's images needs to have free as a whole before it
/// can give anything back; 0, the kernel's own limit, where one frees any block, or where that is not known.
pub(super) fn min_extent(look: &Look, fs: &Filesystem, options: &TrimOptions) -> u64 {
    if options.min_extent_bytes > 0 {
        return options.min_extent_bytes;
    }
    let piece_of = |leaf: &String| {
        let on = |disk: &&DiskLook| look.guest_disk(disk).is_some_and(|device| device.id == *leaf);
        look.disks.iter().find(on).and_then(|disk| smallest_piece(&look.facts(disk))).unwrap_or(0)
    };
    fs.leaf_ids.iter().map(piece_of).min().unwrap_or(0).min(MOST_UNASKED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::samples::{HEADER, Sample},
        model::image::Qcow2Header,
        trim::fakes::look_of,
    };

    #[test]
    fn by_image() {
        let qcow2 = |cluster_bytes| Sample::qcow2(Qcow2Header { cluster_bytes, ..HEADER });
        for (name, samples, asked, expected) in [
            ("raw frees any block", vec![Sample::raw()], 0, 0),
            ("a cluster", vec![qcow2(65_536)], 0, 65_536),
            ("no more than ext4 takes", vec![qcow2(64 << 20)], 0, 8 << 20),
            ("what the caller says", vec![qcow2(65_536)], 4096, 4096),
            ("the smaller of two disks", vec![qcow2(65_536), qcow2(2 << 20)], 0, 65_536),
            ("one of two frees any block", vec![qcow2(65_536), Sample::raw()], 0, 0),
        ] {
            let look = look_of(&samples);
            let survey = look.survey().unwrap();
            let mut fs = survey.filesystems[0].clone();
            fs.leaf_ids = survey.devices.iter().map(|device| device.id.clone()).collect();
            let options = TrimOptions { min_extent_bytes: asked, ..TrimOptions::default() };
            assert_eq!(min_extent(&look, &fs, &options), expected, "{name}");
        }
    }

    #[test]
    fn a_disk_that_is_not_known_holds_nothing_back() {
        let look = look_of(&[Sample::qcow2(HEADER)]);
        let mut fs = look.survey().unwrap().filesystems[0].clone();
        fs.leaf_ids = vec!["253:0".to_owned()];
        assert_eq!(min_extent(&look, &fs, &TrimOptions::default()), 0);
        fs.leaf_ids.clear();
        assert_eq!(min_extent(&look, &fs, &TrimOptions::default()), 0);
    }
}
