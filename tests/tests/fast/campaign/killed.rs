//! The real `trimtab worker`, killed at any moment, over agents that go on: nothing is lost, nothing counted twice.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use trimtab_controller::{
    campaign::{
        account::CampaignState,
        limits::{Limits, Share},
        run::{NewRun, VmKey},
        store::{NewCampaign, Order, Store, sqlite::SqliteStore},
    },
    host,
};
use trimtab_tests::{
    hybrid::Serving,
    programs,
    sim::{
        fleet::Dice,
        punching::{KEPT_BYTES, PunchingVm},
    },
};

const KILLS: u32 = 12;

/// A host of files and agents, a store, and a worker that is started and killed.
pub(super) struct Rig {
    folder: tempfile::TempDir,
    pub(super) vms: Vec<PunchingVm>,
    _serving: Vec<Serving>,
    pub(super) before: Vec<u64>,
}

/// Killed with the test.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Rig {
    pub(super) fn new(vms: u32) -> Self {
        let parent = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let folder = tempfile::tempdir_in(parent).unwrap();
        let pause = Duration::from_millis(30);
        let vms: Vec<PunchingVm> = (0..vms)
            .map(|number| PunchingVm::new(folder.path(), &format!("vm-{number}"), pause).unwrap())
            .collect();
        let serving = vms.iter().map(|vm| vm.serve().unwrap()).collect();
        let inventory: String = vms.iter().map(PunchingVm::inventory).collect();
        std::fs::write(folder.path().join("fleet.toml"), inventory).unwrap();
        let before = vms.iter().map(|vm| vm.allocated_bytes().unwrap()).collect();
        Self { folder, vms, _serving: serving, before }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.path("trimtab.db")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn campaign(&self) -> NewCampaign {
        let runs = self.vms.iter().zip(0..).map(|(vm, position)| NewRun {
            vm: VmKey { host: host::id(), name: vm.name().to_owned(), uuid: None },
            datastores: vec![format!("store-{}", position % 3)],
            position,
            expected_bytes: 40 << 20,
            is_first: false,
        });
        let at_once = std::num::NonZeroU32::new(4).unwrap();
        let limits =
            Limits { at_once, ramp: Vec::new(), failure_budget: Share::Percent(100), ..Limits::default() };
        NewCampaign {
            name: "killed".to_owned(),
            who: "test".to_owned(),
            plan: String::new(),
            limits,
            windows: Vec::new(),
            runs: runs.collect(),
        }
    }

    fn start(&self) -> Worker {
        let mut command = Command::new(programs::trimtab().unwrap());
        command.arg("--inventory").arg(self.folder.path().join("fleet.toml")).args(["--connect", "none"]);
        command.args(["worker", "--store"]).arg(self.store());
        // Whatever the machine is busy with is no matter here.
        command.env("TRIMTAB_IO_PRESSURE_PERCENT", "0");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        Worker(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("worker.log")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

async fn opened(store: &Path) -> SqliteStore {
    SqliteStore::open(store).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_a_dozen_moments() {
    let rig = Rig::new(16);
    let store = opened(&rig.store()).await;
    let id = store.apply(&rig.campaign()).await.unwrap();
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    for _ in 0..KILLS {
        let worker = rig.start();
        tokio::time::sleep(Duration::from_millis(100 + dice.roll(1900))).await;
        drop(worker);
    }
    let last = rig.start();
    let began = Instant::now();
    let summary = loop {
        let summary = store.status(id).await.unwrap().summary;
        if summary.state != CampaignState::Active {
            break summary;
        }
        assert!(began.elapsed() < Duration::from_secs(300), "{summary:?}\n{}", rig.said());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    drop(last);
    assert_eq!(summary.state, CampaignState::Done, "{summary:?}\n{}", rig.said());
    assert!(rig.said().contains("of a worker before this one"), "no kill met a run:\n{}", rig.said());
    let runs = store.runs(id).await.unwrap();
    assert_eq!(runs.len(), rig.vms.len());
    for (vm, before) in rig.vms.iter().zip(&rig.before) {
        let lost = i64::try_from(before - vm.allocated_bytes().unwrap()).unwrap();
        let run = runs.iter().find(|run| run.vm.name == vm.name()).unwrap();
        let events: Vec<_> = store.events(id).await.unwrap();
        let of_it: Vec<_> = events.iter().filter(|event| event.run == Some(run.run)).collect();
        assert_eq!(run.freed_bytes, lost, "{}: {run:?}\n{of_it:#?}\n{}", vm.name(), rig.said());
        assert_eq!(vm.trims().1, 0, "{} was called while it trimmed for another", vm.name());
        assert_eq!(vm.allocated_bytes().unwrap(), KEPT_BYTES);
    }
    assert_eq!(summary.freed_bytes, runs.iter().map(|run| run.freed_bytes).sum::<i64>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_puts_back_what_runs_and_a_second_worker_is_told_of_the_first() {
    let rig = Rig::new(6);
    let store = opened(&rig.store()).await;
    let id = store.apply(&rig.campaign()).await.unwrap();
    let mut worker = rig.start();
    let began = Instant::now();
    while store.status(id).await.unwrap().running.len() < 4 {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", rig.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut second = rig.start();
    assert_eq!(second.0.wait().unwrap().code(), Some(75), "{}", rig.said());
    assert!(rig.said().contains(&format!("process {}", worker.0.id())), "{}", rig.said());
    let pid = nix::unistd::Pid::from_raw(worker.0.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(worker.0.wait().unwrap().code(), Some(0), "{}", rig.said());
    let status = store.status(id).await.unwrap();
    assert_eq!((status.summary.running, status.summary.state), (0, CampaignState::Active), "{}", rig.said());
    // What was done until then is counted, and the rest is another turn's.
    let aborted = store.order(id, &Order::Abort, "test").await.unwrap();
    assert_eq!(aborted.state, CampaignState::Aborted);
    let lost: u64 =
        rig.vms.iter().zip(&rig.before).map(|(vm, before)| before - vm.allocated_bytes().unwrap()).sum();
    assert_eq!(aborted.freed_bytes, i64::try_from(lost).unwrap(), "{}", rig.said());
}
