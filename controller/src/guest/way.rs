//! [`GuestWay`]: how one VM's guest is spoken to, or why it cannot be.

use super::{AgentClient, Limits, Qga, TrimStream, domain, qga::QgaRun};
use crate::{
    model::{
        guest::{AgentInfo, GuestSurvey},
        run::{RunEvent, RunReport, SteerOrder, TrimOrder},
        trouble::{Kind, Trouble},
        vm::{DomainId, Vm},
    },
    trim::ports::{Guest, RunStream},
};

/// The way to a guest.
#[derive(Clone, Debug)]
pub enum GuestWay {
    /// Our agent.
    Agent(AgentClient),
    /// Our agent behind the vsock device of a domain, whose CID may be another at each start: it is read for each call.
    Domain(DomainId),
    /// qemu-ga, through libvirt.
    Qga(Qga),
    /// None is known; each call answers with this.
    None(Trouble),
}

impl GuestWay {
    /// The best way that is known of.
    pub fn of(vm: &Vm) -> Self {
        match (&vm.agent, &vm.domain) {
            (Some(endpoint), _) => Self::Agent(AgentClient::new(endpoint.clone(), Limits::default())),
            (None, Some(domain)) => Self::Domain(domain.id.clone()),
            (None, None) => Self::None(
                Trouble::new(Kind::NoAgent, "the inventory names no way to its agent").hint(
                    "add agent = \"vsock:CID\" or \"unix:/PATH\" to its [[vm]]; docs/usage/inventory.md shows how",
                ),
            ),
        }
    }

    /// Who is to be called now.
    async fn callee(&self) -> Result<Callee<'_>, Trouble> {
        match self {
            Self::Agent(agent) => Ok(Callee::Agent(agent.clone())),
            Self::Domain(domain) => domain::agent(domain).await.map(Callee::Agent),
            Self::Qga(qga) => Ok(Callee::Qga(qga)),
            Self::None(trouble) => Err(trouble.clone()),
        }
    }
}

/// Who answers one call.
enum Callee<'a> {
    Agent(AgentClient),
    Qga(&'a Qga),
}

/// A run in a guest, by whoever does it.
pub enum WayRun {
    /// Our agent's stream.
    Agent(Box<TrimStream>),
    /// qemu-ga's beginning and end.
    Qga(QgaRun),
}

impl RunStream for WayRun {
    async fn next(&mut self) -> Option<Result<RunEvent, Trouble>> {
        match self {
            Self::Agent(stream) => stream.next().await,
            Self::Qga(run) => run.next().await,
        }
    }
}

impl Guest for GuestWay {
    type Run = WayRun;

    async fn hello(&self) -> Result<AgentInfo, Trouble> {
        match self.callee().await? {
            Callee::Agent(agent) => agent.hello().await,
            Callee::Qga(qga) => qga.hello().await,
        }
    }

    async fn survey(&self) -> Result<GuestSurvey, Trouble> {
        let survey = match self.callee().await? {
            Callee::Agent(agent) => agent.survey().await,
            Callee::Qga(qga) => qga.survey().await,
        }?;
        if let Self::Domain(domain) = self {
            domain::confirm(domain, &survey).await?;
        }
        Ok(survey)
    }

    async fn trim(&self, order: &TrimOrder) -> Result<WayRun, Trouble> {
        match self.callee().await? {
            Callee::Agent(agent) => agent.trim(order).await.map(|stream| WayRun::Agent(Box::new(stream))),
            Callee::Qga(qga) => qga.trim(order).await.map(WayRun::Qga),
        }
    }

    async fn steer(&self, order: &SteerOrder) -> Result<RunReport, Trouble> {
        match self.callee().await? {
            Callee::Agent(agent) => agent.steer(order).await,
            Callee::Qga(qga) => qga.steer(order).await,
        }
    }

    async fn get_run(&self, run_id: &str) -> Result<RunReport, Trouble> {
        match self.callee().await? {
            Callee::Agent(agent) => agent.get_run(run_id).await,
            Callee::Qga(qga) => qga.get_run(run_id).await,
        }
    }
}
