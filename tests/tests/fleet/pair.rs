//! Two hosts with real workers over one database and one storage, and guests that move between them.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;
use trimtab_controller::campaign::{
    account::{CampaignState, Status},
    store::{
        Store,
        postgres::{PgStore, Terms, grant, init},
    },
};
use trimtab_tests::{
    campaigns::WorkerProcess,
    disguise::Disguise,
    hybrid::{self, Serving},
    postgres::Postgres,
    sim::punching::{KEPT_BYTES, PunchingVm},
};

pub(crate) const LEASE: Duration = Duration::from_secs(2);
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Ten pieces of a trim take three seconds: time to move in.
pub(crate) const PAUSE: Duration = Duration::from_millis(300);
/// One storage to both hosts.
const CONFIG: &str = "[[datastore]]\nname = \"nas\"\nmatch = \"*\"";

/// A guest, and the way to it of the host that it is on.
pub(crate) struct Guest {
    pub(crate) vm: PunchingVm,
    uuid: String,
    host: usize,
    _serving: Serving,
    way: Option<Serving>,
}

pub(crate) struct Pair {
    guests: Vec<Guest>,
    pub(crate) hosts: [Disguise; 2],
    pub(crate) workers: Vec<WorkerProcess>,
    store: PgStore,
    pub(crate) postgres: Postgres,
    _folder: tempfile::TempDir,
}

impl Pair {
    /// Guests on these hosts, which publish them.
    pub(crate) async fn of(guests: &[(&str, usize)]) -> Result<Self> {
        let postgres = tokio::task::block_in_place(Postgres::start)?;
        let operator = postgres.url("trimtab");
        init(&operator, Some(Terms { lease: LEASE })).await?;
        let hosts = [Disguise::new('a', CONFIG)?, Disguise::new('b', CONFIG)?];
        for host in &hosts {
            grant(&operator, host.id(), host.id()).await?;
        }
        let parent = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let folder = tempfile::Builder::new().prefix("trimtab-").tempdir_in(parent)?;
        let guests = (0..).zip(guests).map(|(number, (name, host)): (u8, _)| {
            let vm = PunchingVm::new(folder.path(), name, PAUSE)?;
            let uuid = format!("00000000-0000-4000-8000-{:012}", number + 1);
            Ok(Guest { uuid, host: *host, _serving: vm.serve()?, way: None, vm })
        });
        let guests = guests.collect::<Result<_>>()?;
        let store = PgStore::open(&operator).await?;
        let mut pair = Self { guests, hosts, workers: Vec::new(), store, postgres, _folder: folder };
        for number in 0..pair.guests.len() {
            pair.arrives(number)?;
        }
        for host in &pair.hosts {
            fs::create_dir_all(host.path("state"))?;
            let mut command = host.trimtab(&host.path("fleet.toml"), &["worker"])?;
            command.env("TRIMTAB_STORE", pair.postgres.url(host.id()));
            pair.workers.push(WorkerProcess::start(command, &host.path("worker.log"))?);
        }
        Ok(pair)
    }

    fn number(&self, name: &str) -> Result<usize> {
        self.guests.iter().position(|guest| guest.vm.name() == name).context("no such guest")
    }

    pub(crate) fn guest(&self, name: &str) -> Result<&Guest> {
        Ok(&self.guests[self.number(name)?])
    }

    /// Its host has a way to it, and its file names it.
    fn arrives(&mut self, number: usize) -> Result<()> {
        let guest = &mut self.guests[number];
        let way = self.hosts[guest.host].path(&format!("{}.vsock", guest.vm.name()));
        guest.way = Some(hybrid::relay(&way, guest.vm.socket())?);
        self.write()
    }

    /// As a script that migrates does: it leaves the one file, and then comes to the other.
    pub(crate) fn move_to(&mut self, name: &str, host: usize) -> Result<()> {
        let number = self.number(name)?;
        // What its host talks to it about breaks.
        self.guests[number].way = None;
        self.write()?;
        self.guests[number].host = host;
        self.arrives(number)
    }

    fn write(&self) -> Result<()> {
        for (number, host) in self.hosts.iter().enumerate() {
            let here = self.guests.iter().filter(|guest| guest.host == number);
            let lines: String = here
                .filter_map(|guest| {
                    let uuid = format!("uuid = \"{}\"", guest.uuid);
                    Some(guest.vm.inventory_by(guest.way.as_ref()?.path(), &uuid))
                })
                .collect();
            fs::write(host.path("new.toml"), lines)?;
            fs::rename(host.path("new.toml"), host.path("fleet.toml"))?;
        }
        Ok(())
    }

    pub(crate) fn said(&self) -> String {
        let log = |host: &Disguise| fs::read_to_string(host.path("worker.log")).unwrap_or_default();
        self.hosts.each_ref().map(log).join("--\n")
    }

    /// `trimtab` as the first host's operator has it.
    pub(crate) fn operator(&self, words: &[&str]) -> Result<Command> {
        let host = &self.hosts[0];
        let mut command = host.trimtab(&host.path("fleet.toml"), words)?;
        command.env("TRIMTAB_STORE", self.postgres.url("trimtab"));
        Ok(command)
    }

    /// Plans as an operator does, until the plan has all guests; one at once on each host.
    pub(crate) async fn apply(&self) -> Result<i64> {
        let plan = self.hosts[0].path("plan.toml");
        let run = |words: &[&str]| Ok::<_, anyhow::Error>(self.operator(words)?.output()?);
        let file = plan.to_str().context("a folder whose name is not UTF-8")?;
        let limits = ["--per-host", "1", "--per-datastore", "9", "--at-once", "9", "--force"];
        let began = Instant::now();
        loop {
            let planned = run(&[&["campaign", "plan", "-o", file][..], &limits].concat())?;
            let text = fs::read_to_string(&plan).unwrap_or_default();
            if text.matches("[[vm]]").count() == self.guests.len() {
                let text = text.replace("first = true ", "first = false ");
                fs::write(&plan, text.replace("ramp = [1, 5, \"10 %\"]", "ramp = []"))?;
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "{planned:?}\n{text}\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let applied = run(&["campaign", "apply", file])?;
        ensure!(applied.status.success(), "{applied:?}");
        Ok(1)
    }

    pub(crate) async fn until(
        &self,
        campaign: i64,
        what: &str,
        fits: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let began = Instant::now();
        loop {
            let status = self.store.status(campaign).await?;
            if fits(&status) {
                return Ok(status);
            }
            ensure!(began.elapsed() < PATIENCE, "{what}: {status:#?}\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What each image has lost is told once, no guest was called while it trimmed, and the one that has migrated was trimmed
    /// to its end by its new host.
    pub(crate) async fn check(&self, campaign: i64, moved: &str) -> Result<()> {
        let status =
            self.until(campaign, "it ends", |status| status.summary.state == CampaignState::Done).await?;
        let runs = self.store.runs(campaign).await?;
        let events = self.store.events(campaign).await?;
        for guest in &self.guests {
            let name = guest.vm.name();
            let run = runs.iter().find(|run| run.vm.name == name).context("no run")?;
            let story: Vec<String> = events
                .iter()
                .filter(|event| event.run == Some(run.run))
                .map(|event| format!("{}: {}", event.what, event.text))
                .collect();
            let allocated = guest.vm.allocated_bytes()?;
            ensure!(
                allocated == KEPT_BYTES,
                "{name} still occupies {allocated}: {story:#?}\n{}",
                self.said()
            );
            ensure!(run.freed_bytes == 40 << 20, "{name}: {run:#?}\n{story:#?}\n{}", self.said());
            ensure!(guest.vm.trims().1 == 0, "{name} was called while it trimmed: {story:#?}");
            ensure!(run.vm.host == self.hosts[guest.host].id(), "{name}: {run:?}");
            let migrations = story.iter().filter(|line| line.starts_with("moved: ")).count();
            ensure!(migrations == usize::from(name == moved), "{name}: {story:#?}");
        }
        ensure!(status.summary.freed_bytes == (40 << 20) * i64::try_from(self.guests.len())?);
        Ok(())
    }
}
