//! Calls of the host that can block for ever (a hung NFS, a process that does not let go of its memory map), each on
//! a thread of its own and with a deadline.
//!
//! Not tokio's blocking pool: a runtime waits for that one when it ends, so a hung call would hang the whole program.
//! A thread that is left behind here dies with the process.

use std::{io, thread, time::Duration};

use tokio::{sync::oneshot, time::timeout};

/// What became of a call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDone {
    /// It did not come back in time. Its thread is left behind.
    #[error("no answer within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// No thread could be had for it.
    #[error("no thread: {0}")]
    NoThread(io::Error),
    /// The call ended without an answer.
    #[error("the call broke off")]
    Broken,
}

/// Runs `call` and waits for it no longer than `limit`.
pub(crate) async fn within<T, F>(limit: Duration, call: F) -> Result<T, NotDone>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    thread::Builder::new()
        .name("host-call".to_owned())
        // Nobody may be waiting any more: then the answer is dropped.
        .spawn(move || drop(answer.send(call())))
        .map_err(NotDone::NoThread)?;
    match timeout(limit, answered).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(NotDone::Broken),
        Err(_) => Err(NotDone::TooSlow(limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_in_time_is_handed_on() {
        assert_eq!(within(Duration::from_secs(5), || 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_call_that_hangs_is_left_behind() {
        let (_keep, never) = std::sync::mpsc::channel::<()>();
        let hung = within(Duration::from_millis(50), move || never.recv().is_ok()).await;
        assert!(matches!(hung, Err(NotDone::TooSlow(_))));
    }

    #[tokio::test]
    async fn a_call_that_panics_is_an_error_of_its_own() {
        let broken: Result<(), _> = within(Duration::from_secs(5), || panic!("in the call")).await;
        assert!(matches!(broken, Err(NotDone::Broken)));
    }
}
