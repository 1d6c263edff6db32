//! What the caller of a turn wants of it while it goes on.

use std::future::pending;

use tokio::sync::watch;
use trimtab_proto::words::Action;

use super::event::Stage;

/// What is wanted now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// That it goes on.
    Go,
    /// That nothing is discarded until another wish.
    Pause,
    /// That it ends, with its account. The last wish.
    Cancel,
}

impl Wish {
    /// As the agent is told.
    pub(super) fn action(self) -> Action {
        match self {
            Self::Go => Action::Resume,
            Self::Pause => Action::Pause,
            Self::Cancel => Action::Cancel,
        }
    }

    /// Where a run is that does so.
    pub(super) fn stage(self) -> Stage {
        match self {
            Self::Go => Stage::Trimming,
            Self::Pause => Stage::Paused,
            Self::Cancel => Stage::Cancelling,
        }
    }
}

/// Ends when something else is wanted than this; never, when the caller has gone.
pub(super) async fn another(wishes: &mut watch::Receiver<Wish>, than: Wish) -> Wish {
    let other = wishes.wait_for(|wish| *wish != than).await.ok().map(|wish| *wish);
    match other {
        Some(wish) => wish,
        None => pending().await,
    }
}

/// Waits while a pause is wanted; what is wanted then.
pub async fn no_pause(wishes: &mut watch::Receiver<Wish>) -> Wish {
    another(wishes, Wish::Pause).await
}
