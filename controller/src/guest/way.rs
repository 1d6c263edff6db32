//! [`GuestWay`]: how one VM's guest is spoken to, or why it cannot be.

use super::{AgentClient, Limits, TrimStream};
use crate::{
    model::{
        guest::{AgentInfo, GuestSurvey},
        run::{RunReport, SteerOrder, TrimOrder},
        trouble::{Kind, Trouble},
        vm::Vm,
    },
    trim::ports::Guest,
};

/// The way to a guest.
#[derive(Clone, Debug)]
pub enum GuestWay {
    /// Our agent.
    Agent(AgentClient),
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

    fn agent(&self) -> Result<&AgentClient, Trouble> {
        match self {
            Self::Agent(agent) => Ok(agent),
            Self::None(trouble) => Err(trouble.clone()),
        }
    }
}

impl Guest for GuestWay {
    type Run = TrimStream;

    async fn hello(&self) -> Result<AgentInfo, Trouble> {
        self.agent()?.hello().await
    }

    async fn survey(&self) -> Result<GuestSurvey, Trouble> {
        self.agent()?.survey().await
    }

    async fn trim(&self, order: &TrimOrder) -> Result<TrimStream, Trouble> {
        self.agent()?.trim(order).await
    }

    async fn steer(&self, order: &SteerOrder) -> Result<RunReport, Trouble> {
        self.agent()?.steer(order).await
    }

    async fn get_run(&self, run_id: &str) -> Result<RunReport, Trouble> {
        self.agent()?.get_run(run_id).await
    }
}
