//! The reference: campaigns as plain lists, every answer found by looking at all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::Done;
use crate::campaign::{
    account::CampaignState,
    budget,
    limits::Limits,
    ramp::{self, Begun},
    run::{Class, Counted, Instruction, RunState, Wait},
    store::Order,
};

/// A run as the reference keeps it.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) campaign: usize,
    pub(super) vm: usize,
    pub(super) datastores: &'static [&'static str],
    pub(super) position: u32,
    pub(super) is_first: bool,
    pub(super) state: RunState,
    pub(super) class: Option<Class>,
    pub(super) not_before: i64,
    pub(super) wait: Option<Wait>,
    pub(super) is_admitted: bool,
    pub(super) has_baseline: bool,
    pub(super) fence: u64,
    pub(super) settled: u64,
    pub(super) failures: u32,
    pub(super) freed: i64,
}

/// A campaign as the reference keeps it.
#[derive(Clone, Debug)]
pub(super) struct Campaign {
    pub(super) limits: Limits,
    pub(super) state: CampaignState,
    pub(super) cancels: bool,
    /// The ends since a person has looked, oldest first.
    ends: Vec<Class>,
}

/// What a claim must answer.
#[derive(PartialEq, Debug)]
pub(super) enum Expected {
    Run(usize),
    Nothing(Wait),
    Empty,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pub(super) campaigns: Vec<Campaign>,
    pub(super) runs: Vec<Run>,
}

impl Book {
    pub(super) fn add(&mut self, limits: Limits) -> usize {
        self.campaigns.push(Campaign {
            limits,
            state: CampaignState::Active,
            cancels: false,
            ends: Vec::new(),
        });
        self.campaigns.len() - 1
    }

    pub(super) fn of(&self, campaign: usize) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.campaign == campaign)
    }

    fn running(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.state == RunState::Running)
    }

    fn count<'a>(runs: impl Iterator<Item = &'a Run>) -> u32 {
        u32::try_from(runs.count()).unwrap()
    }

    fn failed(&self, campaign: usize) -> u32 {
        let ends = &self.campaigns[campaign].ends;
        u32::try_from(ends.iter().filter(|class| **class == Class::Failed).count()).unwrap()
    }

    fn own(&self, campaign: usize) -> u32 {
        Self::count(self.running().filter(|run| run.campaign == campaign))
    }

    /// The caps and rules that what runs now breaks; none, ever.
    pub(super) fn broken(&self) -> Option<String> {
        let mut vms = BTreeSet::new();
        if let Some(twice) = self.running().find(|run| !vms.insert(run.vm)) {
            return Some(format!("VM {} runs twice", twice.vm));
        }
        for (id, campaign) in self.campaigns.iter().enumerate() {
            let limits = &campaign.limits;
            let own = self.own(id);
            let all = Self::count(self.running());
            let total = Self::count(self.of(id));
            if own > limits.at_once.get() {
                return Some(format!("{own} at once of campaign {id}"));
            }
            if own > 0 && limits.per_host.is_some_and(|cap| all > cap.get()) {
                return Some(format!("{all} on the host of campaign {id}"));
            }
            let budget = limits.failure_budget.of(total);
            if limits.strict && self.failed(id) > budget {
                return Some(format!("{} failed of {budget} in campaign {id}", self.failed(id)));
            }
        }
        for datastore in ["d", "e", "f"] {
            let there: Vec<_> = self.running().filter(|run| run.datastores.contains(&datastore)).collect();
            if there.iter().filter(|run| run.is_first).count() > 1 {
                return Some(format!("two first trims on {datastore}"));
            }
            for run in &there {
                let cap = self.campaigns[run.campaign].limits.per_datastore.get();
                if there.len() > usize::try_from(cap).unwrap() {
                    return Some(format!("{} on {datastore}, where {cap} are allowed", there.len()));
                }
            }
        }
        None
    }

    /// Whether one more of this run would break nothing: tried, not reasoned.
    fn would_fit(&self, run: usize) -> bool {
        let mut with = self.clone();
        with.runs[run].state = RunState::Running;
        with.broken().is_none()
    }

    fn stage(&self, campaign: usize) -> u32 {
        let limits = &self.campaigns[campaign].limits;
        let admitted: Vec<_> = self.of(campaign).filter(|run| run.is_admitted).collect();
        let open = admitted.iter().filter(|run| run.state != RunState::Done).count();
        let begun =
            Begun { admitted: u32::try_from(admitted.len()).unwrap(), open: u32::try_from(open).unwrap() };
        ramp::room(&limits.ramp, Self::count(self.of(campaign)), begun)
    }

    pub(super) fn claim(&self, campaign: usize, now: i64) -> Expected {
        let waiting: Vec<usize> = (0..self.runs.len())
            .filter(|&run| self.runs[run].campaign == campaign && self.runs[run].state == RunState::Waiting)
            .collect();
        if waiting.is_empty() {
            return Expected::Empty;
        }
        let of = &self.campaigns[campaign];
        if of.state != CampaignState::Active {
            return Expected::Nothing(Wait::Campaign);
        }
        let budget = of.limits.failure_budget.of(Self::count(self.of(campaign)));
        if !budget::may_admit(budget, of.limits.strict, self.failed(campaign), self.own(campaign)) {
            return Expected::Nothing(Wait::Budget);
        }
        let due: Vec<usize> =
            waiting.iter().copied().filter(|&run| self.runs[run].not_before <= now).collect();
        let stage = self.stage(campaign);
        let best = due
            .iter()
            .copied()
            .filter(|&run| (stage > 0 || self.runs[run].is_admitted) && self.would_fit(run))
            .min_by_key(|&run| (!self.runs[run].is_admitted, self.runs[run].position));
        let is_full = self.own(campaign) >= of.limits.at_once.get()
            || self.running().any(|run| {
                let per_host = self.campaigns[run.campaign].limits.per_host;
                per_host.is_some_and(|cap| Self::count(self.running()) >= cap.get())
            })
            || of.limits.per_host.is_some_and(|cap| Self::count(self.running()) >= cap.get());
        match best {
            Some(run) => Expected::Run(run),
            None if is_full => Expected::Nothing(Wait::Room),
            None if due.is_empty() => {
                let soonest = waiting
                    .into_iter()
                    .min_by_key(|&run| (self.runs[run].not_before, self.runs[run].position))
                    .unwrap();
                Expected::Nothing(self.runs[soonest].wait.unwrap())
            }
            None if stage == 0 => Expected::Nothing(Wait::Ramp),
            None => Expected::Nothing(Wait::Room),
        }
    }

    pub(super) fn taken(&mut self, run: usize, fence: u64) {
        let run = &mut self.runs[run];
        assert!(fence > run.fence, "fences rise");
        run.fence = fence;
        run.state = RunState::Running;
        run.is_admitted = true;
        run.not_before = 0;
    }

    pub(super) fn instruction(&self, run: usize, fence: u64) -> Instruction {
        let run = &self.runs[run];
        match self.campaigns[run.campaign].cancels {
            _ if run.state != RunState::Running || run.fence != fence => Instruction::Gone,
            true => Instruction::Cancel,
            false => Instruction::Keep,
        }
    }

    /// Whose word it is.
    pub(super) fn word(&self, run: usize, fence: u64) -> Counted {
        let run = &self.runs[run];
        if run.fence == fence && run.state == RunState::Running {
            Counted::Counted
        } else if run.settled == fence {
            Counted::AlreadyCounted
        } else {
            Counted::Fenced
        }
    }

    pub(super) fn finish(&mut self, run: usize, class: Class, freed: i64) {
        let row = &mut self.runs[run];
        row.freed += freed;
        row.settled = row.fence;
        row.state = RunState::Done;
        row.class = Some(class);
        row.has_baseline = false;
        let campaign = row.campaign;
        self.campaigns[campaign].ends.push(class);
        self.settle(campaign, Some(class));
    }

    pub(super) fn later(&mut self, run: usize, why: Wait, not_before: i64, done: Done) {
        let campaign = self.runs[run].campaign;
        let known = match done {
            Done::This(class, freed) => Some((class, freed)),
            Done::Nothing | Done::Unknown => None,
        };
        if self.campaigns[campaign].state == CampaignState::Aborting {
            return self.finish(run, Class::Aborted, known.map_or(0, |(_, freed)| freed));
        }
        let row = &mut self.runs[run];
        row.settled = row.fence;
        row.state = RunState::Waiting;
        row.wait = Some(why);
        row.not_before = not_before;
        row.failures += u32::from(why == Wait::Retry);
        row.is_admitted = match done {
            Done::This(..) => true,
            Done::Unknown => !matches!(why, Wait::Guard | Wait::Gate) || row.has_baseline,
            Done::Nothing => !matches!(why, Wait::Guard | Wait::Gate),
        };
        row.has_baseline &= matches!(done, Done::Unknown);
        row.freed += known.map_or(0, |(_, freed)| freed);
        self.settle(campaign, known.map(|(class, _)| class));
    }

    pub(super) fn recover(&mut self) -> u32 {
        let running: Vec<usize> =
            (0..self.runs.len()).filter(|&run| self.runs[run].state == RunState::Running).collect();
        for &run in &running {
            self.runs[run].state = RunState::Waiting;
            self.runs[run].wait = None;
        }
        for campaign in 0..self.campaigns.len() {
            if self.campaigns[campaign].state == CampaignState::Aborting {
                self.end_waiting(campaign);
            }
            self.settle(campaign, None);
        }
        u32::try_from(running.len()).unwrap()
    }

    fn end_waiting(&mut self, campaign: usize) {
        for run in
            self.runs.iter_mut().filter(|run| run.campaign == campaign && run.state == RunState::Waiting)
        {
            run.state = RunState::Done;
            run.class = Some(Class::Aborted);
        }
    }

    /// `false`: it cannot be meant.
    pub(super) fn order(&mut self, campaign: usize, order: &Order) -> bool {
        use CampaignState::{Aborted, Aborting, Active, Done, Paused, Stopped};
        let of = &mut self.campaigns[campaign];
        match (order, of.state) {
            (Order::Pause, Active) => of.state = Paused,
            (Order::Resume, Paused) => of.state = Active,
            (Order::Resume, Stopped) => {
                of.state = Active;
                of.cancels = false;
                of.ends.clear();
            }
            (Order::Abort, Active | Paused | Stopped) => {
                of.state = Aborting;
                of.cancels = true;
                self.end_waiting(campaign);
                self.settle(campaign, None);
            }
            (Order::Pause | Order::Resume, Aborting | Aborted | Done) => return false,
            _ => {}
        }
        true
    }

    fn settle(&mut self, campaign: usize, ended: Option<Class>) {
        let total = Self::count(self.of(campaign));
        let failed = self.failed(campaign);
        let is_over = self.of(campaign).all(|run| run.state == RunState::Done);
        let of = &mut self.campaigns[campaign];
        let admits = matches!(of.state, CampaignState::Active | CampaignState::Paused);
        let harm = ended == Some(Class::Harmed) && of.state != CampaignState::Aborting;
        let streak = budget::streak(of.ends.iter().rev().copied());
        let is_cut = of.limits.cut_in_a_row > 0
            && streak >= of.limits.cut_in_a_row
            && ended.is_some_and(|class| budget::weight(class) == budget::Weight::Blocked);
        let is_used_up = ended == Some(Class::Failed) && failed >= of.limits.failure_budget.of(total);
        if harm || (admits && (is_cut || is_used_up)) {
            of.state = CampaignState::Stopped;
            of.cancels |= harm;
        }
        if is_over && !matches!(of.state, CampaignState::Done | CampaignState::Aborted) {
            of.cancels = false;
            of.state = match of.state {
                CampaignState::Aborting => CampaignState::Aborted,
                _ => CampaignState::Done,
            };
        }
    }

    /// Waiting, running, done by class, freed.
    pub(super) fn sums(&self, campaign: usize) -> (u32, u32, BTreeMap<Class, u32>, i64) {
        let mut done = BTreeMap::new();
        for class in self.of(campaign).filter_map(|run| run.class) {
            *done.entry(class).or_insert(0) += 1;
        }
        let in_state = |state| Self::count(self.of(campaign).filter(|run| run.state == state));
        (
            in_state(RunState::Waiting),
            in_state(RunState::Running),
            done,
            self.of(campaign).map(|run| run.freed).sum(),
        )
    }
}
