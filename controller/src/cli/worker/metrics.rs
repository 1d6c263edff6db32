//! Keeps the metrics file of a worker up to date, where trimtab.toml names one. A file that cannot be written is said once,
//! and stops nothing.

use std::{
    future::pending,
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    campaign::{metrics::export, store::Store},
    guest::text::safe,
};

/// Prometheus looks every 15 s to 60 s.
const EVERY: Duration = Duration::from_secs(15);

/// A store, and where its numbers go.
pub(super) struct Metrics<S> {
    store: Arc<S>,
    file: Option<PathBuf>,
    has_complained: AtomicBool,
}

impl<S: Store> Metrics<S> {
    pub(super) fn new(store: Arc<S>, file: Option<PathBuf>) -> Self {
        Self { store, file, has_complained: AtomicBool::new(false) }
    }

    /// Writes it again and again; never ends.
    pub(super) async fn keep(&self) {
        while self.file.is_some() {
            self.write().await;
            tokio::time::sleep(EVERY).await;
        }
        pending().await
    }

    /// Writes it once.
    pub(super) async fn write(&self) {
        let Some(file) = &self.file else { return };
        match export(&*self.store, file, Timestamp::now()).await {
            Ok(()) => self.has_complained.store(false, Ordering::Relaxed),
            Err(trouble) => {
                if !self.has_complained.swap(true, Ordering::Relaxed) {
                    let hint = trouble.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                    // Nobody reads any more: nothing is lost by that.
                    let _ = writeln!(anstream::stderr(), "{}{hint}", safe(&trouble.text));
                }
            }
        }
    }
}
