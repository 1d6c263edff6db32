//! Each step of a worker's, and where it is held up there: its calls of the store on their way there, inside of their
//! transaction and on their way back, and its guest before, in and after its trim. A fault is put to it when it is known to
//! be there.

use std::{collections::BTreeSet, fmt};

use nix::sys::signal::Signal;
use trimtab_tests::{campaigns::WorkerProcess, hold::Held, sim::punching::Moment, way::When};

use crate::rig::Fleet;

/// What a worker does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Does {
    /// The store has not seen its call.
    Asks(&'static str),
    /// The store is in the midst of it.
    IsHeard(&'static str),
    /// The store has done it, and its answer is on its way.
    IsAnswered(&'static str),
    /// Its guest is there.
    Trims(Moment),
}

/// Which of those it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// The first.
    First,
    /// The next while guests trim.
    Trimming,
    /// The next when it was told to end while guests trim.
    Leaving,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Step(pub(crate) Does, pub(crate) Which);

use Does::{Asks, IsAnswered, IsHeard, Trims};
use Which::{First, Leaving, Trimming};

pub(crate) const STEPS: [Step; 26] = [
    Step(Asks("recover"), First),
    Step(IsAnswered("recover"), First),
    Step(Asks("publish"), Trimming),
    Step(IsAnswered("publish"), Trimming),
    Step(Asks("active"), Trimming),
    Step(IsAnswered("active"), Trimming),
    Step(Asks("claim"), First),
    Step(IsHeard("claim"), Trimming),
    Step(IsAnswered("claim"), First),
    Step(Asks("baseline"), First),
    Step(IsHeard("baseline"), First),
    Step(IsAnswered("baseline"), First),
    Step(Trims(Moment::Asked), First),
    Step(Trims(Moment::Begun), First),
    Step(Trims(Moment::Midst), First),
    Step(Trims(Moment::Over), First),
    Step(Asks("heartbeat"), Trimming),
    Step(IsAnswered("heartbeat"), Trimming),
    Step(Asks("latest"), Trimming),
    Step(Asks("finish"), First),
    Step(IsHeard("finish"), First),
    Step(IsAnswered("finish"), First),
    Step(Asks("later"), Leaving),
    Step(IsAnswered("later"), Leaving),
    Step(Asks("leave"), Leaving),
    Step(IsAnswered("leave"), Leaving),
];

/// What a host's role may call that is no step of this worker's: it opens its store, tells of itself to Prometheus, looks who
/// holds it up, and asks of images that other hosts may have too, which those of its guests are not.
const BESIDE: [&str; 4] = ["terms", "mine", "unblock", "used_elsewhere"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_a_worker_has_its_step() {
    let fleet = Fleet::of(1).await;
    let granted = fleet.postgres.query(
        "SELECT p.proname FROM pg_proc p JOIN trimtab.host_role r ON has_function_privilege(r.role, p.oid, 'EXECUTE') \
         WHERE p.pronamespace = 'trimtab'::REGNAMESPACE",
    );
    let granted: BTreeSet<String> = granted.unwrap().lines().map(str::to_owned).collect();
    let asked =
        STEPS.iter().filter_map(|step| if let Asks(function) = step.0 { Some(function) } else { None });
    let known: BTreeSet<String> = asked.chain(BESIDE).map(str::to_owned).collect();
    assert_eq!(granted, known);
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Asks(function) => write!(f, "before {function}"),
            IsHeard(function) => write!(f, "in {function}"),
            IsAnswered(function) => write!(f, "after {function}"),
            Trims(moment) => write!(f, "its guest: {moment:?}"),
        }
    }
}

/// What is held up, on its way or by the store's lock, until this is dropped.
pub(crate) type Halt = Box<dyn Send>;

impl Step {
    /// Starts the worker "a", and holds it up at this step.
    pub(crate) async fn reached(self, fleet: &Fleet) -> (WorkerProcess, Halt) {
        let first = (self.1 == First).then(|| self.hold(fleet));
        let worker = fleet.worker("a");
        let held = match first {
            Some(held) => held,
            None => {
                fleet.until_so("guests trim", || fleet.host.trimming() > 0).await;
                self.hold(fleet)
            }
        };
        if self.1 == Leaving {
            worker.signal(Signal::SIGTERM).unwrap();
        }
        fleet.until_so(&format!("{self} is reached"), || held.is_reached()).await;
        let IsHeard(function) = self.0 else { return (worker, Box::new(held)) };
        let locked = fleet.postgres.lock().unwrap();
        held.let_go();
        let waits = || fleet.postgres.waits(function).unwrap();
        fleet.until_so(&format!("{self} is reached"), waits).await;
        (worker, Box::new(locked))
    }

    fn hold(self, fleet: &Fleet) -> Held {
        match self.0 {
            Asks(function) | IsHeard(function) => fleet.way().hold(function, When::Before),
            IsAnswered(function) => fleet.way().hold(function, When::After),
            Trims(moment) => fleet.host.holds.hold(moment),
        }
    }

    /// What is to arrive late, when somebody else has taken over; all else goes on at once.
    pub(crate) fn late(self, halt: Halt) -> Option<Halt> {
        matches!(self.0, Asks(_)).then_some(halt)
    }

    /// Whether a guest is in the middle of its trim there.
    pub(crate) fn is_in_a_trim(self) -> bool {
        matches!(self.0, Trims(Moment::Midst))
    }

    /// Whether the worker ends by itself.
    pub(crate) fn ends(self) -> bool {
        self.1 == Leaving
    }
}
