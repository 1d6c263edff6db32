//! The real `trimtab worker` over guests that are files ([`super::punching`]), to be killed at any moment. What is checked is
//! what the files lost and the guests saw, against what the store says of it.

use std::{
    fs::{self, OpenOptions},
    num::NonZeroU32,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use trimtab_controller::{
    campaign::{
        account::{CampaignState, RunRow, Summary},
        limits::{Limits, Share},
        run::{NewRun, VmKey},
        store::{NewCampaign, Store, sqlite::SqliteStore},
    },
    host,
};

use super::{
    fleet::Dice,
    punching::{KEPT_BYTES, PunchingVm},
};
use crate::{hybrid::Serving, programs};

/// Between two pieces of a trim.
const PAUSE: Duration = Duration::from_millis(30);
/// For a campaign that nobody disturbs any more.
const PATIENCE: Duration = Duration::from_secs(300);

/// A host of files and agents, a store, and a worker that is started and killed.
pub struct Rig {
    folder: tempfile::TempDir,
    /// The guests.
    pub vms: Vec<PunchingVm>,
    _serving: Vec<Serving>,
    /// What each image occupied at first, in bytes.
    pub before: Vec<u64>,
}

/// A running worker, killed when it is dropped.
pub struct Worker(pub Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Rig {
    /// So many guests.
    ///
    /// # Errors
    /// Files or sockets cannot be made.
    pub fn new(vms: u32) -> Result<Self> {
        let parent = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let folder = tempfile::Builder::new().prefix("trimtab-").tempdir_in(parent)?;
        let vms = (0..vms)
            .map(|number| PunchingVm::new(folder.path(), &format!("vm-{number}"), PAUSE))
            .collect::<std::io::Result<Vec<_>>>()?;
        let serving = vms.iter().map(PunchingVm::serve).collect::<std::io::Result<_>>()?;
        let inventory: String = vms.iter().map(PunchingVm::inventory).collect();
        fs::write(folder.path().join("fleet.toml"), inventory)?;
        let before = vms.iter().map(PunchingVm::allocated_bytes).collect::<std::io::Result<_>>()?;
        Ok(Self { folder, vms, _serving: serving, before })
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        self.path("trimtab.db")
    }

    /// A file in the rig's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All of them, four at once, on three datastores.
    pub fn campaign(&self) -> NewCampaign {
        let runs = self.vms.iter().zip(0..).map(|(vm, position)| NewRun {
            vm: VmKey { host: host::id(), name: vm.name().to_owned(), uuid: None },
            datastores: vec![format!("store-{}", position % 3)],
            position,
            expected_bytes: 40 << 20,
            is_first: false,
        });
        let limits = Limits {
            at_once: NonZeroU32::new(4).unwrap_or(NonZeroU32::MIN),
            ramp: Vec::new(),
            failure_budget: Share::Percent(100),
            ..Limits::default()
        };
        NewCampaign {
            name: "killed".to_owned(),
            who: "test".to_owned(),
            plan: String::new(),
            limits,
            windows: Vec::new(),
            runs: runs.collect(),
        }
    }

    /// Starts a worker.
    ///
    /// # Errors
    /// There is no `trimtab`, or it cannot be started.
    pub fn start(&self) -> Result<Worker> {
        let mut command = Command::new(programs::trimtab()?);
        command.arg("--inventory").arg(self.path("fleet.toml")).args(["--connect", "none"]);
        command.args(["worker", "--store"]).arg(self.store());
        // Whatever the machine is busy with is no matter here.
        command.env("TRIMTAB_IO_PRESSURE_PERCENT", "0");
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        Ok(Worker(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?))
    }

    fn log(&self) -> PathBuf {
        self.path("worker.log")
    }

    /// What all of its workers have said.
    pub fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Kills workers after random times up to `most`, until so many were killed or the campaign is over; says how many.
    ///
    /// # Errors
    /// A worker cannot be started, or the store not read.
    pub async fn kill(
        &self,
        store: &SqliteStore,
        campaign: i64,
        kills: u32,
        dice: &mut Dice,
        most: Duration,
    ) -> Result<u32> {
        for killed in 0..kills {
            if store.status(campaign).await?.summary.state != CampaignState::Active {
                return Ok(killed);
            }
            let worker = self.start()?;
            let after = dice.roll(u64::try_from(most.as_millis())?);
            tokio::time::sleep(Duration::from_millis(50 + after)).await;
            drop(worker);
        }
        Ok(kills)
    }

    /// Lets a worker carry the campaign to its end.
    ///
    /// # Errors
    /// It comes to none.
    pub async fn carry_on(&self, store: &SqliteStore, campaign: i64) -> Result<Summary> {
        let _worker = self.start()?;
        let began = Instant::now();
        loop {
            let summary = store.status(campaign).await?.summary;
            if summary.state != CampaignState::Active {
                return Ok(summary);
            }
            ensure!(began.elapsed() < PATIENCE, "{summary:?}\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Holds the account against the files: every byte that an image lost, once; and no guest was called twice at a time.
    ///
    /// # Errors
    /// It does not hold.
    pub async fn check(&self, store: &SqliteStore, campaign: i64) -> Result<()> {
        let summary = store.status(campaign).await?.summary;
        ensure!(summary.state == CampaignState::Done, "{summary:?}\n{}", self.said());
        let runs = store.runs(campaign).await?;
        ensure!(runs.len() == self.vms.len(), "{} runs", runs.len());
        for (vm, before) in self.vms.iter().zip(&self.before) {
            let run = runs.iter().find(|run| run.vm.name == vm.name()).context("a VM without a run")?;
            self.check_one(store, campaign, (vm, *before), run).await?;
        }
        let sum = runs.iter().map(|run| run.freed_bytes).sum::<i64>();
        ensure!(summary.freed_bytes == sum, "{sum} of {summary:?}");
        Ok(())
    }

    async fn check_one(
        &self,
        store: &SqliteStore,
        campaign: i64,
        (vm, before): (&PunchingVm, u64),
        run: &RunRow,
    ) -> Result<()> {
        let now = vm.allocated_bytes()?;
        ensure!(now == KEPT_BYTES, "{} still occupies {now} bytes: {run:?}", vm.name());
        if run.freed_bytes != i64::try_from(before - now)? {
            let events = store.events(campaign).await?;
            let of_it: Vec<_> = events.iter().filter(|event| event.run == Some(run.run)).collect();
            anyhow::bail!("{} lost {} bytes: {run:?}\n{of_it:#?}\n{}", vm.name(), before - now, self.said());
        }
        ensure!(vm.trims().1 == 0, "{} was called while it trimmed for another", vm.name());
        Ok(())
    }
}
