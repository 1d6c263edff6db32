//! One writer in an fsync loop, and how long each of its fsyncs took.

use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// Written before each fsync.
const PIECE_BYTES: usize = 16 * 1024;

/// What it writes.
pub(super) const FILE: &str = "writer";

/// How large that is, whole pieces.
const FILE_BYTES: u64 = 64 << 20;

/// One fsync.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sync {
    began: Instant,
    took: Duration,
}

/// Writes until it is stopped.
pub(super) struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Sync>>>,
}

impl Writer {
    /// Begins, in a file of its own below `directory`.
    pub(super) fn start(directory: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (path, told) = (directory.join(FILE), stop.clone());
        Self { stop, thread: std::thread::spawn(move || write(&path, &told)) }
    }

    /// Ends it; every fsync that it made.
    pub(super) fn stop(self) -> Result<Syncs> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(Syncs(self.thread.join().map_err(|_| anyhow!("the writer panicked"))??))
    }
}

/// In place, again and again. Space that it took would be missing in what a trim frees, and space that it gave back would
/// be busy until its log is written: newer XFS leaves out each free extent with busy space in it, so that tools would have
/// different work to do.
fn write(path: &Path, stop: &AtomicBool) -> Result<Vec<Sync>> {
    let mut syncs = Vec::new();
    let piece = [0x5a; PIECE_BYTES];
    let open = OpenOptions::new().write(true).open(path);
    let mut file = open.with_context(|| format!("cannot open {}", path.display()))?;
    while !stop.load(Ordering::Relaxed) {
        if file.stream_position()? >= FILE_BYTES {
            file.rewind()?;
        }
        file.write_all(&piece)?;
        let began = Instant::now();
        file.sync_all()?;
        syncs.push(Sync { began, took: began.elapsed() });
    }
    Ok(syncs)
}

/// All of what the writer will write in, so that its blocks have their places.
pub(super) fn write_whole(file: &mut File) -> Result<()> {
    let piece = [0x5a; 1 << 16];
    for _ in 0..FILE_BYTES.div_euclid(1 << 16) {
        file.write_all(&piece)?;
    }
    Ok(file.sync_all()?)
}

/// Many fsyncs.
#[derive(Debug, Default)]
pub(super) struct Syncs(Vec<Sync>);

impl Syncs {
    /// How long those took that were under way at any time between the two, sorted.
    pub(super) fn between(&self, from: Instant, to: Instant) -> Vec<Duration> {
        let touches = |sync: &&Sync| sync.began < to && sync.began.checked_add(sync.took) > Some(from);
        let mut took: Vec<Duration> = self.0.iter().filter(touches).map(|sync| sync.took).collect();
        took.sort_unstable();
        took
    }
}

/// The value that `percent` of the sorted ones do not exceed.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100).max(1);
    sorted.get(rank.saturating_sub(1)).or_else(|| sorted.last()).copied().unwrap_or_default()
}
