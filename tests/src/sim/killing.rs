//! The real `trimtab worker` over guests that are files ([`super::punching`]), to be killed at any moment. What is checked is
//! what the files lost and the guests saw, against what the store says of it.

use std::{
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use trimtab_controller::{
    campaign::{
        account::{CampaignState, RunRow, Status, Summary},
        limits::{Limits, Share},
        run::{NewRun, VmKey},
        store::{NewCampaign, Store},
    },
    host,
    image::HostStorage,
    model::image::{Format, Image},
    trim::ports::Storage,
};

use super::{
    check,
    fleet::Dice,
    log::Entry,
    punching::{KEPT_BYTES, Moment, PunchingVm},
};
use crate::{campaigns::WorkerProcess, hold::Holds, hybrid::Serving, programs};

/// Between two pieces of a trim.
const PAUSE: Duration = Duration::from_millis(30);
/// For a campaign that nobody disturbs any more.
const PATIENCE: Duration = Duration::from_secs(300);

/// The datastore of a file, as the worker knows it.
fn identity(file: &Path) -> Result<String> {
    let image = Image { path: file.to_owned(), format: Format::Raw };
    let asked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let store = runtime.block_on(HostStorage.datastore(&image))?;
        anyhow::Ok(store.context("it lies on none")?.identity)
    });
    asked.join().map_err(|_| anyhow::anyhow!("it could not be asked for"))?
}

/// A host of files and agents, a store, and a worker that is started and killed.
pub struct Rig {
    folder: tempfile::TempDir,
    store: PathBuf,
    /// The guests.
    pub vms: Vec<PunchingVm>,
    _serving: Vec<Serving>,
    /// Where their trims are held up.
    pub holds: Holds<Moment>,
    /// What each image occupied at first, in bytes.
    pub before: Vec<u64>,
    /// Where all images lie.
    datastore: String,
}

impl Rig {
    /// So many guests.
    ///
    /// # Errors
    /// Files or sockets cannot be made.
    pub fn new(vms: u32) -> Result<Self> {
        Self::with_pause(vms, PAUSE)
    }

    /// So many guests whose trims rest so long, and whose agents take a caller for gone that is silent for `keepalive`.
    ///
    /// # Errors
    /// Files or sockets cannot be made.
    pub fn attentive(vms: u32, pause: Duration, keepalive: Duration) -> Result<Self> {
        Self::of(vms, |folder, name| Ok(PunchingVm::new(folder, name, pause)?.attentive(keepalive)))
    }

    /// So many guests whose trims rest for so long between two of ten pieces.
    ///
    /// # Errors
    /// Files or sockets cannot be made.
    pub fn with_pause(vms: u32, pause: Duration) -> Result<Self> {
        Self::of(vms, |folder, name| PunchingVm::new(folder, name, pause))
    }

    fn of(vms: u32, vm: impl Fn(&Path, &str) -> std::io::Result<PunchingVm>) -> Result<Self> {
        let parent = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let folder = tempfile::Builder::new().prefix("trimtab-").tempdir_in(parent)?;
        let holds = Holds::default();
        let vms = (0..vms)
            .map(|number| Ok(vm(folder.path(), &format!("vm-{number}"))?.held_up(&holds)))
            .collect::<std::io::Result<Vec<_>>>()?;
        let serving = vms.iter().map(PunchingVm::serve).collect::<std::io::Result<_>>()?;
        let inventory: String = vms.iter().map(PunchingVm::inventory).collect();
        fs::write(folder.path().join("fleet.toml"), inventory)?;
        let before = vms.iter().map(PunchingVm::allocated_bytes).collect::<std::io::Result<_>>()?;
        let store = folder.path().join("trimtab.db");
        let datastore = identity(&folder.path().join("fleet.toml"))?;
        Ok(Self { folder, store, vms, _serving: serving, holds, before, datastore })
    }

    /// The same with its store elsewhere.
    #[must_use]
    pub fn stored_at(self, store: PathBuf) -> Self {
        Self { store, ..self }
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        self.store.clone()
    }

    /// A file in the rig's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All of them, four at once.
    pub fn campaign(&self) -> NewCampaign {
        let four = NonZeroU32::new(4).unwrap_or(NonZeroU32::MIN);
        let runs = self.vms.iter().zip(0..).map(|(vm, position)| NewRun {
            vm: VmKey { host: host::id(), name: vm.name().to_owned(), uuid: None },
            datastores: vec![self.datastore.clone()],
            position,
            expected_bytes: 40 << 20,
            is_first: false,
        });
        let limits = Limits {
            at_once: four,
            per_datastore: four,
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

    /// `trimtab` with these words, over these guests and this store.
    ///
    /// # Errors
    /// There is no `trimtab`.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(programs::trimtab()?);
        command.arg("--inventory").arg(self.path("fleet.toml")).args(["--connect", "none"]).args(words);
        // Whatever the machine is busy with is no matter here.
        command.env("TRIMTAB_STORE", self.store()).env("TRIMTAB_IO_PRESSURE_PERCENT", "0");
        Ok(command)
    }

    /// Starts a worker.
    ///
    /// # Errors
    /// There is no `trimtab`, or it cannot be started.
    pub fn start(&self) -> Result<WorkerProcess> {
        WorkerProcess::start(self.command(&["worker"])?, &self.log())
    }

    /// Where workers say what they do.
    pub fn log(&self) -> PathBuf {
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
        store: &impl Store,
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
    pub async fn carry_on(&self, store: &impl Store, campaign: i64) -> Result<Summary> {
        let _worker = self.start()?;
        let status = self.until(store, campaign, |status| status.summary.state != CampaignState::Active);
        Ok(status.await?.summary)
    }

    /// Waits until the campaign's status fits.
    ///
    /// # Errors
    /// It does not come to that, or the store cannot be read.
    pub async fn until(
        &self,
        store: &impl Store,
        campaign: i64,
        fits: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let began = Instant::now();
        loop {
            let status = store.status(campaign).await?;
            if fits(&status) {
                return Ok(status);
            }
            ensure!(began.elapsed() < PATIENCE, "{status:?}\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Holds what the guests did at the same time against the campaign's limits.
    ///
    /// # Errors
    /// They were exceeded.
    pub fn check_caps(&self) -> Result<()> {
        let campaign = self.campaign();
        let entries: Vec<Entry> = self
            .vms
            .iter()
            .zip(&campaign.runs)
            .flat_map(|(vm, run)| {
                vm.turns().into_iter().map(|(began, ended)| Entry {
                    vm: vm.name().to_owned(),
                    datastores: run.datastores.clone(),
                    began,
                    ended,
                    is_first: run.is_first,
                })
            })
            .collect();
        check::caps(&entries, &campaign.limits)
    }

    /// From now on trims rest for so long between two of ten pieces.
    pub fn rest(&self, pause: Duration) {
        self.vms.iter().for_each(|vm| vm.rest(pause));
    }

    /// How many guests trim now.
    pub fn trimming(&self) -> usize {
        self.vms.iter().filter(|vm| vm.is_trimming()).count()
    }

    /// What all images have lost, in bytes.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn lost_bytes(&self) -> Result<i64> {
        let mut lost = 0;
        for (vm, before) in self.vms.iter().zip(&self.before) {
            lost += i64::try_from(*before)? - i64::try_from(vm.allocated_bytes()?)?;
        }
        Ok(lost)
    }

    /// Holds the account against the files: every byte that an image lost, once; and no guest was called twice at a time.
    ///
    /// # Errors
    /// It does not hold.
    pub async fn check(&self, store: &impl Store, campaign: i64) -> Result<()> {
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
        store: &impl Store,
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
