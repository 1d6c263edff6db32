//! A stream's end of a run: what the run says and the caller has not read yet.
//!
//! The run never waits for a reader. State changes and the filesystems' beginnings and ends are kept, which bounds
//! them by the number of filesystems (a state not yet read is replaced by the next one); progress has one place, and
//! the latest takes it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::report::{Event, What};

/// The run's side.
#[derive(Clone, Debug)]
pub(super) struct FeedWriter {
    shared: Arc<Shared>,
}

/// The caller's side. Dropping it tells the run that nobody listens any more.
pub struct Feed {
    shared: Arc<Shared>,
    on_drop: Option<Box<dyn FnOnce() + Send + Sync>>,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    moved: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    kept: VecDeque<Event>,
    progress: Option<Event>,
    ended: bool,
}

/// A pair of ends; `on_drop` runs when the caller's end goes.
pub(super) fn feed(on_drop: impl FnOnce() + Send + Sync + 'static) -> (FeedWriter, Feed) {
    let shared = Arc::new(Shared::default());
    (FeedWriter { shared: shared.clone() }, Feed { shared, on_drop: Some(Box::new(on_drop)) })
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FeedWriter {
    /// Adds an event. After `End` nothing is added.
    pub(super) fn push(&self, event: Event) {
        let mut pending = self.shared.pending();
        if pending.ended {
            return;
        }
        match event.what {
            What::Progress(_) => pending.progress = Some(event),
            What::State(_) => {
                if matches!(pending.kept.back(), Some(Event { what: What::State(_), .. })) {
                    pending.kept.pop_back();
                }
                pending.kept.push_back(event);
            }
            What::Filesystem(_) => pending.kept.push_back(event),
            What::End(_) => {
                pending.progress = None;
                pending.ended = true;
                pending.kept.push_back(event);
            }
        }
        drop(pending);
        self.shared.moved.notify_one();
    }
}

impl Feed {
    /// The next event; `None` after `End`. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            {
                let mut pending = self.shared.pending();
                let found = pending.kept.pop_front();
                let found = found.or_else(|| pending.progress.take());
                if found.is_some() || pending.ended {
                    return found;
                }
            }
            self.shared.moved.notified().await;
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(on_drop) = self.on_drop.take() {
            on_drop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use trimtab_proto::words::RunState;

    use super::*;
    use crate::trim::report::{Progress, RunReport};

    fn report(fence: u64) -> RunReport {
        RunReport {
            run_id: String::new(),
            fence,
            boot_id: String::new(),
            state: RunState::Running,
            stop: None,
            duration_ms: 0,
            filesystems: vec![],
            sent: vec![],
            settled: false,
        }
    }

    fn state(fence: u64) -> Event {
        Event { elapsed_ms: 0, what: What::State(report(fence)) }
    }

    fn progress(of: u64) -> Event {
        let filesystem_id = crate::model::DevNum { major: 8, minor: 1 };
        let progress = Progress { filesystem_id, passed: None, of, sent: vec![] };
        Event { elapsed_ms: 0, what: What::Progress(progress) }
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_latest() {
        let (writer, mut feed) = feed(|| ());
        for n in 0..10_000 {
            writer.push(state(n));
            writer.push(progress(n));
        }
        assert_eq!(feed.next().await, Some(state(9999)));
        assert_eq!(feed.next().await, Some(progress(9999)));
        writer.push(progress(1));
        writer.push(Event { elapsed_ms: 5, what: What::End(report(1)) });
        writer.push(state(2));
        assert!(matches!(feed.next().await, Some(Event { what: What::End(_), .. })));
        assert_eq!(feed.next().await, None);
    }

    #[test]
    fn dropping_tells() {
        static TOLD: AtomicBool = AtomicBool::new(false);
        let (_writer, feed) = feed(|| TOLD.store(true, Ordering::SeqCst));
        drop(feed);
        assert!(TOLD.load(Ordering::SeqCst));
    }
}
