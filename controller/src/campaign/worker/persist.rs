//! A store that does not answer: asked again with a growing wait, and said once. Trims that run go on meanwhile.
//!
//! What can be read does not make it well: the store of a full disk answers questions, and keeps nothing.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::said::{Listener, Said};
use crate::model::trouble::{Kind, Trouble};

const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(30);

/// Asks the store, and remembers whether it answers.
#[derive(Clone)]
pub(super) struct Persist {
    listener: Arc<dyn Listener>,
    marks: Arc<Mutex<Marks>>,
}

impl Persist {
    pub(super) fn new(listener: Arc<dyn Listener>) -> Self {
        Self { listener, marks: Arc::default() }
    }

    /// Has it write until there is an answer. Anything but trouble with the store is one.
    pub(super) async fn until_answered<T, F: Future<Output = Result<T, Trouble>>>(
        &self,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, Trouble> {
        let mut backoff = Backoff::up_to(MOST);
        loop {
            match self.write(ask()).await {
                Err(trouble) if is_of_the_store(&trouble) => {}
                answer => return answer,
            }
            tokio::time::sleep(backoff.wait()).await;
        }
    }

    /// Has it read once; what comes of it is said where it is news.
    pub(super) async fn read<T>(
        &self,
        asked: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let answer = asked.await;
        self.note(|marks| &mut marks.not_read, answer.as_ref().map(|_| true));
        answer
    }

    /// Has it write once, likewise.
    pub(super) async fn write<T>(
        &self,
        asked: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        self.write_if(asked, |_| true).await
    }

    /// The same for what it writes only with some answers.
    pub(super) async fn write_if<T>(
        &self,
        asked: impl Future<Output = Result<T, Trouble>>,
        has_written: impl Fn(&T) -> bool,
    ) -> Result<T, Trouble> {
        let answer = asked.await;
        self.note(|marks| &mut marks.not_written, answer.as_ref().map(has_written));
        answer
    }

    /// `Ok(false)` proves nothing. Several ask at once: the first says it.
    fn note(&self, kind: fn(&mut Marks) -> &mut bool, proven: Result<bool, &Trouble>) {
        if !proven.as_ref().is_err_and(|trouble| is_of_the_store(trouble)) {
            self.listener.answered();
        }
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let was_in_trouble = marks.is_in_trouble();
        match proven {
            Err(trouble) if is_of_the_store(trouble) => {
                *kind(&mut marks) = true;
                if !was_in_trouble {
                    self.listener.say(Said::StoreTrouble(trouble));
                }
            }
            Ok(false) => {}
            Ok(true) | Err(_) => {
                *kind(&mut marks) = false;
                if was_in_trouble && !marks.is_in_trouble() {
                    self.listener.say(Said::StoreBack);
                }
            }
        }
    }
}

/// What does not work.
#[derive(Default)]
struct Marks {
    not_read: bool,
    not_written: bool,
}

impl Marks {
    fn is_in_trouble(&self) -> bool {
        self.not_read || self.not_written
    }
}

/// Whether it is the store that is in trouble, and not what it was asked. A password or a right that was taken away may be
/// given again.
pub fn is_of_the_store(trouble: &Trouble) -> bool {
    matches!(trouble.kind, Kind::Store | Kind::NoPermission)
}

/// Waits that grow, and that no two workers share.
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// From half a second, or less where `most` is less.
    pub fn up_to(most: Duration) -> Self {
        Self { next: FIRST.min(most), most }
    }

    /// The next wait: from half of it to the whole.
    pub fn wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.most);
        let share = u32::try_from(u64::from(chance()) >> 16).unwrap_or_default();
        let half = whole.checked_div(2).unwrap_or(whole);
        half.saturating_add(half.saturating_mul(share).checked_div(1 << 16).unwrap_or_default())
    }
}

/// Any number: two that failed together do not try again together.
pub(super) fn chance() -> u32 {
    uuid::Uuid::new_v4().as_fields().0
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trouble_is_said_once_and_asked_through() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let persist = Persist::new(Arc::new(move |said: Said<'_>| {
            heard.lock().unwrap().push(matches!(said, Said::StoreBack));
        }));
        let asked = AtomicU32::new(0);
        let answer = persist
            .until_answered(|| async {
                // It can be read all the while.
                let read = persist.read(async { Ok(()) }).await;
                let nothing = persist.write_if(async { Ok(0) }, |_| false).await;
                match asked.fetch_add(1, Ordering::Relaxed) {
                    _ if read.is_err() || nothing.is_err() => Ok(0),
                    0..10 => Err(Trouble::new(Kind::Store, "the disk is full")),
                    times => Ok(times),
                }
            })
            .await;
        assert_eq!(answer, Ok(10));
        assert_eq!(*said.lock().unwrap(), [false, true]);
    }

    #[test]
    fn waits_grow_to_a_bound() {
        let mut backoff = Backoff::up_to(Duration::from_secs(30));
        let waits: Vec<Duration> = (0..9).map(|_| backoff.wait()).collect();
        for (wait, whole) in waits.iter().zip([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]) {
            let whole = Duration::from_millis(whole);
            assert!(*wait >= whole / 2 && *wait <= whole, "{waits:?}");
        }
        assert!(Backoff::up_to(Duration::from_millis(250)).wait() <= Duration::from_millis(250));
    }

    #[tokio::test(start_paused = true)]
    async fn a_no_is_an_answer() {
        let persist = Persist::new(Arc::new(|_: Said<'_>| {}));
        let no = || async { Err::<(), _>(Trouble::new(Kind::UnknownCampaign, "no campaign 7")) };
        assert_eq!(persist.until_answered(no).await.unwrap_err().kind, Kind::UnknownCampaign);
    }
}
