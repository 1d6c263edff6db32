//! A host of simulated guests, a database of its own, and a way to it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tokio::task::block_in_place;
use trimtab_controller::{
    campaign::{
        account::{CampaignState, Status, Summary},
        store::{
            Order, Store,
            postgres::{PgStore, Terms, grant, init},
        },
    },
    host,
};
use trimtab_tests::{
    campaigns::WorkerProcess,
    netns::{Cut, Net},
    postgres::Postgres,
    sim::killing::Rig,
    way::Way,
};

pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// Where a worker is to end its trims in two thirds of it, on a machine that does other things too.
pub(crate) const LEASE_OF_A_NET: Duration = Duration::from_secs(3);
/// Ten pieces of a trim take a second.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);
/// None of them ends while the network is cut.
pub(crate) const LONG_PAUSE: Duration = Duration::from_secs(5);
/// An agent takes a caller for gone that is silent for so long: before its lease is over.
const KEEPALIVE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(240);

pub(crate) struct Fleet {
    pub(crate) host: Rig,
    pub(crate) postgres: Postgres,
    pub(crate) store: PgStore,
    pub(crate) campaign: i64,
    /// What its workers log in to.
    url: String,
    road: Road,
}

/// How a worker gets to the database, beside its socket.
#[derive(Default)]
pub(crate) struct Road {
    pub(crate) way: Option<Way>,
    pub(crate) net: Option<Net>,
}

impl Fleet {
    /// So many guests, and a campaign of all of them.
    pub(crate) async fn of(vms: u32) -> Self {
        let postgres = block_in_place(Postgres::start).unwrap();
        Self::with(guests(vms, KEEPALIVE), postgres, Road::default()).await
    }

    /// The worker and the database have a network between them. Guests do not notice for a long time that their caller is
    /// gone.
    pub(crate) async fn apart(vms: u32) -> Self {
        let net = Net::new().unwrap();
        let postgres = block_in_place(|| Postgres::start_at(&net)).unwrap();
        Self::with(guests(vms, PATIENCE), postgres, Road { way: None, net: Some(net) }).await
    }

    /// One with a new store on this server, whose calls can be held up; over a network, if it is to have one.
    pub(crate) async fn held_up(vms: u32, postgres: Postgres, net: Option<Net>) -> Self {
        postgres.query("SET client_min_messages = error; DROP SCHEMA IF EXISTS trimtab CASCADE").unwrap();
        let way = match &net {
            Some(net) => Way::over(net.listen().unwrap(), &postgres),
            None => Way::to(&postgres),
        };
        let keepalive = if net.is_some() { PATIENCE } else { KEEPALIVE };
        let road = Road { way: Some(way.unwrap()), net };
        Self::with(guests(vms, keepalive), postgres, road).await
    }

    async fn with(host: Rig, postgres: Postgres, road: Road) -> Self {
        let operator = postgres.url("trimtab");
        let lease = if road.net.is_some() { LEASE_OF_A_NET } else { LEASE };
        init(&operator, Terms { lease }).await.unwrap();
        let role = format!("trimtab-{}", host::id());
        grant(&operator, &host::id(), &role).await.unwrap();
        let store = PgStore::open(&operator).await.unwrap();
        let campaign = store.apply(&host.campaign()).await.unwrap();
        let url = match &road {
            Road { way: Some(way), .. } => way.url(&role),
            Road { net: Some(net), .. } => {
                format!("postgres://{role}@{}/postgres?sslmode=disable", net.address())
            }
            Road { .. } => postgres.url(&role),
        };
        Self { host, postgres, store, campaign, url, road }
    }

    /// What is left of it for another one.
    pub(crate) async fn end(self) -> Postgres {
        self.store.close().await;
        self.postgres
    }

    pub(crate) fn way(&self) -> &Way {
        self.road.way.as_ref().unwrap()
    }

    fn net(&self) -> &Net {
        self.road.net.as_ref().unwrap()
    }

    /// `trimtab` with these words as this host's worker has it. `place`: where its lock is.
    pub(crate) fn command(&self, words: &[&str], place: &str) -> Command {
        let mut command = self.host.command(words).unwrap();
        command.env("TRIMTAB_STORE", &self.url).env("STATE_DIRECTORY", self.host.path(place));
        match &self.road.net {
            Some(net) => net.beside_the_worker(&command),
            None => command,
        }
    }

    /// A worker, whose lock and log are at `place`.
    pub(crate) fn worker(&self, place: &str) -> WorkerProcess {
        self.start(self.command(&["worker"], place), place)
    }

    pub(crate) fn start(&self, command: Command, place: &str) -> WorkerProcess {
        WorkerProcess::start(command, &self.log(place)).unwrap()
    }

    pub(crate) fn log(&self, place: &str) -> PathBuf {
        self.host.path(&format!("{place}.log"))
    }

    pub(crate) fn said(&self, place: &str) -> String {
        std::fs::read_to_string(self.log(place)).unwrap_or_default()
    }

    /// Waits until the campaign's status fits. A database that is down is asked again.
    pub(crate) async fn until(&self, fits: impl Fn(&Status) -> bool) -> Status {
        self.until_each(Duration::from_millis(100), fits).await
    }

    async fn until_each(&self, often: Duration, fits: impl Fn(&Status) -> bool) -> Status {
        let began = Instant::now();
        loop {
            let status = self.store.status(self.campaign).await;
            match status {
                Ok(status) if fits(&status) => return status,
                _ => assert!(began.elapsed() < PATIENCE, "{status:?}\n{}", self.all_said()),
            }
            tokio::time::sleep(often).await;
        }
    }

    /// Waits until something holds that is no matter of the store.
    pub(crate) async fn until_so(&self, what: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "{what}\n{}", self.all_said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Cuts the network; says how many guests trim then. None of them comes to its end by itself until it is mended.
    pub(crate) fn cut(&self, cut: Cut) -> usize {
        self.host.rest(LONG_PAUSE);
        let trimming = self.host.trimming();
        self.net().cut(cut).unwrap();
        trimming
    }

    pub(crate) fn mend(&self) {
        self.net().mend().unwrap();
        self.host.rest(PAUSE);
    }

    /// Waits until the store has taken back all that ran, which it does with the next change that anybody makes: nothing trims
    /// any more then.
    pub(crate) async fn until_expired(&self) {
        while self.until(|_| true).await.summary.running > 0 {
            self.store.order(self.campaign, &Order::Resume, "test").await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let trimming = self.host.trimming();
        assert_eq!(trimming, 0, "all is another one's now, and guests trim\n{}", self.all_said());
    }

    fn all_said(&self) -> String {
        let places = std::fs::read_dir(self.host.path("")).unwrap().flatten().map(|entry| entry.path());
        let logs = places.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
        let text = |log: &Path| std::fs::read_to_string(log).unwrap_or_default();
        logs.map(|log| format!("{}:\n{}\n", log.display(), text(&log))).collect()
    }

    /// Waits for the campaign's end, and holds its account against the files: every byte that an image lost, once; no guest
    /// was called while it trimmed for another one; and caps were kept.
    pub(crate) async fn check(&self) -> Summary {
        // Dozens of cases wait here, on few processors.
        let often = Duration::from_millis(300);
        let status = self.until_each(often, |status| status.summary.state == CampaignState::Done).await;
        let checked = self.host.check(&self.store, self.campaign).await;
        checked.unwrap_or_else(|error| panic!("{error:#}\n{}", self.all_said()));
        self.host.check_caps().unwrap_or_else(|error| panic!("{error:#}\n{}", self.all_said()));
        status.summary
    }

    pub(crate) fn done(status: &Status) -> u32 {
        status.summary.done.values().sum()
    }
}

fn guests(vms: u32, keepalive: Duration) -> Rig {
    Rig::attentive(vms, PAUSE, keepalive).unwrap()
}
