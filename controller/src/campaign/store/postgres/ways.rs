//! The connections to the database: a few, made when they are needed, and each call bounded in time.
//!
//! A network that swallows packets leaves a connection that neither answers nor breaks. Whoever waited for it too long, or was
//! sent away in the middle of a call, gives it up with the call: what comes of that transaction the server decides, and the
//! calls can be said again. sqlx's own pool would wait for such a connection's answer before it lets it go, and keeps
//! the reason for itself why none could be made.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{ConnectOptions, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::fault::Fault;

/// A worker's calls are short; fifty workers are to fit beside what else uses the server.
const CONNECTIONS: usize = 2;

/// To say good-bye in.
const FAREWELL: Duration = Duration::from_secs(2);

/// The ways to one database.
pub(super) struct Ways {
    options: PgConnectOptions,
    room: Semaphore,
    idle: Mutex<Vec<PgConnection>>,
    /// When the server was started that answered last, by its own clock.
    server: Mutex<Option<String>>,
    epoch: AtomicU64,
}

impl Ways {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self {
            options,
            room: Semaphore::new(CONNECTIONS),
            idle: Mutex::default(),
            server: Mutex::default(),
            epoch: AtomicU64::new(0),
        }
    }

    /// One way for one call, which takes `limit` at most, the connecting included.
    pub(super) async fn call<T>(
        &self,
        limit: Duration,
        call: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        // On the heap: a worker's future has one of each call in it, and is moved about on a thread's stack.
        let called = Box::pin(async {
            let mut way = self.take().await?;
            let answer = call(&mut way).await;
            let is_well = match &answer {
                Ok(_) => true,
                // What was begun must be rolled back now, since it holds the store's lock.
                Err(Fault::Told(_)) => way.ping().await.is_ok(),
                Err(Fault::Sql(error)) if error.as_database_error().is_some() => way.ping().await.is_ok(),
                Err(_) => false,
            };
            if is_well {
                way.give_back();
            }
            answer
        });
        timeout(limit, called).await.unwrap_or(Err(Fault::Silent(limit)))
    }

    /// One way, which is given up unless it is given back.
    pub(super) async fn take(&self) -> Result<Way<'_>, Fault> {
        let room = self.room.acquire().await.map_err(|_| Fault::defect("it was closed".to_owned()))?;
        while let Some(mut idle) = self.idle_one() {
            // The server may have been restarted meanwhile.
            if idle.ping().await.is_ok() {
                return Ok(Way { connection: idle, ways: self, _room: room });
            }
        }
        let mut connection = self.options.connect().await?;
        self.meet(&mut connection).await?;
        Ok(Way { connection, ways: self, _room: room })
    }

    /// For one beside them.
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Grows when another server answers than before, or the same one after a start: it may have lost what was committed
    /// last. Nothing but a new connection leads there.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    async fn meet(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        let started: String =
            sqlx::query_scalar("SELECT pg_postmaster_start_time()::TEXT").fetch_one(connection).await?;
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if server.replace(started.clone()).is_some_and(|before| before != started) {
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Ends what is idle in order.
    pub(super) async fn close(self) {
        let idle = self.idle.into_inner().unwrap_or_else(PoisonError::into_inner);
        for connection in idle {
            drop(timeout(FAREWELL, connection.close()).await);
        }
    }

    fn idle_one(&self) -> Option<PgConnection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// A connection that somebody has.
pub(super) struct Way<'a> {
    connection: PgConnection,
    ways: &'a Ways,
    _room: SemaphorePermit<'a>,
}

impl Way<'_> {
    fn give_back(self) {
        self.ways.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.connection);
    }
}

impl Deref for Way<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Way<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
