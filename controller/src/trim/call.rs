//! Call: the run in the guest, from its order to its last report, through cancels and lost connections.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use trimtab_proto::words::RunState;

use crate::{
    layers::Layer,
    model::{
        disk::VmState,
        guest::GuestSurvey,
        run::{RunEvent, RunReport, SteerOrder, TrimOrder},
        trouble::{Kind, Trouble},
    },
    trim::{
        event::{Listener, Stage, TurnEvent},
        ports::{Guest, RunStream, Vmm},
        wish::{Wish, another},
    },
};

/// How long a lost connection is tried again.
const RECONNECT_FOR: Duration = Duration::from_secs(15);
const RECONNECT_EVERY: Duration = Duration::from_millis(500);

/// An agent that says of a run that it goes on, and lets nobody attach, ends it when nobody has listened for the linger
/// time (5 s) and the disks have settled (10 s).
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// A run whose connection is lost more often than this is given up: the agent ends it by itself.
const MOST_RECONNECTS: u32 = 5;

/// A fence for the first call of a run: microseconds of this host's clock.
pub fn first_fence() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    u64::try_from(now).unwrap_or(u64::MAX)
}

/// One run in one guest.
pub(super) struct Call<'a, G, V> {
    pub(super) guest: &'a G,
    /// Asked before each call to a guest that may have stopped meanwhile: a stopped guest is not called.
    pub(super) vmm: &'a V,
    pub(super) survey: &'a GuestSurvey,
    pub(super) listener: &'a dyn Listener,
    /// What the caller wants of it.
    pub(super) wishes: watch::Receiver<Wish>,
}

impl<G: Guest, V: Vmm> Call<'_, G, V> {
    /// Runs the order to its end. A lost connection is mended as long as the agent still knows the run.
    pub(super) async fn run(self, order: TrimOrder) -> Result<RunReport, Trouble> {
        self.listener.event(TurnEvent::Stage(Stage::Trimming));
        let stream = self.guest.trim(&order).await?;
        self.see_through(stream, order).await
    }

    /// Takes up a run that goes on in the guest, and whose caller has gone.
    pub(super) async fn go_on(self, mut order: TrimOrder) -> Result<RunReport, Trouble> {
        self.listener.event(TurnEvent::Stage(Stage::Reconnecting));
        let lost = Trouble::new(Kind::AgentLost, "a run that was begun earlier could not be taken up again");
        match self.recover(&mut order, lost).await? {
            Recovered::Ended(report) => Ok(report),
            Recovered::Attached(stream) => self.see_through(stream, order).await,
        }
    }

    async fn see_through(mut self, mut stream: G::Run, mut order: TrimOrder) -> Result<RunReport, Trouble> {
        let mut lost_so_far: u32 = 0;
        loop {
            match self.follow(&mut stream, &order).await {
                Ok(report) => return Ok(report),
                Err(lost) if lost.kind == Kind::AgentLost && lost_so_far < MOST_RECONNECTS => {
                    lost_so_far = lost_so_far.saturating_add(1);
                    drop(stream);
                    self.listener.event(TurnEvent::Stage(Stage::Reconnecting));
                    match self.recover(&mut order, lost).await? {
                        Recovered::Ended(report) => return Ok(report),
                        Recovered::Attached(again) => stream = again,
                    }
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Reads a stream to its end, and steers as the caller wants it.
    async fn follow(&mut self, stream: &mut G::Run, order: &TrimOrder) -> Result<RunReport, Trouble> {
        let mut told = Wish::Go;
        loop {
            let event = tokio::select! {
                event = stream.next() => event,
                wish = another(&mut self.wishes, told), if told != Wish::Cancel => {
                    told = wish;
                    self.steer(wish, order).await?;
                    continue;
                }
            };
            match event {
                // One that was paused before its connection was lost.
                Some(Ok(RunEvent::State(report)))
                    if told == Wish::Go && report.state.is(RunState::Paused) =>
                {
                    told = Wish::Pause;
                }
                Some(Ok(RunEvent::End(report))) if report.boot_id != order.boot_id => return Err(rebooted()),
                Some(Ok(RunEvent::End(report))) => return Ok(report),
                Some(Ok(event)) => self.tell(event),
                Some(Err(trouble)) => return Err(trouble),
                None => {
                    return Err(Trouble::new(Kind::AgentLost, "the agent ended its stream without a report"));
                }
            }
        }
    }

    /// Tells the agent, and says so when it has heard it. An agent that refuses a pause goes on; one that does not answer
    /// is lost.
    async fn steer(&self, wish: Wish, order: &TrimOrder) -> Result<(), Trouble> {
        if let Some(stopped) = stopped_since(self.vmm).await {
            return Err(stopped);
        }
        if wish == Wish::Cancel {
            self.listener.event(TurnEvent::Stage(wish.stage()));
        }
        let order = SteerOrder { run_id: order.run_id.clone(), fence: order.fence, action: wish.action() };
        match self.guest.steer(&order).await {
            Ok(report) if wish != Wish::Cancel && is_steered(&report, wish) => {
                self.listener.event(TurnEvent::Stage(wish.stage()));
            }
            Ok(_) => {}
            Err(refused) if wish != Wish::Cancel && refused.kind == Kind::AgentRefused => {
                let text = format!("it goes on: {refused}");
                self.listener.event(TurnEvent::Warning { layer: Layer::Agent, text });
            }
            Err(trouble) => return Err(trouble),
        }
        Ok(())
    }

    /// After a lost connection: the agent may have ended the run (then its report is fetched, nothing is trimmed
    /// again), may still be at it (then attach with a higher fence), may be starting anew, or be gone for good.
    async fn recover(&self, order: &mut TrimOrder, lost: Trouble) -> Result<Recovered<G::Run>, Trouble> {
        let began = tokio::time::Instant::now();
        let mut patience = RECONNECT_FOR;
        loop {
            if let Some(stopped) = stopped_since(self.vmm).await {
                return Err(stopped);
            }
            match self.guest.get_run(&order.run_id).await {
                Ok(report) if report.boot_id != order.boot_id => return Err(rebooted()),
                Ok(report) if report.state.is(RunState::Ended) => return Ok(Recovered::Ended(report)),
                Ok(_) => {
                    // Not the clock's: the next caller's fence may come from another one.
                    order.fence = order.fence.saturating_add(1);
                    patience = ENDS_WITHIN;
                    if let Ok(stream) = self.guest.trim(order).await {
                        return Ok(Recovered::Attached(stream));
                    }
                }
                Err(trouble) if trouble.kind == Kind::AgentRefused => {
                    // It answers and does not know the run: another boot, or an agent that lost its memory.
                    match self.guest.hello().await {
                        Ok(agent) if agent.boot_id != order.boot_id => return Err(rebooted()),
                        Ok(_) => return Err(lost),
                        // It is stopping or starting.
                        Err(_) => {}
                    }
                }
                Err(_) => {}
            }
            if began.elapsed() >= patience {
                return Err(lost.hint(
                    "see whether the guest still runs; a new trim picks up what was left, and the agent stops by \
                     itself when nobody listens",
                ));
            }
            tokio::time::sleep(RECONNECT_EVERY).await;
        }
    }

    fn tell(&self, event: RunEvent) {
        match event {
            RunEvent::State(_) | RunEvent::End(_) => {}
            RunEvent::Filesystem(fs) => self.listener.event(TurnEvent::Filesystem {
                mount: self.mount_of(&fs.filesystem_id),
                state: fs.state,
                claimed_bytes: fs.claimed_bytes,
            }),
            RunEvent::Progress(progress) => self.listener.event(TurnEvent::Progress {
                mount: self.mount_of(&progress.filesystem_id),
                passed_bytes: progress.passed_bytes,
                of_bytes: progress.of_bytes,
                sent_bytes: progress
                    .sent
                    .iter()
                    .filter_map(|sent| sent.discarded_bytes)
                    .reduce(u64::saturating_add),
            }),
        }
    }

    fn mount_of(&self, id: &str) -> String {
        self.survey.filesystem(id).map_or_else(|| id.to_owned(), |fs| fs.mount.clone())
    }
}

enum Recovered<R> {
    Ended(RunReport),
    Attached(R),
}

/// The state after a trim is part of its result: a refused discard can stop a VM (werror=stop).
pub(super) async fn stopped_since<V: Vmm>(vmm: &V) -> Option<Trouble> {
    stop_of(&vmm.look().await.ok()?.vm.state?)
}

/// Why a VM whose trim has begun does not run.
pub(super) fn stop_of(state: &VmState) -> Option<Trouble> {
    match state {
        VmState::Running => None,
        VmState::Off => Some(
            Trouble::new(Kind::VmOff, "the VM was switched off during the trim")
                .hint("a new trim picks up what was left when it runs again"),
        ),
        VmState::Stopped(why) => Some(
            Trouble::new(kind_of_stop(why), format!("the VM stopped during the trim ({why})"))
                .hint("look at its storage, then resume it: QMP `cont`, or virsh resume"),
        ),
    }
}

/// "io-error" is QMP's RunState, and what libvirt's VIR_DOMAIN_PAUSED_IOERROR is called here.
fn kind_of_stop(why: &str) -> Kind {
    if why == "io-error" { Kind::VmIoError } else { Kind::VmPaused }
}

fn rebooted() -> Trouble {
    Trouble::new(Kind::GuestRebooted, "the guest booted again during the trim, and its run is gone")
        .hint("trim it once more when it is up")
}

/// Whether the run is where it was told to be; one that settles or has ended is not paused any more.
fn is_steered(report: &RunReport, wish: Wish) -> bool {
    report.state.is(if wish == Wish::Pause { RunState::Paused } else { RunState::Running })
}
