//! A store that does not answer: asked again with a growing wait, and said once. Trims that run go on meanwhile.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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
    in_trouble: Arc<AtomicBool>,
}

impl Persist {
    pub(super) fn new(listener: Arc<dyn Listener>) -> Self {
        Self { listener, in_trouble: Arc::default() }
    }

    /// Asks until there is an answer. Anything but trouble with the store is one.
    pub(super) async fn until_answered<T, F: Future<Output = Result<T, Trouble>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, Trouble> {
        let mut wait = FIRST;
        loop {
            match self.once(ask()).await {
                Err(trouble) if trouble.kind == Kind::Store => {}
                answer => return answer,
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(MOST);
        }
    }

    /// Asks once; what comes of it is said where it is news.
    pub(super) async fn once<T>(
        &self,
        asked: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let answer = asked.await;
        match &answer {
            Err(trouble) if trouble.kind == Kind::Store => {
                if !self.in_trouble.swap(true, Ordering::Relaxed) {
                    self.listener.say(Said::StoreTrouble(trouble));
                }
            }
            _ => {
                if self.in_trouble.swap(false, Ordering::Relaxed) {
                    self.listener.say(Said::StoreBack);
                }
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, atomic::AtomicU32};

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
                match asked.fetch_add(1, Ordering::Relaxed) {
                    0..10 => Err(Trouble::new(Kind::Store, "the disk is full")),
                    times => Ok(times),
                }
            })
            .await;
        assert_eq!(answer, Ok(10));
        assert_eq!(*said.lock().unwrap(), [false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_no_is_an_answer() {
        let persist = Persist::new(Arc::new(|_: Said<'_>| {}));
        let no = || async { Err::<(), _>(Trouble::new(Kind::UnknownCampaign, "no campaign 7")) };
        assert_eq!(persist.until_answered(no).await.unwrap_err().kind, Kind::UnknownCampaign);
    }
}
