//! Why a run is to end before its end, and the switch for it.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

use crate::trim::wish::Wish;

/// Why a run is cancelled; a later reason outranks an earlier one of lower rank.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stop {
    /// Its window closes.
    Window,
    /// The worker ends.
    Leaving,
    /// The store was not reached for so long that another worker may get it soon.
    Lost,
    /// An abort, or harm elsewhere.
    Ordered,
    /// It is another worker's now.
    Gone,
}

/// What loop and task of a run share.
#[derive(Debug)]
pub(super) struct Switch {
    said: Mutex<Said>,
    wish: watch::Sender<Wish>,
    /// Another VM was trimmed at the same time.
    in_company: AtomicBool,
    /// This process did not run for so long that an agent may have given it up.
    held_up: AtomicBool,
}

#[derive(Debug)]
struct Said {
    stage: String,
    stop: Option<Stop>,
}

impl Switch {
    pub(super) fn new() -> Self {
        let said = Said { stage: "looking".to_owned(), stop: None };
        Self {
            said: Mutex::new(said),
            wish: watch::Sender::new(Wish::Go),
            in_company: AtomicBool::new(false),
            held_up: AtomicBool::new(false),
        }
    }

    /// Cancels the run, for this reason unless there is a graver one.
    pub(super) fn stop(&self, why: Stop) {
        let mut said = self.said();
        said.stop = said.stop.max(Some(why));
        drop(said);
        self.wish.send_replace(Wish::Cancel);
    }

    /// Why it was cancelled.
    pub(super) fn stopped(&self) -> Option<Stop> {
        self.said().stop
    }

    /// Whether the run is to end.
    pub(super) fn wishes(&self) -> watch::Receiver<Wish> {
        self.wish.subscribe()
    }

    pub(super) fn at(&self, stage: &str) {
        stage.clone_into(&mut self.said().stage);
    }

    pub(super) fn stage(&self) -> String {
        self.said().stage.clone()
    }

    pub(super) fn has_company(&self) {
        self.in_company.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_alone(&self) -> bool {
        !self.in_company.load(Ordering::Relaxed)
    }

    pub(super) fn has_been_held_up(&self) {
        self.held_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_held_up(&self) -> bool {
        self.held_up.load(Ordering::Relaxed)
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_reason_counts() {
        let switch = Switch::new();
        assert_eq!(*switch.wishes().borrow(), Wish::Go);
        for (why, stands) in [
            (Stop::Window, Stop::Window),
            (Stop::Ordered, Stop::Ordered),
            (Stop::Lost, Stop::Ordered),
            (Stop::Leaving, Stop::Ordered),
            (Stop::Gone, Stop::Gone),
            (Stop::Window, Stop::Gone),
        ] {
            switch.stop(why);
            assert_eq!(switch.stopped(), Some(stands), "{why:?}");
        }
        assert_eq!(*switch.wishes().borrow(), Wish::Cancel);
    }
}
