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
    campaign::{
        metrics::{Told, export, of_all},
        store::{Claimant, any::AnyStore},
        worker::persist::is_of_the_store,
    },
    guest::text::safe,
    model::trouble::Trouble,
};

/// Prometheus looks every 15 s to 60 s.
const EVERY: Duration = Duration::from_secs(15);

const EVERY_OF_A_FLEET: Duration = Duration::from_secs(60);

/// A store, and where its numbers go.
pub(super) struct Metrics {
    store: Arc<AnyStore>,
    by: Claimant,
    file: Option<PathBuf>,
    has_complained: AtomicBool,
}

impl Metrics {
    pub(super) fn new(store: Arc<AnyStore>, by: Claimant, file: Option<PathBuf>) -> Self {
        Self { store, by, file, has_complained: AtomicBool::new(false) }
    }

    /// Writes it again and again; never ends.
    pub(super) async fn keep(&self) {
        while self.file.is_some() {
            self.write().await;
            // Where hosts share a database, they ask less often.
            let is_shared = self.store.fleet().is_some();
            tokio::time::sleep(if is_shared { EVERY_OF_A_FLEET } else { EVERY }).await;
        }
        pending().await
    }

    /// What this worker may know.
    async fn told(&self) -> Result<Told, Trouble> {
        match self.store.fleet() {
            None => of_all(&*self.store, Timestamp::now()).await,
            Some(store) => Ok(Told { ended: None, campaigns: store.mine(&self.by).await? }),
        }
    }

    /// Writes it once.
    pub(super) async fn write(&self) {
        let Some(file) = &self.file else { return };
        match self.told().await.and_then(|told| export(&told, file, Timestamp::now())) {
            Ok(()) => self.has_complained.store(false, Ordering::Relaxed),
            // The worker says it, and goes on asking.
            Err(trouble) if is_of_the_store(&trouble) => {}
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
