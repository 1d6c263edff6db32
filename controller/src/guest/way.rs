//! [`GuestWay`]: how one VM's guest is spoken to, or why it cannot be.

use super::{AgentClient, Limits, Qga, TrimStream, qga::QgaRun};
use crate::{
    model::{
        guest::{AgentInfo, GuestSurvey},
        run::{RunEvent, RunReport, SteerOrder, TrimOrder},
        trouble::{Kind, Trouble},
        vm::Vm,
    },
    trim::ports::{Guest, RunStream},
};

/// The way to a guest.
#[derive(Clone, Debug)]
pub enum GuestWay {
    /// Our agent.
    Agent(AgentClient),
    /// qemu-ga, through libvirt.
    Qga(Qga),
    /// None is known; each call answers with this.
    None(Trouble),
}

impl GuestWay {
    /// The best way that is known of.
    pub fn of(vm: &Vm) -> Self {
        match &vm.agent {
            Some(endpoint) => Self::Agent(AgentClient::new(endpoint.clone(), Limits::default())),
            None => Self::None(
                Trouble::new(Kind::NoAgent, "the inventory names no way to its agent").hint(
                    "add agent = \"vsock:CID\" or \"unix:/PATH\" to its [[vm]]; docs/usage/inventory.md shows how",
                ),
            ),
        }
    }
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
        match self {
            Self::Agent(agent) => agent.hello().await,
            Self::Qga(qga) => qga.hello().await,
            Self::None(trouble) => Err(trouble.clone()),
        }
    }

    async fn survey(&self) -> Result<GuestSurvey, Trouble> {
        match self {
            Self::Agent(agent) => agent.survey().await,
            Self::Qga(qga) => qga.survey().await,
            Self::None(trouble) => Err(trouble.clone()),
        }
    }

    async fn trim(&self, order: &TrimOrder) -> Result<WayRun, Trouble> {
        match self {
            Self::Agent(agent) => agent.trim(order).await.map(|stream| WayRun::Agent(Box::new(stream))),
            Self::Qga(qga) => qga.trim(order).await.map(WayRun::Qga),
            Self::None(trouble) => Err(trouble.clone()),
        }
    }

    async fn steer(&self, order: &SteerOrder) -> Result<RunReport, Trouble> {
        match self {
            Self::Agent(agent) => agent.steer(order).await,
            Self::Qga(qga) => qga.steer(order).await,
            Self::None(trouble) => Err(trouble.clone()),
        }
    }

    async fn get_run(&self, run_id: &str) -> Result<RunReport, Trouble> {
        match self {
            Self::Agent(agent) => agent.get_run(run_id).await,
            Self::Qga(qga) => qga.get_run(run_id).await,
            Self::None(trouble) => Err(trouble.clone()),
        }
    }
}
