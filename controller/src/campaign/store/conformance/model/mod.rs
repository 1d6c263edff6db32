//! Random schedules against a reference that is too simple to be wrong: every answer must be the reference's, and after
//! each step no cap is exceeded, no VM runs twice, no strict budget is overshot, and every byte is counted once.

mod book;

use proptest::prelude::*;

use self::book::{Book, Expected, Run};
use super::*;
use crate::{
    campaign::{
        account::CampaignState,
        run::{Baseline, Counted, Instruction, RunState},
        store::Order,
    },
    model::trouble::Kind,
};

/// Where the images of each VM lie.
const VMS: [&[&str]; 9] = [&["d"], &["d"], &["d"], &["e"], &["e"], &["d", "e"], &["e", "f"], &["f"], &[]];

/// Every answer is compared, and what is told of all campaigns after so many steps: that takes most of the time.
const COMPARED_EVERY: usize = 9;

/// A campaign: its limits, and VMs with the mark of a first trim.
type Setup = (Limits, Vec<(usize, bool)>);

#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    campaigns: Vec<Setup>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Claim(usize),
    Baseline(usize),
    Heartbeat,
    Finish(usize, Class, i64),
    Later(usize, Wait, u64, Done),
    /// A result that comes once more, or too late.
    Again(usize, Class, i64),
    Recover,
    Order(usize, Order),
    Clock(i64),
}

/// What a turn did: as [`Did`], in few words.
#[derive(Clone, Copy, Debug)]
pub(super) enum Done {
    Nothing,
    Unknown,
    This(Class, i64),
}

fn limits() -> impl Strategy<Value = Limits> {
    let ramp = prop::collection::vec(
        prop_oneof![(1..4_u32).prop_map(Share::Count), (1..=100_u8).prop_map(Share::Percent)],
        0..3,
    );
    let share = prop_oneof![(1..5_u32).prop_map(Share::Count), (1..=100_u8).prop_map(Share::Percent)];
    (1..6_u32, prop::option::of(1..6_u32), 1..4_u32, ramp, share, any::<bool>(), 0..4_u32).prop_map(
        |(at_once, per_host, per_datastore, ramp, failure_budget, strict, cut_in_a_row)| Limits {
            at_once: n(at_once),
            per_host: per_host.map(n),
            per_datastore: n(per_datastore),
            ramp,
            failure_budget,
            strict,
            cut_in_a_row,
            ..Limits::default()
        },
    )
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        8 => Just(Class::Reclaimed),
        2 => Just(Class::AlreadyCompact),
        3 => Just(Class::Cut),
        2 => Just(Class::Held),
        4 => Just(Class::Failed),
        1 => Just(Class::Harmed),
        1 => Just(Class::Away),
        1 => Just(Class::SetAside),
        1 => Just(Class::NotMeasurable),
    ]
}

fn wait() -> impl Strategy<Value = Wait> {
    prop::sample::select(vec![Wait::Retry, Wait::Guard, Wait::Gate, Wait::Window, Wait::Room])
}

fn step() -> impl Strategy<Value = Step> {
    let order =
        prop::sample::select(vec![Order::Pause, Order::Resume, Order::Resume, Order::Resume, Order::Abort]);
    let done = prop_oneof![
        1 => Just(Done::Nothing),
        1 => Just(Done::Unknown),
        2 => (class(), -50..1000_i64).prop_map(|(class, freed)| Done::This(class, freed)),
    ];
    prop_oneof![
        14 => (0..3_usize).prop_map(Step::Claim),
        4 => (0..9_usize).prop_map(Step::Baseline),
        2 => Just(Step::Heartbeat),
        10 => (0..9_usize, class(), -50..1000_i64).prop_map(|(run, class, freed)| Step::Finish(run, class, freed)),
        5 => (0..9_usize, wait(), 0..100_u64, done).prop_map(|(run, why, after, done)| Step::Later(run, why, after, done)),
        3 => (0..99_usize, class(), 1..1000_i64).prop_map(|(run, class, freed)| Step::Again(run, class, freed)),
        1 => Just(Step::Recover),
        3 => (0..3_usize, order).prop_map(|(campaign, order)| Step::Order(campaign, order)),
        2 => prop_oneof![0..60_i64, Just(3600), Just(-3600)].prop_map(Step::Clock),
    ]
}

/// So many schedules; `PROPTEST_CASES=5000` plays more of them.
pub(crate) fn schedules(cases: u32, max_shrink_iters: u32) -> ProptestConfig {
    let told = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { told.cases } else { cases };
    ProptestConfig { cases, max_shrink_iters, ..told }
}

/// Schedules of up to three campaigns over the same VMs.
pub(crate) fn schedule() -> impl Strategy<Value = Schedule> {
    let vms = prop::sample::subsequence((0..VMS.len()).collect::<Vec<_>>(), 1..=VMS.len()).prop_shuffle();
    let vms = vms.prop_flat_map(|vms| {
        let marks = prop::collection::vec(any::<bool>(), vms.len());
        marks.prop_map(move |marks| vms.iter().copied().zip(marks).collect::<Vec<_>>())
    });
    let campaigns = prop::collection::vec((limits(), vms), 1..=3);
    let steps = prop::collection::vec(step(), 1..90);
    (campaigns, steps).prop_map(|(campaigns, steps)| Schedule { campaigns, steps })
}

/// A store and the reference, side by side.
struct Pair<'a, S> {
    store: &'a S,
    clock: &'a TestClock,
    book: Book,
    campaigns: Vec<i64>,
    /// The store's numbers of the reference's runs.
    runs: Vec<i64>,
    /// What the workers hold, oldest first, by the reference's number.
    held: Vec<(usize, Claimed)>,
    /// All that was ever claimed.
    claims: Vec<(usize, Claimed)>,
    worker: Claimant,
}

/// Plays a schedule to its end, and then every campaign to its own.
pub(crate) async fn play(store: &impl Store, clock: &TestClock, schedule: &Schedule) {
    let mut pair = Pair {
        store,
        clock,
        book: Book::default(),
        campaigns: Vec::new(),
        runs: Vec::new(),
        held: Vec::new(),
        claims: Vec::new(),
        worker: worker(),
    };
    for setup in &schedule.campaigns {
        pair.apply(setup).await;
    }
    for (number, step) in schedule.steps.iter().enumerate() {
        pair.step(step).await;
        assert_eq!(pair.book.broken(), None, "after step {number}");
        if number % COMPARED_EVERY == 0 {
            pair.compare().await;
        }
    }
    pair.drain().await;
}

impl<S: Store> Pair<'_, S> {
    async fn apply(&mut self, (limits, vms): &Setup) {
        let campaign = self.book.add(limits.clone());
        let mut new = super::campaign(u32::try_from(vms.len()).unwrap(), limits.clone());
        for (run, (vm, is_first)) in new.runs.iter_mut().zip(vms) {
            run.vm.name = format!("vm{vm}");
            run.datastores = VMS[*vm].iter().map(ToString::to_string).collect();
            run.is_first = *is_first;
            self.book.runs.push(Run {
                campaign,
                vm: *vm,
                datastores: VMS[*vm],
                position: run.position,
                is_first: *is_first,
                state: RunState::Waiting,
                class: None,
                not_before: 0,
                wait: None,
                is_admitted: false,
                has_baseline: false,
                fence: 0,
                settled: 0,
                failures: 0,
                freed: 0,
            });
        }
        let id = self.store.apply(&new).await.unwrap();
        self.campaigns.push(id);
        self.runs.extend(self.store.runs(id).await.unwrap().iter().map(|run| run.run));
    }

    fn now(&self) -> i64 {
        self.clock.micros()
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Claim(campaign) => drop(self.claim(campaign % self.campaigns.len()).await),
            Step::Baseline(run) => self.baseline(*run).await,
            Step::Heartbeat => self.heartbeat().await,
            Step::Finish(run, class, freed) => {
                if !self.held.is_empty() {
                    let (run, claimed) = self.held.remove(run % self.held.len());
                    self.finish(run, &claimed, *class, *freed).await;
                }
            }
            Step::Later(run, why, after, done) => self.later(*run, *why, *after, *done).await,
            Step::Again(run, class, freed) => {
                if !self.claims.is_empty() {
                    let (run, claimed) = self.claims[run % self.claims.len()].clone();
                    self.held.retain(|(_, held)| held.fence != claimed.fence || held.run != claimed.run);
                    self.finish(run, &claimed, *class, *freed).await;
                }
            }
            Step::Recover => self.recover().await,
            Step::Order(campaign, order) => self.order(campaign % self.campaigns.len(), order).await,
            Step::Clock(secs) if *secs < 0 => self.clock.back(Duration::from_secs(secs.unsigned_abs())),
            Step::Clock(secs) => self.clock.forward(Duration::from_secs(secs.unsigned_abs())),
        }
    }

    async fn claim(&mut self, campaign: usize) -> bool {
        let expected = self.book.claim(campaign, self.now());
        let claim = self.store.claim(self.campaigns[campaign], &self.worker).await.unwrap();
        match claim {
            Claim::Run(claimed) => {
                let run = self.runs.iter().position(|run| *run == claimed.run).unwrap();
                assert_eq!(Expected::Run(run), expected, "{claimed:?}");
                assert_eq!(claimed.attempt, self.book.runs[run].failures + 1);
                assert_eq!(claimed.baseline.is_some(), self.book.runs[run].has_baseline);
                self.book.taken(run, claimed.fence);
                self.held.push((run, (*claimed).clone()));
                self.claims.push((run, *claimed));
                return true;
            }
            Claim::Nothing { why, .. } => assert_eq!(Expected::Nothing(why), expected),
            Claim::Empty => assert_eq!(Expected::Empty, expected),
        }
        false
    }

    async fn baseline(&mut self, run: usize) {
        let Some((run, claimed)) = self.held.get(run % self.held.len().max(1)) else { return };
        let expected = self.book.instruction(*run, claimed.fence);
        let answer = self.store.baseline(claimed, &Baseline::default()).await.unwrap();
        assert_eq!(answer, expected);
        self.book.runs[*run].has_baseline |= answer == Instruction::Keep;
    }

    async fn heartbeat(&mut self) {
        let stages: Vec<_> =
            self.claims.iter().map(|(_, claimed)| (claimed.run, claimed.fence, "trimming".into())).collect();
        let answers = self.store.heartbeat(&self.worker, None, &stages).await.unwrap();
        for ((run, claimed), (_, answer)) in self.claims.iter().zip(answers) {
            assert_eq!(answer, self.book.instruction(*run, claimed.fence));
        }
    }

    async fn finish(&mut self, run: usize, claimed: &Claimed, class: Class, freed: i64) {
        let expected = self.book.word(run, claimed.fence);
        if expected == Counted::Counted {
            self.book.finish(run, class, freed);
        }
        assert_eq!(self.store.finish(claimed, &result(class, freed)).await.unwrap(), expected);
    }

    async fn later(&mut self, run: usize, why: Wait, after: u64, done: Done) {
        if self.held.is_empty() {
            return;
        }
        let (run, claimed) = self.held.remove(run % self.held.len());
        let expected = self.book.word(run, claimed.fence);
        if expected == Counted::Counted {
            let not_before =
                if after == 0 { 0 } else { self.now() + i64::try_from(after * 1_000_000).unwrap() };
            self.book.later(run, why, not_before, done);
        }
        let did = match done {
            Done::Nothing => Did::Nothing,
            Done::Unknown => Did::Unknown,
            Done::This(class, freed) => Did::This(result(class, freed)),
        };
        let later = Later { did, ..later(why, after) };
        assert_eq!(self.store.later(&claimed, &later).await.unwrap(), expected);
    }

    /// Another worker's start: what the former one held are ghosts from now on.
    async fn recover(&mut self) {
        self.worker.worker.push('+');
        let expected = self.book.recover();
        assert_eq!(self.store.recover(&self.worker).await.unwrap(), expected);
    }

    async fn order(&mut self, campaign: usize, order: &Order) {
        let answer = self.store.order(self.campaigns[campaign], order, "ops@h").await;
        match self.book.order(campaign, order) {
            true => assert_eq!(answer.unwrap().state, self.book.campaigns[campaign].state),
            false => assert_eq!(answer.unwrap_err().kind, Kind::UnknownCampaign),
        }
    }

    async fn compare(&self) {
        for (campaign, id) in self.campaigns.iter().enumerate() {
            let status = self.store.status(*id).await.unwrap();
            let (waiting, running, done, freed) = self.book.sums(campaign);
            let summary = status.summary;
            assert_eq!(summary.state, self.book.campaigns[campaign].state, "campaign {campaign}");
            assert_eq!((summary.waiting, summary.running), (waiting, running));
            assert_eq!((summary.done, summary.freed_bytes), (done, freed));
            assert_eq!(waiting, status.waiting.values().sum::<u32>(), "what waits is told whole");
            assert_eq!(
                summary.total,
                waiting
                    + running
                    + self.book.of(campaign).filter(|run| run.class.is_some()).map(|_| 1).sum::<u32>()
            );
        }
    }

    /// No run is lost: with a patient person every campaign comes to its end.
    async fn drain(&mut self) {
        self.recover().await;
        self.held.clear();
        for _ in 0..200 {
            self.clock.forward(Duration::from_secs(4000));
            let mut is_over = true;
            for campaign in 0..self.campaigns.len() {
                if matches!(
                    self.book.campaigns[campaign].state,
                    CampaignState::Paused | CampaignState::Stopped
                ) {
                    self.order(campaign, &Order::Resume).await;
                }
                while self.claim(campaign).await {}
                is_over &= matches!(
                    self.book.campaigns[campaign].state,
                    CampaignState::Done | CampaignState::Aborted
                );
            }
            for (run, claimed) in std::mem::take(&mut self.held) {
                self.finish(run, &claimed, Class::Reclaimed, 1).await;
            }
            if is_over {
                return self.compare().await;
            }
        }
        panic!("it never ends: {:?}", self.book);
    }
}
