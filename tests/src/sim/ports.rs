//! The three ports of a simulated VM.

use std::{ops::Deref, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use trimtab_controller::{
    model::{
        disk::{DiskCounters, VmmView},
        guest::{AgentInfo, GuestSurvey},
        image::{Allocation, Datastore, Image, Place, Qcow2Header},
        probe::{ProbeEvent, ProbeOrder},
        run::{Failure, FilesystemRun, RunEvent, RunReport, Sent, SteerOrder, TrimOrder},
        trouble::{Kind, Trouble},
    },
    trim::ports::{Guest, ProbeStream, RunStream, Storage, Vmm},
};
use trimtab_proto::words::{ClaimKind, FailureKind, FilesystemState, RunState, StopReason, Wire};

use super::{
    facts,
    run::{Active, Ended},
    vm::{Behaviour, KEPT_BYTES, SimVm, State, signed},
};

/// What a client waits for a survey, and for an event: docs/usage has both.
const SILENT_AFTER: Duration = Duration::from_secs(10);
const STALLED_AFTER: Duration = Duration::from_secs(60);

impl SimVm {
    async fn answer(&self) -> Result<(), Trouble> {
        sleep(self.spec.latency).await;
        let silent = {
            let mut state = self.now();
            state.calls += 1;
            match self.spec.behaviour {
                Behaviour::NoAgent => {
                    return Err(Trouble::new(Kind::NoAgent, "nothing listens in the guest"));
                }
                Behaviour::Silent(calls) => state.calls <= calls,
                _ => false,
            }
        };
        if silent {
            sleep(SILENT_AFTER).await;
            return Err(Trouble::new(Kind::AgentSilent, "no answer within 10 s"));
        }
        Ok(())
    }

    fn is_guarded(&self) -> bool {
        matches!(self.spec.behaviour, Behaviour::Guarded(time) if self.born.elapsed() < time)
    }

    fn disks(&self) -> u64 {
        u64::try_from(self.spec.datastores.len()).unwrap_or(1)
    }

    /// The part of a figure of the whole VM that one disk has: all parts together are the whole.
    fn part(&self, of: i64, index: usize) -> i64 {
        let disks = signed(self.disks());
        match index {
            0 => of - of / disks * (disks - 1),
            _ => of / disks,
        }
    }

    fn allocated(&self, state: &State, index: usize) -> u64 {
        let garbage = self.part(signed(self.spec.garbage_bytes), index);
        let now = signed(KEPT_BYTES) + garbage - self.part(state.freed(), index);
        u64::try_from(now).unwrap_or(0)
    }

    fn index_of(&self, image: &Image) -> Option<usize> {
        (0..self.spec.datastores.len()).find(|index| facts::image(&self.spec, *index) == *image)
    }

    fn begin(&self, state: &mut State, order: &TrimOrder) {
        state.runs += 1;
        let hangs = match self.spec.behaviour {
            Behaviour::Hangs(runs) => state.runs <= runs,
            Behaviour::IoError | Behaviour::Damaged => true,
            _ => false,
        };
        state.active = Some(Active {
            id: order.run_id.clone(),
            fence: order.fence,
            began: Instant::now(),
            takes: self.spec.takes,
            garbage_bytes: state.garbage_bytes,
            growth_bytes: self.spec.growth_bytes,
            alone_since: None,
            linger: order.linger,
            hangs_at: hangs.then_some(self.spec.takes / 2),
        });
    }

    fn report(&self, state: &State, run_id: &str) -> Option<RunReport> {
        let running = state.active.as_ref().filter(|run| run.id == run_id);
        let ended = state.ended.get(run_id);
        let (fence, stop, sent) = match (running, ended) {
            (Some(run), _) => (run.fence, None, run.share(Instant::now()).of(run.garbage_bytes)),
            (None, Some(ended)) => (0, Some(ended), ended.sent_bytes),
            (None, None) => return None,
        };
        let indexes = 0..self.spec.datastores.len();
        Some(RunReport {
            run_id: run_id.to_owned(),
            fence,
            boot_id: facts::BOOT_ID.to_owned(),
            state: Wire::Known(if stop.is_some() { RunState::Ended } else { RunState::Running }),
            stop: stop.map(|ended| Wire::Known(ended.stop)),
            duration: stop.map_or(Duration::ZERO, |ended| ended.took),
            filesystems: indexes.clone().map(|index| self.filesystem_run(state, stop, sent, index)).collect(),
            sent: indexes
                .map(|index| Sent {
                    device_id: facts::handle(index),
                    discarded_bytes: Some(self.part(signed(sent), index).unsigned_abs()),
                    written_bytes: Some(0),
                })
                .collect(),
            settled: true,
        })
    }

    fn filesystem_run(&self, state: &State, stop: Option<&Ended>, sent: u64, index: usize) -> FilesystemRun {
        let failure = match (stop, self.spec.behaviour) {
            (Some(_), Behaviour::Fails(runs)) if state.runs <= runs => {
                Some((FailureKind::Stuck, "it is stuck"))
            }
            (Some(_), Behaviour::Damaged) => Some((FailureKind::Damaged, "it needs fsck")),
            _ => None,
        };
        let is_over = match (stop.map(|ended| ended.stop), failure) {
            (None, _) => FilesystemState::Running,
            (_, Some(_)) => FilesystemState::Failed,
            (Some(StopReason::Done), None) => FilesystemState::Done,
            (Some(_), None) => FilesystemState::Partial,
        };
        FilesystemRun {
            filesystem_id: facts::handle(index),
            state: Wire::Known(is_over),
            claimed_bytes: Some(self.part(signed(sent), index).unsigned_abs()),
            claim: Some(Wire::Known(ClaimKind::Submitted)),
            passes: 1,
            passed_bytes: 0,
            min_extent_bytes: 0,
            duration: Duration::ZERO,
            calls: 1,
            longest_call: Duration::ZERO,
            skip: None,
            failure: failure.map(|(kind, text)| Failure {
                kind: Wire::Known(kind),
                errno: 0,
                text: text.to_owned(),
            }),
        }
    }
}

/// The ways to a simulated VM: all three of them.
#[derive(Clone, Debug)]
pub struct Ways(pub Arc<SimVm>);

impl Deref for Ways {
    type Target = SimVm;

    fn deref(&self) -> &SimVm {
        &self.0
    }
}

fn no_such_run() -> Trouble {
    Trouble::new(Kind::AgentRefused, "it knows of no such run since its boot")
}

impl Guest for Ways {
    type Run = SimRun;
    type Probe = NoProbe;

    async fn hello(&self) -> Result<AgentInfo, Trouble> {
        self.answer().await?;
        Ok(facts::agent())
    }

    async fn survey(&self) -> Result<GuestSurvey, Trouble> {
        self.answer().await?;
        Ok(facts::survey(&self.spec))
    }

    async fn trim(&self, order: &TrimOrder) -> Result<SimRun, Trouble> {
        self.answer().await?;
        let mut state = self.now();
        let stream = |breaks| SimRun { vm: Arc::clone(&self.0), run_id: order.run_id.clone(), breaks };
        if state.ended.contains_key(&order.run_id) {
            return Ok(stream(false));
        }
        match &mut state.active {
            Some(active) if active.id != order.run_id => {
                Err(Trouble::new(Kind::Busy, "a trim is under way in that guest"))
            }
            Some(active) if order.fence < active.fence => {
                Err(Trouble::new(Kind::AgentRefused, "a newer caller has taken this run over"))
            }
            Some(active) => {
                active.fence = order.fence;
                active.alone_since = None;
                Ok(stream(false))
            }
            None => {
                self.begin(&mut state, order);
                Ok(stream(self.spec.behaviour == Behaviour::Breaks))
            }
        }
    }

    async fn steer(&self, order: &SteerOrder) -> Result<RunReport, Trouble> {
        self.answer().await?;
        let mut state = self.now();
        let is_its = state.active.as_ref().is_some_and(|run| run.id == order.run_id);
        // A guest that hangs in its discards is cancelled all the same: its worker is killed.
        if is_its {
            self.close(&mut state, Instant::now(), StopReason::Cancelled);
        }
        self.report(&state, &order.run_id).ok_or_else(no_such_run)
    }

    async fn probe(&self, _: &ProbeOrder) -> Result<NoProbe, Trouble> {
        Err(Trouble::new(Kind::AgentRefused, "it does not probe"))
    }

    async fn get_run(&self, run_id: &str) -> Result<RunReport, Trouble> {
        self.answer().await?;
        let state = self.now();
        self.report(&state, run_id).ok_or_else(no_such_run)
    }
}

/// The stream of a run. Dropping it leaves the run alone.
#[derive(Debug)]
pub struct SimRun {
    vm: Arc<SimVm>,
    run_id: String,
    /// It breaks in the middle.
    breaks: bool,
}

impl RunStream for SimRun {
    async fn next(&mut self) -> Option<Result<RunEvent, Trouble>> {
        loop {
            let changed = self.vm.changed.notified();
            let (until, then) = {
                let mut state = self.vm.now();
                match &state.active {
                    Some(run) if run.id == self.run_id => {
                        let middle = run.began + run.takes / 2;
                        match (run.hangs_at, self.vm.spec.behaviour) {
                            (Some(_), Behaviour::IoError) if middle <= Instant::now() => {
                                state.is_stopped = true;
                                (middle, Some("the VM has stopped"))
                            }
                            (Some(_), Behaviour::Damaged) if middle <= Instant::now() => {
                                self.vm.close(&mut state, middle, StopReason::Done);
                                continue;
                            }
                            (Some(_), Behaviour::IoError | Behaviour::Damaged) => (middle, None),
                            (Some(_), _) => (middle + STALLED_AFTER, Some("no event for 60 s")),
                            (None, _) if self.breaks => (middle, Some("the connection broke")),
                            (None, _) => (run.began + run.takes, None),
                        }
                    }
                    _ => return self.vm.report(&state, &self.run_id).map(|report| Ok(RunEvent::End(report))),
                }
            };
            let woken = tokio::select! {
                () = sleep_until(until) => false,
                () = changed => true,
            };
            if let (Some(what), false) = (then, woken) {
                return Some(Err(Trouble::new(Kind::AgentLost, what)));
            }
        }
    }
}

impl Drop for SimRun {
    fn drop(&mut self) {
        let mut state = self.vm.now();
        if let Some(run) = state.active.as_mut().filter(|run| run.id == self.run_id) {
            run.alone_since = Some(Instant::now());
        }
    }
}

/// No simulated guest probes.
#[derive(Debug)]
pub enum NoProbe {}

impl ProbeStream for NoProbe {
    async fn next(&mut self) -> Option<Result<ProbeEvent, Trouble>> {
        match *self {}
    }
}

impl Vmm for Ways {
    async fn look(&self) -> Result<VmmView, Trouble> {
        let is_stopped = self.now().is_stopped;
        Ok(facts::view(&self.spec, is_stopped, self.is_guarded()))
    }

    async fn counters(&self) -> Result<Vec<(String, DiskCounters)>, Trouble> {
        let state = self.now();
        let sent: u64 = state.ended.values().map(|run| run.sent_bytes).sum();
        let active = state.active.as_ref().map_or(0, |run| run.share(Instant::now()).of(run.garbage_bytes));
        let counters = |index: usize| DiskCounters {
            written_bytes: Some(0),
            arrived_bytes: Some(self.part(signed(sent + active), index).unsigned_abs()),
            failed_requests: Some(0),
            failed_io: None,
        };
        let disks = 0..self.spec.datastores.len();
        Ok(disks.map(|index| (facts::device(index), counters(index))).collect())
    }
}

impl Storage for Ways {
    async fn allocation(&self, image: &Image) -> Result<Allocation, Trouble> {
        let index = self.index_of(image).ok_or_else(|| Trouble::new(Kind::Image, "no such image"))?;
        let inode = u64::try_from(index).unwrap_or(0);
        Ok(Allocation {
            allocated_bytes: Some(self.allocated(&self.now(), index)),
            length_bytes: 64 << 30,
            file: (1, inode),
            is_block_device: false,
        })
    }

    async fn qcow2_header(&self, _: &Image) -> Result<Qcow2Header, Trouble> {
        Err(Trouble::new(Kind::Image, "not a qcow2 image"))
    }

    async fn place(&self, image: &Image) -> Result<Place, Trouble> {
        Ok(Place { datastore: self.datastore(image).await?, ..Place::default() })
    }

    async fn datastore(&self, image: &Image) -> Result<Option<Datastore>, Trouble> {
        let on = self.index_of(image).and_then(|index| self.spec.datastores.get(index));
        Ok(on.map(|identity| facts::datastore(identity)))
    }

    async fn shares_extents(&self, _: &Image) -> Option<bool> {
        Some(false)
    }

    async fn settle(&self, _: &Image) -> Result<(), Trouble> {
        Ok(())
    }
}
