//! A store under a clock that stands still while it works: each call holds a blocking task, and tokio's paused clock does
//! not go on by itself while there is one. A store of real files is then as if it took no time.

use std::{future::Future, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{runtime::Handle, task::spawn_blocking};
use trimtab_controller::{
    campaign::{
        account::{Event, RunRow, Status, Summary, VmRow},
        run::{Baseline, Claimed, Counted, Instruction, Later, RunResult},
        store::{Active, Claim, Claimant, Latest, NewCampaign, Order, Store},
    },
    model::trouble::{Kind, Trouble},
};

/// A store whose calls take no time.
#[derive(Debug)]
pub struct Frozen<S>(pub Arc<S>);

impl<S: Store + 'static> Frozen<S> {
    async fn call<T, F>(&self, call: impl FnOnce(Arc<S>) -> F + Send + 'static) -> Result<T, Trouble>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send,
    {
        let (store, runtime) = (Arc::clone(&self.0), Handle::current());
        let called = spawn_blocking(move || runtime.block_on(call(store))).await;
        called.unwrap_or_else(|error| Err(Trouble::new(Kind::Internal, format!("the store broke: {error}"))))
    }
}

impl<S: Store + 'static> Store for Frozen<S> {
    async fn now(&self) -> Result<Timestamp, Trouble> {
        self.call(|store| async move { store.now().await }).await
    }

    async fn apply(&self, campaign: &NewCampaign) -> Result<i64, Trouble> {
        let campaign = campaign.clone();
        self.call(move |store| async move { store.apply(&campaign).await }).await
    }

    async fn list(&self) -> Result<Vec<Summary>, Trouble> {
        self.call(|store| async move { store.list().await }).await
    }

    async fn active(&self, by: &Claimant) -> Result<Vec<Active>, Trouble> {
        let by = by.clone();
        self.call(move |store| async move { store.active(&by).await }).await
    }

    async fn status(&self, campaign: i64) -> Result<Status, Trouble> {
        self.call(move |store| async move { store.status(campaign).await }).await
    }

    async fn runs(&self, campaign: i64) -> Result<Vec<RunRow>, Trouble> {
        self.call(move |store| async move { store.runs(campaign).await }).await
    }

    async fn events(&self, campaign: i64) -> Result<Vec<Event>, Trouble> {
        self.call(move |store| async move { store.events(campaign).await }).await
    }

    async fn vms(&self) -> Result<Vec<VmRow>, Trouble> {
        self.call(|store| async move { store.vms().await }).await
    }

    async fn order(&self, campaign: i64, order: &Order, who: &str) -> Result<Summary, Trouble> {
        let (order, who) = (order.clone(), who.to_owned());
        self.call(move |store| async move { store.order(campaign, &order, &who).await }).await
    }

    async fn claim(&self, campaign: i64, by: &Claimant) -> Result<Claim, Trouble> {
        let by = by.clone();
        self.call(move |store| async move { store.claim(campaign, &by).await }).await
    }

    async fn baseline(&self, claimed: &Claimed, baseline: &Baseline) -> Result<Instruction, Trouble> {
        let (claimed, baseline) = (claimed.clone(), baseline.clone());
        self.call(move |store| async move { store.baseline(&claimed, &baseline).await }).await
    }

    async fn heartbeat(
        &self,
        by: &Claimant,
        held: Option<&str>,
        stages: &[(i64, u64, String)],
    ) -> Result<Vec<(i64, Instruction)>, Trouble> {
        let (by, held, stages) = (by.clone(), held.map(str::to_owned), stages.to_vec());
        self.call(move |store| async move { store.heartbeat(&by, held.as_deref(), &stages).await }).await
    }

    async fn latest(&self) -> Result<Latest, Trouble> {
        self.call(|store| async move { store.latest().await }).await
    }

    async fn finish(&self, claimed: &Claimed, result: &RunResult) -> Result<Counted, Trouble> {
        let (claimed, result) = (claimed.clone(), result.clone());
        self.call(move |store| async move { store.finish(&claimed, &result).await }).await
    }

    async fn later(&self, claimed: &Claimed, later: &Later) -> Result<Counted, Trouble> {
        let (claimed, later) = (claimed.clone(), later.clone());
        self.call(move |store| async move { store.later(&claimed, &later).await }).await
    }

    async fn recover(&self, by: &Claimant) -> Result<u32, Trouble> {
        let by = by.clone();
        self.call(move |store| async move { store.recover(&by).await }).await
    }

    async fn leave(&self, by: &Claimant) -> Result<(), Trouble> {
        let by = by.clone();
        self.call(move |store| async move { store.leave(&by).await }).await
    }

    fn lease(&self) -> Option<Duration> {
        self.0.lease()
    }
}
