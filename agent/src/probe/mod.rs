//! The probe: a small file without a name is written, found, given up, and trimmed where it lay, so that the host can
//! see whether it comes back. It decides; the file and FITRIM are its worker's, as in a run.
//!
//! ```text
//! claim the guest's disks ── another run or probe: refused as busy
//!    │
//! open ─> room? ─> syncfs ─> write, fsync, extents ─> WRITTEN ─> pause ─> release, syncfs ─> FITRIM, … ─> settle ─> TRIMMED
//!    └───────┴────────┴──────────────┴──────── anything fails, or the deadline ────┴───────────┴──────────┴─────> FAILED
//! ```
//! The worker's end is the file's end. So whatever ends a probe (its caller hangs up, the agent is told to stop, is
//! killed) leaves nothing behind. Nothing is kept of a probe, and it is no run: no minimum interval, no replay.

mod place;
pub mod report;
mod room;

use std::{
    os::fd::OwnedFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::errno::Errno;
use tokio::{sync::mpsc, task, time};
use trimtab_proto::words::FailureKind;

use self::place::Scheme;
pub use self::report::{Event, Order, Trimmed, What, Written};
use crate::{
    kernel::{fiemap::Extent, fsmap, geometry::Groups},
    model::{DevNum, Filesystem, Survey},
    sys,
    text::shown,
    trim::{
        Claim, Engine, Refused,
        child::Worker,
        disks::Disks,
        open, plan, refused,
        report::{Failure, Sent},
    },
    worker::{self, Answer},
};

/// Opening a mount point takes longer only where its disk does not answer.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks at counters that should stand still, and how often at most.
const SETTLE_STEP: Duration = Duration::from_millis(50);
const SETTLE_STEPS: u32 = 100;

/// Starts a probe that began with its request at `began`. Must be called on a thread that lives as long as the probe:
/// its worker dies with it. Dropping the receiver ends it.
///
/// # Errors
/// [`Refused`]: nothing was begun.
pub fn start(
    engine: &Engine,
    order: Order,
    survey: &Survey,
    began: Instant,
) -> Result<mpsc::UnboundedReceiver<Event>, Refused> {
    let id = order.filesystem_id;
    let filesystem = survey.filesystems.iter().find(|fs| fs.id == id).ok_or(Refused::NoSuchFilesystem(id))?;
    may_be_probed(filesystem, survey)?;
    let claim = engine.claim()?;
    let (events, receiver) = mpsc::unbounded_channel();
    let probe = Probe {
        order,
        began,
        mount: filesystem.mount.clone(),
        fs_type: filesystem.fs_type.clone(),
        device: filesystem.device,
        leaves: filesystem.leaves.clone(),
        claim,
        events,
    };
    tokio::spawn(probe.run());
    Ok(receiver)
}

fn may_be_probed(filesystem: &Filesystem, survey: &Survey) -> Result<(), Refused> {
    let skipped =
        |text: &str| Err(Refused::Skipped { mount: shown(&filesystem.mount), text: text.to_owned() });
    match &filesystem.skip {
        Some(skip) => skipped(&skip.text),
        // A discard goes no further than to the filesystem that holds the file, unless that lies in memory.
        None if survey
            .filesystems
            .iter()
            .any(|fs| filesystem.inside.contains(&fs.id) && !fs.leaves.is_empty()) =>
        {
            skipped("it lies in a file of another filesystem; probe that one")
        }
        None => Ok(()),
    }
}

struct Probe {
    order: Order,
    began: Instant,
    mount: PathBuf,
    fs_type: String,
    device: Option<DevNum>,
    leaves: Vec<DevNum>,
    claim: Claim,
    events: mpsc::UnboundedSender<Event>,
}

impl Probe {
    async fn run(self) {
        let mut slot = None;
        let ended = tokio::select! {
            biased;
            () = self.events.closed() => None,
            () = self.claim.stopping() => Some(Err(stopping())),
            () = time::sleep(self.order.deadline) => Some(Err(self.late())),
            ended = self.work(&mut slot) => Some(ended),
        };
        if let Some(worker) = &mut slot {
            worker.kill();
        }
        let told = match ended {
            None => None,
            Some(Ok(trimmed)) => Some(What::Trimmed(trimmed)),
            Some(Err(failure)) => Some(What::Failed(failure)),
        };
        let elapsed_ms = self.elapsed_ms();
        let Self { claim, events, .. } = self;
        // The disks are free before a caller hears that the probe is over, unless the kernel holds its worker: then the
        // caller does not wait for it, and the next one is told that somebody is at it.
        let reaped = match slot {
            Some(worker) => task::spawn(async move {
                let _ = worker.reap().await;
                drop(claim);
            }),
            None => task::spawn(async move { drop(claim) }),
        };
        let _ = time::timeout(Duration::from_secs(1), reaped).await;
        if let Some(what) = told {
            // Nobody listens any more.
            let _ = events.send(Event { elapsed_ms, what });
        }
    }

    /// The probe itself. The worker lies in `slot` as long as it must be killed when this is dropped half-way.
    async fn work(&self, slot: &mut Option<Worker>) -> Result<Trimmed, Failure> {
        let (filesystem, groups) = self.open().await?;
        let house = self.claim.house();
        let cannot = |text: &str| failed(FailureKind::Unsupported, format!("{}: {text}", shown(&self.mount)));
        let scheme = Scheme::of(&self.fs_type, groups, &house.kernel).map_err(cannot)?;
        let started = Worker::start(&house.worker, filesystem);
        let worker = slot.insert(started.map_err(|source| {
            let errno = source.raw_os_error().unwrap_or_default();
            let text = format!("cannot start a worker process: {source}");
            Failure { kind: FailureKind::Worker, errno, text }
        })?);
        expect_ready(worker, "syncing").await?;

        let mut disks = self.disks();
        let extents = self.write(worker).await?;
        disks.look(Instant::now());
        self.tell_written(&extents, disks.sent());
        time::sleep(self.order.pause).await;

        let mut disks = self.disks();
        let given_up_ms = self.elapsed_ms();
        order(worker, worker::Order::Release { keep: scheme.keep(&extents) }).await?;
        expect_ready(worker, "giving the probe's file up").await?;
        let (mut claimed, mut range) = (0_u64, 0_u64);
        for each in scheme.ranges(&extents) {
            order(worker, worker::Order::Trim { range: each, min_extent: 0 }).await?;
            match answer(worker).await? {
                Answer::Ok { claimed: more, .. } => claimed = claimed.saturating_add(more),
                Answer::Err(errno) => return Err(refused("FITRIM", errno)),
                _ => return Err(nonsense()),
            }
            range = range.saturating_add(each.len);
        }
        let settled = settle(&mut disks).await;
        let sent = disks.sent();
        // What is left of the file goes with the worker.
        if let Some(worker) = slot.take() {
            let _ = worker.reap().await;
        }
        Ok(Trimmed {
            given_up_ms,
            claimed,
            claim: plan::claim_kind(&self.fs_type, &house.kernel),
            range,
            beyond_range: scheme.beyond(),
            sent,
            settled,
        })
    }

    /// The filesystem's directory and its division, if it has room; on a thread that may hang without harm.
    async fn open(&self) -> Result<(OwnedFd, Option<Groups>), Failure> {
        let house = self.claim.house().clone();
        let (mount, id, bytes) = (self.mount.clone(), self.order.filesystem_id, self.order.bytes);
        let (fs_type, device) = (self.fs_type.clone(), self.device);
        let opening = task::spawn_blocking(move || {
            let directory = open::open(&house.roots, &mount, id)?;
            room::check(&directory, bytes)?;
            let groups = open::groups(&house.roots, &fs_type, &directory, device);
            Ok((directory, groups))
        });
        match time::timeout(OPEN_LIMIT, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(_)) | Err(_) => Err(failed(
                FailureKind::Stuck,
                format!("{} did not open within {} s", shown(&self.mount), OPEN_LIMIT.as_secs()),
            )),
        }
    }

    async fn write(&self, worker: &mut Worker) -> Result<Vec<Extent>, Failure> {
        order(worker, worker::Order::Write { bytes: self.order.bytes }).await?;
        let mut extents = Vec::new();
        loop {
            match answer(worker).await? {
                Answer::At(extent) => extents.push(extent),
                Answer::Wrote => return Ok(extents),
                Answer::Err(errno) => return Err(self.cannot_write(errno)),
                _ => return Err(nonsense()),
            }
        }
    }

    fn cannot_write(&self, errno: Errno) -> Failure {
        let source = std::io::Error::from(errno);
        let (kind, meaning) = match errno {
            Errno::ENOSPC | Errno::EDQUOT => (FailureKind::NoRoom, "the filesystem or a quota is full"),
            Errno::EROFS => (FailureKind::Permission, "its mount point is read-only"),
            Errno::EACCES | Errno::EPERM => (
                FailureKind::Permission,
                "its root directory is another user's, and the agent's unit leaves CAP_DAC_OVERRIDE out; a drop-in with \
                 CapabilityBoundingSet=CAP_DAC_OVERRIDE lets it write there",
            ),
            Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOTTY => (
                FailureKind::Unsupported,
                "it knows no files without a name, or does not tell where they lie",
            ),
            Errno::EBADE => {
                (FailureKind::Unsupported, "the file has no place of its own: compressed or encrypted?")
            }
            _ => return refused("writing the probe's file", errno),
        };
        let text = format!("cannot write the probe's file on {}: {source}: {meaning}", shown(&self.mount));
        Failure { kind, errno: source.raw_os_error().unwrap_or_default(), text }
    }

    fn tell_written(&self, extents: &[Extent], sent: Vec<Sent>) {
        let mut places: Vec<(u64, u64)> = extents.iter().map(|e| (e.physical, e.len)).collect();
        places.sort_unstable();
        let extents = fsmap::by_size(places.into_iter());
        let written = Written { bytes: self.order.bytes, extents, sent };
        // Whoever hangs up ends the probe elsewhere.
        let _ = self.events.send(Event { elapsed_ms: self.elapsed_ms(), what: What::Written(written) });
    }

    /// The disks below, with their counters of now as the baseline.
    fn disks(&self) -> Disks {
        let roots = self.claim.house().roots.clone();
        // A disk that has gone counts nothing any more.
        let mut disks =
            Disks::new(Box::new(move |disk| sys::counters::read(&roots, disk).unwrap_or_default()));
        disks.begin(&self.leaves, Instant::now());
        disks
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn late(&self) -> Failure {
        let limit = self.order.deadline.as_secs();
        failed(FailureKind::Stuck, format!("the probe of {} took longer than {limit} s", shown(&self.mount)))
    }
}

/// Waits until the disks' count of discards stands still; whether it did.
async fn settle(disks: &mut Disks) -> bool {
    disks.look(Instant::now());
    for _ in 0..SETTLE_STEPS {
        time::sleep(SETTLE_STEP).await;
        let now = Instant::now();
        disks.look(now);
        if disks.settled(now) {
            return disks.counted();
        }
    }
    false
}

async fn order(worker: &mut Worker, order: worker::Order) -> Result<(), Failure> {
    worker.order(&order).await.map_err(|_| nonsense())
}

async fn answer(worker: &mut Worker) -> Result<Answer, Failure> {
    worker.answer().await.map_err(|_| nonsense())
}

async fn expect_ready(worker: &mut Worker, what: &str) -> Result<(), Failure> {
    match answer(worker).await? {
        Answer::Ready => Ok(()),
        Answer::Err(errno) => Err(refused(what, errno)),
        _ => Err(nonsense()),
    }
}

fn failed(kind: FailureKind, text: String) -> Failure {
    Failure { kind, errno: 0, text }
}

fn nonsense() -> Failure {
    failed(FailureKind::Worker, "its worker process died".to_owned())
}

fn stopping() -> Failure {
    failed(FailureKind::Worker, "the agent was told to stop".to_owned())
}
