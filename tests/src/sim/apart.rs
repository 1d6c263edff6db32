//! A part of a fleet in a process of its own: the workers of some hosts over one database, in real time. What guests,
//! storage and workers saw goes into a record, with times of CLOCK_MONOTONIC, which all processes share.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use nix::{
    sys::time::TimeValLike as _,
    time::{ClockId, clock_gettime},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use trimtab_controller::campaign::{
    store::{Claimant, postgres::PgStore},
    worker::{Settings, Worker},
};

use crate::bench::own;

use super::{
    SimVms,
    fleet::{self, FleetSpec},
    log::Entry,
    play::{Ear, How, Turn},
    vm::Spec,
};

/// A fleet whose hosts are spread over processes.
#[derive(Clone, Copy, Debug)]
pub struct Apart {
    /// Its VMs.
    pub fleet: FleetSpec,
    /// VM n runs on host n modulo this.
    pub hosts: u64,
    /// Trims take this part of the time that the fleet's do.
    pub faster: u32,
}

impl Apart {
    /// Each VM with its host's number.
    pub fn vms(self) -> impl Iterator<Item = (u64, Spec)> {
        (0..).zip(fleet::specs(self.fleet)).map(move |(number, spec)| {
            let takes = spec.takes / self.faster;
            (number % self.hosts.max(1), Spec { takes, latency: Duration::from_millis(1), ..spec })
        })
    }

    /// Works for the hosts of one of so many processes until `leave` becomes true.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub async fn work(
        self,
        url: impl Fn(&str) -> String,
        part: u64,
        of: u64,
        leave: watch::Receiver<bool>,
    ) -> Result<Record> {
        let zero = Zero::now()?;
        let (mut workers, mut hosts) = (JoinSet::new(), Vec::new());
        for host in (0..self.hosts).filter(|host| host % of == part) {
            let world = fleet::world(self.vms().filter(|(its, _)| *its == host).map(|(_, spec)| spec));
            let (world, ear) = (Arc::new(world), Arc::new(Ear::default()));
            let name = host_name(host);
            let worker = Worker {
                store: Arc::new(PgStore::open(&url(&name)).await?),
                vms: Arc::new(SimVms(Arc::clone(&world))),
                claimant: Claimant { host: name, worker: format!("process {}", std::process::id()) },
                settings: Settings { io_pressure_percent: 0, ..Settings::default() },
                listener: ear.clone(),
            };
            let leave = leave.clone();
            workers.spawn(async move { worker.work(leave).await });
            hosts.push((world, ear));
        }
        while let Some(ended) = workers.join_next().await {
            ended?;
        }
        let mut record = Record { peak_kib: own::peak_kib()?, cpu: own::cpu()?, ..Record::default() };
        for (world, ear) in hosts {
            record.guests.extend(world.log.entries().iter().map(|entry| zero.span(entry)));
            record.turns.extend(ear.turns().iter().filter_map(|turn| zero.turn(turn)));
            record.lost.extend(world.vms.iter().map(|vm| (vm.spec.name.clone(), vm.freed_bytes())));
            record.words.extend(ear.words());
        }
        Ok(record)
    }
}

/// How a host is called, and the role that stands for it.
pub fn host_name(host: u64) -> String {
    format!("host-{host:02}")
}

/// What one process saw.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
pub struct Record {
    /// Trims as their guests saw them.
    pub guests: Vec<Span>,
    /// Turns that ended, as their workers told of them.
    pub turns: Vec<Span>,
    /// By VM: what its storage lost, in bytes.
    pub lost: Vec<(String, i64)>,
    /// What else the workers said.
    pub words: Vec<String>,
    /// The process's peak of resident memory, the simulated part of the fleet included.
    pub peak_kib: u64,
    /// What it used of a CPU.
    pub cpu: Duration,
}

/// Something of a VM, from when to when: microseconds of CLOCK_MONOTONIC.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct Span {
    /// Whose.
    pub vm: String,
    /// When it began.
    pub began: u64,
    /// When it was over.
    pub ended: u64,
    /// It was the first of that VM.
    pub is_first: bool,
}

/// A moment in both of the clocks: tokio's tells no number.
#[derive(Clone, Copy, Debug)]
pub struct Zero {
    at: Instant,
    micros: u64,
}

impl Zero {
    /// Now.
    ///
    /// # Errors
    /// The clock cannot be read.
    pub fn now() -> Result<Self> {
        let micros = clock_gettime(ClockId::CLOCK_MONOTONIC)?.num_microseconds();
        Ok(Self { at: Instant::now(), micros: u64::try_from(micros)? })
    }

    /// The time of so many microseconds; those before this moment are this moment.
    pub fn at(self, micros: u64) -> Instant {
        self.at + Duration::from_micros(micros.saturating_sub(self.micros))
    }

    fn micros(self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.at).as_micros();
        self.micros.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    fn span(self, entry: &Entry) -> Span {
        let (began, ended) = (self.micros(entry.began), self.micros(entry.ended));
        Span { vm: entry.vm.clone(), began, ended, is_first: entry.is_first }
    }

    fn turn(self, turn: &Turn) -> Option<Span> {
        let (began, ended) = (self.micros(turn.began), self.micros(turn.ended?));
        (turn.how != Some(How::Dropped)).then(|| Span { vm: turn.vm.clone(), began, ended, is_first: false })
    }
}
