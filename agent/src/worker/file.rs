//! A probe's file: random data without a name, so that it is gone with this process, however that ends.

use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    time::{SystemTime, UNIX_EPOCH},
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, OFlag, fallocate, openat},
    sys::{
        stat::Mode,
        statfs::{BTRFS_SUPER_MAGIC, fstatfs},
    },
};

use crate::kernel::{
    chunks,
    fiemap::{self, Extent},
};

/// Written at a time; more than any filesystem compresses in one piece.
const CHUNK_BYTES: usize = 256 * 1024;

/// What a host may take for the same bytes as before, if it looks for such at all.
const BLOCK_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct ProbeFile {
    file: File,
    bytes: u64,
}

impl ProbeFile {
    /// Writes it below `directory`, waits until it is on the disk, and tells where. A failure leaves nothing.
    ///
    /// # Errors
    /// open's, write's, fsync's and FIEMAP's; `InvalidData` where it has no place of its own.
    pub(super) fn write(directory: impl AsFd, bytes: u64) -> io::Result<(Self, Vec<Extent>)> {
        let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let file: OwnedFd = openat(directory, ".", flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let mut file = File::from(file);
        // XFS gives a file that grows more than it asks for.
        file.set_len(bytes)?;
        let mut noise = Noise::new();
        let mut chunk = vec![0_u8; CHUNK_BYTES];
        noise.fill(&mut chunk);
        let mut left = bytes;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            noise.stamp(&mut chunk);
            file.write_all(chunk.get(..now).unwrap_or_default())?;
            left = left.saturating_sub(u64::try_from(now).unwrap_or(left));
        }
        file.sync_all()?;
        let mut extents = fiemap::extents(&file)?;
        if fstatfs(&file)?.filesystem_type() == BTRFS_SUPER_MAGIC {
            for extent in &mut extents {
                extent.trim_from = chunks::begin_of(&file, extent.physical)?;
            }
        }
        let placed = extents.iter().map(|extent| extent.len).fold(0, u64::saturating_add);
        if placed < bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok((Self { file, bytes }, extents))
    }

    /// Gives its blocks back, but for one at each place of `keep`.
    ///
    /// # Errors
    /// fallocate's and ftruncate's.
    pub(super) fn release(&self, keep: &[u64]) -> io::Result<()> {
        let block = self.file.metadata()?.blksize().max(1);
        for (from, to) in holes(self.bytes, block, keep) {
            let (Ok(at), Ok(len)) = (from.try_into(), to.saturating_sub(from).try_into()) else { continue };
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            match fallocate(&self.file, flags, at, len) {
                Ok(()) => {}
                // Without holes (ext2's and ext3's block maps on some kernels) all of it goes.
                Err(Errno::EOPNOTSUPP) => return self.file.set_len(0),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

/// What lies between the blocks that are kept: from, to. The places are whole blocks or are rounded down to them.
fn holes(bytes: u64, block: u64, keep: &[u64]) -> Vec<(u64, u64)> {
    let mut keep: Vec<u64> =
        keep.iter().map(|at| at.saturating_sub(at.checked_rem(block).unwrap_or(0))).collect();
    keep.sort_unstable();
    let mut from = 0;
    let mut holes = Vec::new();
    for at in keep.into_iter().chain([bytes]) {
        if at > from {
            holes.push((from, at));
        }
        from = from.max(at.saturating_add(block));
    }
    holes
}

/// Noise that no host compresses or finds twice: SplitMix64 from the clock. It keeps no secret.
struct Noise(u64);

impl Noise {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = u64::from(now.subsec_nanos()).rotate_left(32) ^ now.as_secs();
        Self(clock ^ u64::from(std::process::id()).rotate_left(17))
    }

    fn fill(&mut self, part: &mut [u8]) {
        for word in part.chunks_mut(8) {
            self.write(word);
        }
    }

    /// Makes each block of what was filled before another one.
    fn stamp(&mut self, part: &mut [u8]) {
        for block in part.chunks_mut(BLOCK_BYTES) {
            self.write(block);
        }
    }

    /// Up to eight bytes.
    fn write(&mut self, to: &mut [u8]) {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        to.iter_mut().zip(mixed.to_le_bytes()).for_each(|(to, from)| *to = from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_punched() {
        for (name, keep, expected) in [
            ("all of it", vec![], vec![(0, 100)]),
            ("its first block", vec![0], vec![(10, 100)]),
            ("one in the middle, in no order", vec![50, 0], vec![(10, 50), (60, 100)]),
            ("rounded down", vec![57], vec![(0, 50), (60, 100)]),
            ("the same block twice", vec![20, 25], vec![(0, 20), (30, 100)]),
            ("its last block", vec![90], vec![(0, 90)]),
            ("beyond its end", vec![500], vec![(0, 500)]),
        ] {
            let expected: Vec<(u64, u64)> = expected;
            assert_eq!(holes(100, 10, &keep), expected, "{name}");
        }
    }

    #[test]
    fn noise_is_noise() {
        let mut noise = Noise(7);
        let mut part = vec![0_u8; 64 * 1024 + 3];
        noise.fill(&mut part);
        let mut counts = [0_usize; 256];
        part.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        assert!(counts.iter().all(|count| (150..400).contains(count)), "{counts:?}");
        let before = part.clone();
        noise.stamp(&mut part);
        let same = before.chunks(BLOCK_BYTES).zip(part.chunks(BLOCK_BYTES)).filter(|(a, b)| a == b).count();
        assert_eq!(same, 0);
    }

    #[test]
    fn a_file_comes_and_goes() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let directory = File::open(folder.path()).unwrap();
        match ProbeFile::write(&directory, 1 << 20) {
            Ok((file, extents)) => {
                assert_eq!(extents[0].logical, 0);
                assert_eq!(extents.iter().map(|extent| extent.len).sum::<u64>(), 1 << 20);
                let blocks = || file.file.metadata().unwrap().blocks();
                assert!(blocks() * 512 >= 1 << 20);
                file.release(&[0]).unwrap();
                file.file.sync_all().unwrap();
                assert!(blocks() * 512 < 1 << 20, "{} blocks", blocks());
            }
            // A tmpfs or an overlay tells no extents.
            Err(error) => assert!(matches!(error.kind(), io::ErrorKind::Unsupported), "{error}"),
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
