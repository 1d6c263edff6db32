//! One file: what it occupies, and the bytes it begins with. Blocking.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::{AtFlags, CWD, FileType, IFlags, OFlags, Statx, StatxFlags};

use super::{Failed, volume};
use crate::model::image::Allocation;

/// st_blocks counts these, whatever the filesystem's own blocks are (stat(2)).
const ST_BLOCK_BYTES: u64 = 512;

/// statx(2), symlinks followed. A network filesystem is made to ask its server.
pub(super) fn statx(path: &Path) -> io::Result<Statx> {
    let what = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    Ok(rustix::fs::statx(CWD, path, AtFlags::STATX_FORCE_SYNC, what)?)
}

/// Opens nothing.
pub(super) fn allocation(path: &Path) -> Result<Allocation, Failed> {
    let found = statx(path)?;
    let device = block_device(&found);
    if device.is_none() && !kind(&found).is_file() {
        return Err(Failed::NotAnImage);
    }
    Ok(Allocation {
        allocated_bytes: match &device {
            Some(number) => volume::mapped_bytes(number)?,
            None => Some(found.stx_blocks.saturating_mul(ST_BLOCK_BYTES)),
        },
        length_bytes: found.stx_size,
        file: (rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino),
        is_block_device: device.is_some(),
    })
}

fn kind(found: &Statx) -> FileType {
    FileType::from_raw_mode(found.stx_mode.into())
}

/// The number of a block device; `None` for anything else.
pub(super) fn block_device(found: &Statx) -> Option<volume::Number> {
    kind(found).is_block_device().then(|| volume::Number::new(found.stx_rdev_major, found.stx_rdev_minor))
}

/// Whether btrfs compresses a file: its own attribute decides, then the mount's option. A file without copy-on-write is
/// never compressed (btrfs(5)).
pub(super) fn may_be_compressed(path: &Path, mount_compresses: bool) -> Result<bool, Failed> {
    let flags = rustix::fs::ioctl_getflags(open(path)?).map_err(io::Error::from)?;
    Ok(!flags.contains(IFlags::NOCOW) && (mount_compresses || flags.contains(IFlags::COMPRESSED)))
}

/// The first bytes of a file, at most `limit`.
pub(super) fn head(path: &Path, limit: u64) -> Result<Vec<u8>, Failed> {
    Ok(read(open(path)?, limit)?)
}

/// Whether any extent of a file is shared with another file or a snapshot; its bytes are not read. btrfs and XFS tell
/// (FIEMAP_EXTENT_SHARED), ext4 shares none.
pub(super) fn shares_extents(path: &Path) -> Result<bool, Failed> {
    for extent in fiemap::Fiemap::new(open(path)?) {
        if extent?.fe_flags.contains(fiemap::FiemapExtentFlags::SHARED) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Opens an image for reading.
///
/// What lies there is looked at before it is opened (opening a FIFO waits for a writer, opening a device can have
/// effects) and compared afterwards, for the name may have come to mean another file.
fn open(path: &Path) -> Result<File, Failed> {
    let before = fs::metadata(path)?;
    if !before.file_type().is_file() && !before.file_type().is_block_device() {
        return Err(Failed::NotAnImage);
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let opened = file.metadata()?;
    let id = |meta: &fs::Metadata| (meta.dev(), meta.ino(), meta.rdev(), meta.file_type());
    if id(&before) != id(&opened) {
        return Err(Failed::Replaced);
    }
    Ok(file)
}

fn read(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_a_sparse_file_occupies() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 30).unwrap();
        fs::write(file.path(), vec![7; 1 << 20]).unwrap();
        file.as_file().set_len(1 << 30).unwrap();
        file.as_file().sync_all().unwrap();
        let found = allocation(file.path()).unwrap();
        assert_eq!(found.length_bytes, 1 << 30);
        assert!((1 << 20..2 << 20).contains(&found.allocated_bytes.unwrap()), "{found:?}");
        assert!(!found.is_block_device);
        assert_eq!(found.file.1, file.as_file().metadata().unwrap().ino());
    }

    #[test]
    fn what_is_no_image_is_neither_measured_nor_opened() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for path in [fifo.as_path(), directory.path(), Path::new("/dev/null")] {
            assert!(matches!(allocation(path), Err(Failed::NotAnImage)), "{}", path.display());
            // A FIFO without a writer would wait here for ever.
            assert!(matches!(head(path, 512), Err(Failed::NotAnImage)), "{}", path.display());
            assert!(matches!(shares_extents(path), Err(Failed::NotAnImage)), "{}", path.display());
        }
    }

    #[test]
    fn an_image_may_be_a_symlink() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, b"0123456789").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        assert_eq!(head(&link, 4).unwrap(), b"0123");
        assert_eq!(allocation(&link).unwrap().file, allocation(&file).unwrap().file);
    }

    #[test]
    fn a_file_that_is_not_there() {
        assert!(matches!(allocation(Path::new("/nonexistent/a.img")), Err(Failed::Io(_))));
    }
}
