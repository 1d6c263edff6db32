//! [`GuestWay`]: how one VM's guest is spoken to, or why it cannot be.

use super::{AgentClient, Limits, ProbeEvents, Qga, TrimStream, domain, qga::QgaRun};
use crate::{
    model::{
        guest::{AgentInfo, GuestSurvey},
        probe::ProbeOrder,
        run::{RunEvent, RunReport, SteerOrder, TrimOrder},
        token::TokenFile,
        trouble::{Kind, Trouble},
        vm::{DomainId, Via, Vm},
    },
    trim::ports::{Guest, RunStream},
};

/// The way to a guest.
#[derive(Clone, Debug)]
pub enum GuestWay {
    /// Our agent.
    Agent {
        /// It.
        client: AgentClient,
        /// The VM is a domain of libvirt, so qemu-ga may be there where it is not.
        in_domain: bool,
    },
    /// Our agent behind the vsock device of a domain, whose CID may be another at each start: it is read for each call.
    Domain {
        /// Which.
        id: DomainId,
        /// The token that its agent may want.
        token: Option<TokenFile>,
    },
    /// qemu-ga, through libvirt.
    Qga(Qga),
    /// None is known; each call answers with this.
    None(Trouble),
}

impl GuestWay {
    /// The way to whoever is to trim in it.
    pub fn of(vm: &Vm, via: Via) -> Self {
        match (&vm.agent, &vm.domain) {
            (_, Some(domain)) if via == Via::Qga => Self::Qga(Qga::new(domain.id.clone())),
            (_, None) if via == Via::Qga => Self::None(
                Trouble::new(Kind::NoAgent, "qemu-ga is reached through libvirt, and this VM is no domain of it")
                    .hint("name its libvirt with --connect, or reach trimtab-agent in it"),
            ),
            (Some(endpoint), domain) => Self::Agent {
                client: AgentClient::new(endpoint.clone(), Limits::default()).with_token(vm.token.clone()),
                in_domain: domain.is_some(),
            },
            (None, Some(domain)) => Self::Domain { id: domain.id.clone(), token: vm.token.clone() },
            (None, None) => Self::None(
                Trouble::new(Kind::NoAgent, "the inventory names no way to its agent").hint(
                    "add agent = \"vsock:CID\" or \"unix:/PATH\" to its [[vm]]; docs/usage/inventory.md shows how",
                ),
            ),
        }
    }

    /// Names qemu-ga where it may be there and our agent is not.
    fn with_fallback(&self, trouble: Trouble) -> Trouble {
        let in_domain = matches!(self, Self::Agent { in_domain: true, .. } | Self::Domain { .. });
        if !in_domain || !matches!(trouble.kind, Kind::NoAgent | Kind::NoLink) {
            return trouble;
        }
        let hint = trouble.hint.as_ref().map(|hint| format!("{hint}; ")).unwrap_or_default();
        trouble.hint(format!("{hint}where qemu-ga runs in the guest, --via qga will do"))
    }

    async fn ask(&self) -> Result<GuestSurvey, Trouble> {
        match self.callee().await? {
            Callee::Agent(agent) => agent.survey().await,
            Callee::Qga(qga) => qga.survey().await,
        }
    }

    /// Who is to be called now.
    async fn callee(&self) -> Result<Callee<'_>, Trouble> {
        match self {
            Self::Agent { client, .. } => Ok(Callee::Agent(Box::new(client.clone()))),
            Self::Domain { id, token } => {
                domain::agent(id, token.as_ref()).await.map(|agent| Callee::Agent(Box::new(agent)))
            }
            Self::Qga(qga) => Ok(Callee::Qga(qga)),
            Self::None(trouble) => Err(trouble.clone()),
        }
    }
}

/// Who answers one call.
enum Callee<'a> {
    Agent(Box<AgentClient>),
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
    type Probe = ProbeEvents;

    async fn hello(&self) -> Result<AgentInfo, Trouble> {
        match self.callee().await? {
            Callee::Agent(agent) => agent.hello().await,
            Callee::Qga(qga) => qga.hello().await,
        }
    }

    async fn survey(&self) -> Result<GuestSurvey, Trouble> {
        let survey = self.ask().await.map_err(|trouble| self.with_fallback(trouble))?;
        if let Self::Domain { id, .. } = self {
            domain::confirm(id, &survey).await?;
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

    async fn probe(&self, order: &ProbeOrder) -> Result<ProbeEvents, Trouble> {
        match self.callee().await? {
            Callee::Agent(agent) => agent.probe(order).await,
            Callee::Qga(qga) => qga.probe(order).await,
        }
    }

    async fn get_run(&self, run_id: &str) -> Result<RunReport, Trouble> {
        match self.callee().await? {
            Callee::Agent(agent) => agent.get_run(run_id).await,
            Callee::Qga(qga) => qga.get_run(run_id).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{disk::Link, uri::Uri, vm::Domain};

    #[tokio::test]
    async fn where_there_is_no_agent_qemu_ga_is_named_if_it_can_be_reached() {
        let id = DomainId { uri: Uri::default(), name: "web".into(), uuid: "u".into() };
        let domain = Domain { id, state: None, link: Link::Missing, disks: Vec::new(), labels: Vec::new() };
        let agent = Some("unix:/nonexistent/vsock".parse().unwrap());
        let plain = Vm { agent, ..Vm::named("web") };
        let managed = Vm { domain: Some(domain), ..plain.clone() };
        for (vm, via, expected) in [
            (&plain, Via::Agent, None),
            (&managed, Via::Agent, Some("--via qga will do")),
            (&plain, Via::Qga, Some("--connect")),
        ] {
            let trouble = GuestWay::of(vm, via).survey().await.unwrap_err();
            let hint = trouble.hint.clone().unwrap_or_default();
            match expected {
                Some(words) => assert!(hint.contains(words), "{trouble:?}"),
                None => assert!(!hint.contains("qga"), "{trouble:?}"),
            }
        }
    }
}
