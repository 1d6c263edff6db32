//! The calls of a turn: one range after the other to its worker, as the pace wants them, with the pauses that the run wants.
//!
//! ```text
//! rest ──> paused? wait ──> a call ──┬── it returns ──> Passed, the next one
//!            ^                       └── a pause, and it goes on: its worker is killed, and the call made anew by the next
//!            └──────────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

use tokio::{
    sync::{oneshot, watch},
    time,
};

use super::{
    child::Worker,
    rhythm::Rhythm,
    turn::{Control, Leave, Note, Turn, refused},
};
use crate::{
    kernel::{fitrim::Range, geometry::Groups},
    ranges::{self, Call, Cut, Ranges},
    text::size,
    worker::{Answer, Order},
};

/// A call that goes on for so long after a pause was asked for is ended: one that is the whole of a filesystem may take
/// hours. Of one that is not, no more than a range is done twice.
const PATIENCE: Duration = Duration::from_millis(500);

impl Turn {
    /// All ranges; `groups` as far as they could be read.
    pub(super) async fn hand_out(&mut self, worker: &mut Worker, groups: Option<Groups>) -> Leave {
        if let Err(leave) = ready(worker).await {
            return leave;
        }
        let cut = Cut::of(&self.job.fs_type, groups, &self.house.kernel);
        self.bound_min_extent(cut);
        let mut rhythm = Rhythm::new(&self.house, &self.job, cut.total());
        let (counted, when_counted) = oneshot::channel();
        let is_one_call = matches!((cut, rhythm.step()), (Cut::Nowhere, _) | (Cut::Groups(_), None));
        self.tell(Note::Ready { total: cut.total().filter(|_| !is_one_call), counted });
        // An error means that the run is gone, and this turn with it.
        let _ = when_counted.await;

        let arming = self.arming(cut);
        let mut ranges = Ranges::new(cut, self.job.least_extent);
        let mut rest = Duration::ZERO;
        while let Some(Call { range, passes }) = ranges.next(rhythm.step()) {
            if passes > 0 {
                time::sleep(rest).await;
            }
            let began = Instant::now();
            let Done { claimed, took } = match self.call(worker, range, arming).await {
                Ok(done) => done,
                Err(leave) => return leave,
            };
            if passes == 0 {
                // A seam, whose ranges are done: next to no work, and counted already.
                continue;
            }
            self.tell(Note::Passed { bytes: passes, claimed, took });
            rest = rhythm.done(began, passes).await;
        }
        Leave::Finished
    }

    /// FITRIM refuses a smallest extent that no free extent can have. Leaving all but the largest alone is what it meant.
    fn bound_min_extent(&mut self, cut: Cut) {
        if let Some(most) = cut.largest_min_extent().filter(|most| self.job.min_extent > *most) {
            let (mount, asked) = (self.job.mount.display(), size(Some(self.job.min_extent)));
            let used = size(Some(most));
            tracing::warn!(
                "{mount}: no free extent can have {asked} here; those of {used} and more are trimmed"
            );
            self.job.min_extent = most;
            self.job.least_extent = most;
        }
    }

    /// The call that goes before each range, where ext4 is to look again.
    fn arming(&self, cut: Cut) -> Option<(Range, u64)> {
        match cut {
            Cut::Groups(groups) if self.job.again && self.job.fs_type != "xfs" => {
                Some(ranges::arming(groups))
            }
            Cut::Nowhere if self.job.again && self.job.fs_type == "ext4" => {
                let mount = self.job.mount.display();
                tracing::warn!("{mount}: its superblock cannot be read, so ext4 is not made to look again");
                None
            }
            _ => None,
        }
    }

    /// One range, when no pause is wanted.
    async fn call(
        &mut self,
        worker: &mut Worker,
        range: Range,
        arming: Option<(Range, u64)>,
    ) -> Result<Done, Leave> {
        let order = Order::Trim { range, min_extent: self.job.min_extent };
        let arming = arming.map(|(range, min_extent)| Order::Trim { range, min_extent });
        loop {
            // Err: the run is gone, and so is what this turn is for.
            self.control.wait_for(|c| *c != Control::Pause).await.map_err(|_| Leave::Stopped)?;
            let mut control = self.control.clone();
            let calls = async {
                if let Some(arming) = &arming {
                    fitrim(worker, arming).await?;
                }
                fitrim(worker, &order).await
            };
            tokio::select! {
                done = calls => return done,
                () = is_held_up(&mut control) => {}
            }
            worker.kill();
            worker.gone().await;
            self.control.wait_for(|c| *c != Control::Pause).await.map_err(|_| Leave::Stopped)?;
            let (filesystem, _) = self.open().await?;
            *worker = self.start(filesystem).map_err(Leave::Failed)?;
            ready(worker).await?;
        }
    }
}

/// Waits until a pause is wanted and a call's patience is over.
async fn is_held_up(control: &mut watch::Receiver<Control>) {
    loop {
        if control.wait_for(|c| *c == Control::Pause).await.is_err() {
            // The run is gone; `stopped` sees that too.
            return std::future::pending().await;
        }
        if time::timeout(PATIENCE, control.wait_for(|c| *c != Control::Pause)).await.is_err() {
            return;
        }
    }
}

/// Waits until the worker has synced its filesystem.
async fn ready(worker: &mut Worker) -> Result<(), Leave> {
    match worker.answer().await {
        Ok(Answer::Ready) => Ok(()),
        Ok(Answer::Err(errno)) => Err(Leave::Failed(refused("syncing", errno))),
        Ok(_) | Err(_) => Err(Leave::WorkerDied),
    }
}

/// A FITRIM that came to its end.
struct Done {
    /// What it returned.
    claimed: u64,
    /// By its worker's clock.
    took: Duration,
}

/// One FITRIM.
async fn fitrim(worker: &mut Worker, order: &Order) -> Result<Done, Leave> {
    worker.order(order).await.map_err(|_| Leave::WorkerDied)?;
    match worker.answer().await {
        Ok(Answer::Ok { claimed, micros }) => Ok(Done { claimed, took: Duration::from_micros(micros) }),
        Ok(Answer::Err(errno)) => Err(Leave::Failed(refused("FITRIM", errno))),
        Ok(_) | Err(_) => Err(Leave::WorkerDied),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

    use tokio::sync::mpsc;
    use trimtab_proto::words::Pace;

    use super::*;
    use crate::{
        kernels::Release,
        sys::{Roots, mounts},
        trim::turn::{Ended, House, Job},
    };

    /// A worker whose first call never ends, and whose second one claims 7.
    fn worker(folder: &Path) -> std::path::PathBuf {
        let (path, been) = (folder.join("worker"), folder.join("been"));
        let script = format!(
            "#!/bin/sh\necho ready\nread line <&1\n[ -e {0} ] || {{ : >{0}; exec /bin/sleep 600; }}\necho ok 7 1\nread line <&1\n",
            been.display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_pause_ends_a_call_and_it_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::system();
        let root = mounts::read(&roots).unwrap();
        let root =
            root.iter().find(|sb| sb.points.iter().any(|p| p.path == Path::new("/") && !p.covered)).unwrap();
        let job = Job {
            id: root.id,
            mount: "/".into(),
            // Nothing of its division is read, so that one call does it all.
            fs_type: "btrfs".into(),
            device: None,
            size: 0,
            min_extent: 0,
            least_extent: 0,
            pace: Pace::Gentle,
            again: false,
        };
        let house = House { roots, worker: worker(folder.path()), kernel: Release::default() };
        let (told, control) = watch::channel(Control::Go);
        let (notes, mut heard) = mpsc::unbounded_channel();
        tokio::spawn(Turn { house: Arc::new(house), job, control, notes }.run());
        match heard.recv().await.unwrap().1 {
            Note::Ready { total: None, counted } => counted.send(()).unwrap(),
            other => panic!("{other:?}"),
        }
        while !folder.path().join("been").exists() {
            time::sleep(Duration::from_millis(10)).await;
        }
        let paused = Instant::now();
        told.send_replace(Control::Pause);
        assert!(time::timeout(PATIENCE * 3, heard.recv()).await.is_err(), "nothing is told of a paused call");
        told.send_replace(Control::Go);
        match heard.recv().await.unwrap().1 {
            Note::Passed { claimed: 7, .. } => {}
            other => panic!("{other:?}"),
        }
        assert!(matches!(heard.recv().await.unwrap().1, Note::Over(Ended::Done)));
        assert!(paused.elapsed() < Duration::from_secs(60), "the first call was waited for");
    }
}
