//! Moments at which something is held up: a test says which one, waits until it is reached, does there what it is about, and
//! lets go. So a fault is known to have come at its moment, and no clock decides that.
//!
//! ```text
//! test    hold(K) ── reached() ─────────── let_go()
//! there        at(K) ──┴── waits ─────────────┴── goes on; the next one passes
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The moments of one kind that somebody waits for. Clones are the same.
#[derive(Clone, Debug)]
pub struct Holds<K> {
    wanted: Arc<Mutex<Wanted<K>>>,
}

type Wanted<K> = Vec<(K, watch::Sender<Stage>)>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Wanted,
    Reached,
    LetGo,
}

impl<K> Default for Holds<K> {
    fn default() -> Self {
        Self { wanted: Arc::default() }
    }
}

impl<K> Holds<K> {
    /// Whoever comes to this moment next is held up there.
    pub fn hold(&self, moment: K) -> Held {
        let stage = watch::Sender::new(Stage::Wanted);
        self.wanted().push((moment, stage.clone()));
        Held(stage)
    }

    /// Whether one is held up at a moment that fits.
    pub fn wants(&self, fits: impl Fn(&K) -> bool) -> bool {
        self.wanted().iter().any(|(moment, stage)| *stage.borrow() == Stage::Wanted && fits(moment))
    }

    /// Is at a moment that fits, and waits there if one is held up at it.
    pub async fn at(&self, fits: impl Fn(&K) -> bool) {
        let stage = {
            let mut wanted = self.wanted();
            // Whose test has let go is of no use any more.
            wanted.retain(|(_, stage)| *stage.borrow() == Stage::Wanted);
            let Some(place) = wanted.iter().position(|(moment, _)| fits(moment)) else { return };
            wanted.swap_remove(place).1
        };
        let is_first = stage.send_if_modified(|stage| {
            let is_wanted = *stage == Stage::Wanted;
            *stage = (*stage).max(Stage::Reached);
            is_wanted
        });
        if is_first {
            // This sender keeps the channel open.
            let _ = stage.subscribe().wait_for(|stage| *stage == Stage::LetGo).await;
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted<K>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is, or will be, held up. Let go when it is dropped.
#[derive(Debug)]
pub struct Held(watch::Sender<Stage>);

impl Held {
    /// Whether it is there.
    pub fn is_reached(&self) -> bool {
        *self.0.borrow() == Stage::Reached
    }

    /// It may go on.
    pub fn let_go(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send_replace(Stage::LetGo);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn soon(holds: &Holds<u8>, held: &Held) -> tokio::task::JoinHandle<()> {
        let there = holds.clone();
        let task = tokio::spawn(async move { there.at(|moment| *moment == 1).await });
        while !held.is_reached() {
            tokio::task::yield_now().await;
        }
        task
    }

    #[tokio::test]
    async fn one_is_held_up_until_it_is_let_go() {
        let holds = Holds::default();
        holds.at(|_| true).await;
        let held = holds.hold(1);
        assert!(holds.wants(|moment| *moment == 1) && !holds.wants(|moment| *moment == 2));
        holds.at(|moment| *moment == 2).await;
        assert!(!held.is_reached());
        let task = soon(&holds, &held).await;
        holds.at(|moment| *moment == 1).await;
        assert!(!task.is_finished(), "the next one passes, and it waits");
        held.let_go();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_test_that_has_ended_holds_nobody_up() {
        let holds = Holds::default();
        drop(holds.hold(1));
        assert!(!holds.wants(|_| true));
        holds.at(|_| true).await;
        let held = holds.hold(1);
        let task = soon(&holds, &held).await;
        drop(held);
        task.await.unwrap();
    }
}
