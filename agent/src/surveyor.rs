//! Surveys for those who wait for an answer: on a thread that may hang without harm, one at a time, with a limit.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task, time};

use crate::{
    model::Survey,
    select::Policy,
    sys::{self, LiveFreeSpace, Roots},
};

/// How long a caller waits for a survey, the ones before it included.
pub const SURVEY_LIMIT: Duration = Duration::from_secs(10);

/// Surveys this guest.
#[derive(Clone, Debug)]
pub struct Surveyor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    roots: Roots,
    policy: Policy,
    probe: LiveFreeSpace,
}

/// One survey at a time. A survey that hangs keeps its turn, so that hanging ones do not pile up.
static TURN: Semaphore = Semaphore::const_new(1);

impl Surveyor {
    /// A surveyor with the guest's own policy.
    pub fn new(roots: Roots, policy: Policy) -> Self {
        Self { inner: Arc::new(Inner { roots, policy, probe: LiveFreeSpace::default() }) }
    }

    /// Surveys, with `also_types` trusted beside the policy's own.
    ///
    /// # Errors
    /// A sentence for the caller: the kernel could not be read, or not in time.
    pub async fn survey(&self, also_types: &[String]) -> Result<Survey, String> {
        let inner = self.inner.clone();
        let mut policy = inner.policy.clone();
        policy.also_types.extend_from_slice(also_types);
        let surveyed = async {
            let turn = TURN.acquire().await.map_err(|error| error.to_string())?;
            let surveying = task::spawn_blocking(move || {
                let survey = sys::survey(&inner.roots, &policy, &inner.probe);
                drop(turn);
                survey
            });
            match surveying.await {
                Ok(Ok(survey)) => Ok(survey),
                Ok(Err(error)) => Err(chain(&error)),
                Err(_) => Err("the survey broke off; the agent's log says why".to_owned()),
            }
        };
        time::timeout(SURVEY_LIMIT, surveyed).await.unwrap_or_else(|_| {
            Err(format!(
                "no survey within {} s; a disk of this guest does not answer",
                SURVEY_LIMIT.as_secs()
            ))
        })
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
