//! One run: which filesystem is at work, what came of it, what ends it. It owns the run's state and decides; the
//! turns obey. It touches no filesystem and never waits for a reader.
//!
//! ```text
//! RUNNING <-> PAUSED
//!    |          |
//!    +----------+--- steer, nobody listens, deadline, shutdown ---> STOPPING (workers killed, not all reaped)
//!    |                                                                 |
//!    +--- every filesystem is over ------> SETTLING <------------------+
//!                                             | counters stand still, or the bound passed
//!                                           ENDED
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time,
};
use trimtab_proto::words::{Action, FilesystemState, RunState, StopReason};

use super::{
    disks::Disks,
    feed::{self, Feed, FeedWriter},
    plan::Planned,
    report::{Event, Order, RunReport, What},
    slot::Slot,
    turn::{Control, House, Note, Turn},
};
use crate::{
    model::DevNum,
    schedule::{self, Entry},
};

/// At most two progress events a second.
const TICK: Duration = Duration::from_millis(500);

/// No tick for so long: somebody stopped this process (SIGSTOP).
const STOPPED_SINCE: Duration = Duration::from_secs(10);

/// Between two looks at counters that should stand still.
const SETTLE_STEP: Duration = Duration::from_millis(100);

/// Measured: a killed FITRIM's last discard was done 3 s later; XFS's own within 1 s.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// The agent was told to go; a service manager does not wait long.
const SETTLE_LIMIT_AT_SHUTDOWN: Duration = Duration::from_secs(3);

/// What others want of a run.
pub(super) enum Command {
    /// A caller wants to listen, in the place of the one before.
    Attach { fence: u64, reply: oneshot::Sender<Feed> },
    /// The caller with this number listens no more.
    Detach(u64),
    /// Pause, resume or cancel.
    Steer { fence: u64, action: Action, reply: oneshot::Sender<RunReport> },
    /// End, for this reason.
    Stop(StopReason),
}

pub(super) struct Run {
    house: Arc<House>,
    order: Order,
    slots: Vec<Slot>,
    disks: Disks,
    began: Instant,
    state: RunState,
    stop: Option<StopReason>,
    settled: bool,
    fence: u64,
    boot_id: String,
    listener: Option<(u64, FeedWriter)>,
    listeners: u64,
    alone_since: Option<Instant>,
    commands: mpsc::UnboundedReceiver<Command>,
    // For the streams that come: each tells when it goes.
    own_commands: mpsc::WeakUnboundedSender<Command>,
    notes: mpsc::UnboundedReceiver<(DevNum, Note)>,
    own_notes: mpsc::UnboundedSender<(DevNum, Note)>,
    published: watch::Sender<RunReport>,
    /// The last tick.
    ticked: Instant,
    /// Whose progress is told next, where several run side by side.
    turn_to_tell: usize,
}

/// What a run needs from outside.
pub(super) struct Start {
    pub(super) house: Arc<House>,
    pub(super) order: Order,
    pub(super) fence: u64,
    pub(super) boot_id: String,
    pub(super) planned: Vec<Planned>,
    pub(super) disks: Disks,
}

/// A run's handles for others.
pub(super) struct Handles {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) report: watch::Receiver<RunReport>,
}

/// What is left of a run.
pub(super) struct Over {
    pub(super) report: RunReport,
    listener: Option<(u64, FeedWriter)>,
    elapsed_ms: u64,
}

impl Over {
    /// Tells the listener, who may call again at once: whoever keeps reports must have kept this one before.
    pub(super) fn tell(self) {
        if let Some((_, writer)) = self.listener {
            writer.push(Event { elapsed_ms: self.elapsed_ms, what: What::End(self.report) });
        }
    }
}

impl Run {
    pub(super) fn new(start: Start) -> (Self, Handles) {
        let (commands_tx, commands) = mpsc::unbounded_channel();
        let (own_notes, notes) = mpsc::unbounded_channel();
        let began = Instant::now();
        let first = RunReport {
            run_id: start.order.run_id.clone(),
            fence: start.fence,
            boot_id: start.boot_id.clone(),
            state: RunState::Running,
            stop: None,
            duration_ms: 0,
            filesystems: start.planned.iter().map(|planned| planned.run.clone()).collect(),
            sent: Vec::new(),
            settled: false,
        };
        let run = Self {
            house: start.house,
            order: start.order,
            slots: start.planned.into_iter().map(Slot::new).collect(),
            disks: start.disks,
            began,
            state: RunState::Running,
            stop: None,
            settled: false,
            fence: start.fence,
            boot_id: start.boot_id,
            listener: None,
            listeners: 0,
            alone_since: Some(began),
            commands,
            own_commands: commands_tx.downgrade(),
            notes,
            own_notes,
            published: watch::channel(first).0,
            ticked: began,
            turn_to_tell: 0,
        };
        let report = run.published.subscribe();
        (run, Handles { commands: commands_tx, report })
    }

    /// Attaches the run's first listener.
    pub(super) fn first_listener(&mut self) -> Feed {
        self.attach()
    }

    /// The whole run.
    pub(super) async fn drive(mut self) -> Over {
        let mut tick = time::interval(TICK);
        tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        self.start_turns();
        while self.slots.iter().any(|slot| !slot.planned.run.is_over()) {
            let limit = self.next_limit();
            tokio::select! {
                Some(command) = self.commands.recv() => self.obey(command),
                Some((id, note)) = self.notes.recv() => self.hear(id, note),
                () = until(limit.map(|(at, _)| at)) => self.end(limit.map_or(StopReason::Deadline, |(_, why)| why)),
                _ = tick.tick() => self.tick(),
            }
            self.start_turns();
        }
        self.settle().await;
        self.stop.get_or_insert(StopReason::Done);
        self.state = RunState::Ended;
        self.publish();
        let report = self.report();
        Over { elapsed_ms: report.duration_ms, report, listener: self.listener }
    }

    /// Waits until what is in flight has landed.
    async fn settle(&mut self) {
        self.state = RunState::Settling;
        self.say_state();
        let began = Instant::now();
        let mut told = began;
        self.disks.look(began);
        loop {
            tokio::select! {
                Some(command) = self.commands.recv() => {
                    self.obey(command);
                    continue;
                }
                () = time::sleep(SETTLE_STEP) => {}
            }
            let now = Instant::now();
            self.disks.look(now);
            if self.disks.settled(now) {
                self.settled = self.disks.counted();
                return;
            }
            let limit = match self.stop {
                Some(StopReason::Shutdown) => SETTLE_LIMIT_AT_SHUTDOWN,
                _ => SETTLE_LIMIT,
            };
            if now.saturating_duration_since(began) >= limit {
                return;
            }
            if now.saturating_duration_since(told) >= TICK {
                told = now;
                self.tell_progress();
            }
        }
    }

    /// When time alone ends the run, and why.
    fn next_limit(&self) -> Option<(Instant, StopReason)> {
        if self.stop.is_some() {
            return None;
        }
        let deadline = self.order.deadline.and_then(|d| self.began.checked_add(d));
        let alone = self.alone_since.and_then(|since| since.checked_add(self.order.linger));
        let deadline = deadline.map(|at| (at, StopReason::Deadline));
        let alone = alone.map(|at| (at, StopReason::CallerGone));
        deadline.into_iter().chain(alone).min_by_key(|(at, _)| *at)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Attach { fence, reply } => {
                self.fence = self.fence.max(fence);
                // A caller that has gone meanwhile drops the feed, which detaches it.
                let _ = reply.send(self.attach());
                self.publish();
            }
            Command::Detach(number) => {
                if self.listener.as_ref().is_some_and(|(current, _)| *current == number) {
                    self.listener = None;
                    self.alone_since = Some(Instant::now());
                }
            }
            Command::Steer { fence, action, reply } => {
                self.fence = self.fence.max(fence);
                self.steer(action);
                let _ = reply.send(self.report());
            }
            Command::Stop(reason) => self.end(reason),
        }
    }

    /// The newest caller listens; the one before is told so and let go.
    fn attach(&mut self) -> Feed {
        if let Some((_, older)) = self.listener.take() {
            let report = RunReport { stop: Some(StopReason::Superseded), ..self.report() };
            older.push(self.event(What::End(report)));
        }
        self.listeners = self.listeners.saturating_add(1);
        let number = self.listeners;
        let commands = self.own_commands.clone();
        let (writer, feed) = feed::feed(move || {
            if let Some(commands) = commands.upgrade() {
                let _ = commands.send(Command::Detach(number));
            }
        });
        writer.push(self.event(What::State(self.report())));
        self.listener = Some((number, writer));
        self.alone_since = None;
        feed
    }

    fn steer(&mut self, action: Action) {
        match (action, self.state) {
            (Action::Cancel, RunState::Running | RunState::Paused) => self.end(StopReason::Cancelled),
            (Action::Pause, RunState::Running) => self.set_state(RunState::Paused, Control::Pause),
            (Action::Resume, RunState::Paused) => self.set_state(RunState::Running, Control::Go),
            _ => self.publish(),
        }
    }

    fn set_state(&mut self, state: RunState, control: Control) {
        self.state = state;
        for slot in &self.slots {
            slot.tell(control);
        }
        self.say_state();
    }

    /// Kills what runs and drops what waits. The first reason stays.
    fn end(&mut self, reason: StopReason) {
        if self.stop.is_some() || matches!(self.state, RunState::Settling | RunState::Ended) {
            return;
        }
        self.stop = Some(reason);
        self.set_state(RunState::Stopping, Control::Stop);
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else { continue };
            if slot.planned.run.state == FilesystemState::Waiting {
                slot.planned.run.state = FilesystemState::Partial;
                self.say_filesystem(index);
            }
        }
    }

    /// Begins every turn whose disks are free.
    fn start_turns(&mut self) {
        if self.state != RunState::Running {
            return;
        }
        let entries: Vec<Entry> = self.slots.iter().map(Slot::entry).collect();
        for id in schedule::startable(&entries) {
            let Some(index) = self.index_of(id) else { continue };
            let Some(slot) = self.slots.get_mut(index) else { continue };
            let Some(job) = slot.planned.job.clone() else { continue };
            let control = slot.begin(Instant::now());
            let (house, notes) = (self.house.clone(), self.own_notes.clone());
            tokio::spawn(Turn { house, job, control, notes }.run());
            self.say_filesystem(index);
        }
    }

    fn hear(&mut self, id: DevNum, note: Note) {
        let Some(index) = self.index_of(id) else { return };
        let now = Instant::now();
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.heard = slot.heard.map(|_| now);
        match note {
            Note::Ready { total, counted } => {
                slot.heard = Some(now);
                slot.total = total;
                self.disks.begin(&slot.planned.disks, now);
                // Nobody waits any more where the turn was stopped meanwhile.
                let _ = counted.send(());
            }
            Note::Passed { bytes, claimed, took } => {
                slot.passed(bytes, claimed, took);
                // There are many of these a second; the next tick publishes them.
                return;
            }
            Note::Stopping => slot.planned.run.state = FilesystemState::Stopping,
            Note::Over(ended) => {
                slot.finish(ended, now);
                self.say_filesystem(index);
            }
        }
        self.publish();
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.ticked) >= STOPPED_SINCE {
            // This process was stopped, and so heard nothing of its workers.
            self.slots.iter_mut().for_each(|slot| slot.is_withheld(now));
        }
        self.ticked = now;
        self.disks.look(now);
        self.give_up_the_stuck(now);
        self.tell_progress();
        self.publish();
    }

    fn give_up_the_stuck(&mut self, now: Instant) {
        for slot in &mut self.slots {
            let moved = self.disks.moved(&slot.planned.disks);
            match self.state {
                RunState::Running if slot.is_stuck(moved, now) => slot.tell(Control::GiveUp),
                RunState::Paused => slot.is_withheld(now),
                _ => {}
            }
        }
    }

    /// One filesystem at a time, in turn, so that two a second stay two a second.
    fn tell_progress(&mut self) {
        let told = |slot: &&Slot| slot.began.is_some();
        let alive = |slot: &&Slot| !slot.planned.run.is_over();
        let running: Vec<&Slot> = self.slots.iter().filter(told).filter(alive).collect();
        self.turn_to_tell = self.turn_to_tell.wrapping_add(1);
        let next = self.turn_to_tell.checked_rem(running.len()).and_then(|n| running.get(n).copied());
        // While the counters settle it is the last one's.
        let Some(slot) = next.or_else(|| self.slots.iter().rfind(told)) else { return };
        let progress = slot.progress(self.disks.sent());
        self.push(What::Progress(progress));
    }

    fn index_of(&self, id: DevNum) -> Option<usize> {
        self.slots.iter().position(|slot| slot.planned.run.filesystem_id == id)
    }

    fn say_state(&mut self) {
        self.publish();
        self.push(What::State(self.report()));
    }

    fn say_filesystem(&self, index: usize) {
        if let Some(slot) = self.slots.get(index) {
            self.push(What::Filesystem(slot.report(Instant::now())));
        }
    }

    fn push(&self, what: What) {
        if let Some((_, writer)) = &self.listener {
            writer.push(self.event(what));
        }
    }

    fn event(&self, what: What) -> Event {
        Event { elapsed_ms: millis(self.began.elapsed()), what }
    }

    fn publish(&mut self) {
        self.published.send_replace(self.report());
    }

    fn report(&self) -> RunReport {
        let now = Instant::now();
        RunReport {
            run_id: self.order.run_id.clone(),
            fence: self.fence,
            boot_id: self.boot_id.clone(),
            state: self.state,
            stop: self.stop,
            duration_ms: millis(now.saturating_duration_since(self.began)),
            filesystems: self.slots.iter().map(|slot| slot.report(now)).collect(),
            sent: self.disks.sent(),
            settled: self.settled,
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
