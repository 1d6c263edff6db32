//! The way to the guest: its vsock device and the agent behind it. Findings of a whole VM, not of one disk.

use trimtab_proto::words::SkipReason;

use super::{Finding, Layer, State, words};
use crate::model::{
    disk::{Link, VmFacts},
    endpoint::Endpoint,
    guest::GuestSurvey,
    trouble::{Kind, Trouble},
    vm::Via,
};

/// What link and agent do, in this order.
pub fn findings(
    vm: &VmFacts,
    endpoint: Option<&Endpoint>,
    guest: &Result<GuestSurvey, Trouble>,
) -> Vec<Finding> {
    let link = link(vm, endpoint, guest);
    let agent = match guest {
        Err(_) if link.state == State::Cut => {
            vec![Finding::new(Layer::Agent, State::Unknown, "not known: there is no way to it")]
        }
        _ => agent(guest),
    };
    std::iter::once(link).chain(agent).collect()
}

fn link(vm: &VmFacts, endpoint: Option<&Endpoint>, guest: &Result<GuestSurvey, Trouble>) -> Finding {
    match (endpoint, vm.link) {
        _ if guest.as_ref().is_ok_and(|survey| survey.agent.via == Via::Qga) => {
            Finding::new(Layer::Link, State::Open, "through libvirt, by the channel of qemu-ga")
        }
        (Some(endpoint), _) if leads_into_the_guest(guest) => {
            Finding::new(Layer::Link, State::Open, format!("reached at {endpoint}"))
        }
        (_, Link::Vsock(Some(cid))) => {
            Finding::new(Layer::Link, State::Open, format!("a vsock device with CID {}", cid.0))
        }
        (_, Link::Vsock(None)) => {
            Finding::new(Layer::Link, State::Open, "a vsock device; its CID is given at the next start")
        }
        (Some(_), _) => match guest {
            Err(trouble) if trouble.kind == Kind::NoLink => {
                let finding = Finding::new(Layer::Link, State::Cut, trouble.text.clone());
                trouble.hint.iter().fold(finding, |finding, hint| finding.fix(hint))
            }
            _ => Finding::new(
                Layer::Link,
                State::Unknown,
                "not known: the guest was not asked, or did not answer",
            ),
        },
        (None, Link::Missing) => missing(vm),
        (None, Link::Unknown) => Finding::new(
            Layer::Link,
            State::Unknown,
            "the inventory names no way to the guest's agent, and nothing tells whether there is one",
        )
        .fix("add agent = \"vsock:CID\" or \"unix:/PATH\" to its [[vm]] in the inventory"),
    }
}

/// An agent answered, or the guest itself said that it has none.
fn leads_into_the_guest(guest: &Result<GuestSurvey, Trouble>) -> bool {
    guest.as_ref().map_or_else(|trouble| matches!(trouble.kind, Kind::NoAgent | Kind::AgentVersion), |_| true)
}

fn missing(vm: &VmFacts) -> Finding {
    let finding = Finding::new(Layer::Link, State::Cut, "no vsock device: no agent can be reached");
    match words::trimtab(vm, "doctor", "--fix") {
        Some(line) => finding
            .fix("attach one (it is there after the VM's next power cycle); until then --via qga may do:")
            .paste(line),
        None => finding.fix(
            "start QEMU with -device vhost-vsock-pci,guest-cid=N, a number from 3 up that no other VM of this host has",
        ),
    }
}

fn agent(guest: &Result<GuestSurvey, Trouble>) -> Vec<Finding> {
    let survey = match guest {
        Ok(survey) => survey,
        Err(trouble) => return vec![unanswered(trouble)],
    };
    let info = &survey.agent;
    let mut found = vec![match info.via {
        Via::Agent => Finding::new(
            Layer::Agent,
            State::Open,
            format!("trimtab-agent {}, Linux {}", info.version, info.kernel),
        ),
        Via::Qga => Finding::new(
            Layer::Agent,
            State::Note,
            format!("qemu-ga, Linux {}: trims all at once; no claims, no progress, no cancel", info.kernel),
        )
        .fix("install trimtab-agent in the guest to see what is claimed and sent, and to choose what is trimmed"),
    }];
    if !info.policy.host_may_trim {
        found.push(
            Finding::new(
                Layer::Agent,
                State::Cut,
                "the guest's owner does not let the host trim (agent.toml)",
            )
            .fix("in the guest: set host_may_trim = true in /etc/trimtab/agent.toml"),
        );
    }
    let kernel = |fs: &&crate::model::guest::Filesystem| {
        fs.skip.as_ref().is_some_and(|skip| skip.reason.is(SkipReason::Kernel))
    };
    found.extend(survey.filesystems.iter().find(kernel).and_then(|fs| fs.skip.as_ref()).map(|skip| {
        Finding::new(
            Layer::Agent,
            State::Note,
            format!("this kernel does not trim everything: {}", skip.text),
        )
    }));
    if let Some(timer) = survey.fstrim_timer.filter(|timer| timer.installed && timer.active) {
        let when = timer
            .next_unix_secs
            .and_then(|secs| jiff::Timestamp::from_second(secs).ok())
            .map(|at| format!(", next at {at}"))
            .unwrap_or_default();
        let text = format!("the guest's own fstrim.timer is active{when}: both will trim");
        found.push(Finding::new(Layer::Agent, State::Note, text).warns());
    }
    found
}

/// An agent that is not there cuts; whatever else kept it from answering leaves it unknown.
fn unanswered(trouble: &Trouble) -> Finding {
    let state = match trouble.kind {
        Kind::NoAgent | Kind::AgentVersion => State::Cut,
        _ => State::Unknown,
    };
    let finding = Finding::new(Layer::Agent, state, trouble.text.clone());
    trouble.hint.iter().fold(finding, |finding, hint| finding.fix(hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::samples::Sample,
        model::{disk::Manager, endpoint::Cid, guest::Timer},
    };

    fn states(
        vm: &VmFacts,
        endpoint: Option<&str>,
        guest: &Result<GuestSurvey, Trouble>,
    ) -> Vec<(Layer, State)> {
        let endpoint = endpoint.map(|text| text.parse().unwrap());
        findings(vm, endpoint.as_ref(), guest).iter().map(|found| (found.layer, found.state)).collect()
    }

    #[test]
    fn the_link() {
        let ok = Ok(Sample::raw().survey);
        let failed = |kind| Err(Trouble::new(kind, "why"));
        let silent = || failed(Kind::AgentSilent);
        let with = |link| VmFacts { link, ..VmFacts::default() };
        let at = Some("unix:/run/a");
        let cases = [
            ("answers", with(Link::Unknown), at, ok.clone(), State::Open),
            ("answers by hybrid vsock", with(Link::Missing), at, ok, State::Open),
            ("silent behind a device", with(Link::Vsock(Some(Cid(3)))), at, silent(), State::Open),
            ("silent", with(Link::Unknown), at, silent(), State::Unknown),
            ("no listener", with(Link::Unknown), at, failed(Kind::NoAgent), State::Open),
            ("no socket", with(Link::Unknown), at, failed(Kind::NoLink), State::Cut),
            ("no device", with(Link::Missing), None, silent(), State::Cut),
            ("nothing known", with(Link::Unknown), None, silent(), State::Unknown),
        ];
        for (name, vm, endpoint, guest, expected) in cases {
            assert_eq!(states(&vm, endpoint, &guest)[0], (Layer::Link, expected), "{name}");
        }
    }

    #[test]
    fn qemu_ga_is_a_way_without_vsock() {
        let mut survey = Sample::raw().survey;
        survey.agent.via = Via::Qga;
        let vm = VmFacts { link: Link::Missing, ..VmFacts::default() };
        assert_eq!(states(&vm, None, &Ok(survey)), [(Layer::Link, State::Open), (Layer::Agent, State::Note)]);
    }

    #[test]
    fn a_missing_device_is_mended_in_the_managers_words() {
        let manager = Manager::Libvirt { uri: "qemu:///system".into(), domain: "a b; reboot".into() };
        let fix = missing(&VmFacts { manager, ..VmFacts::default() }).fix.unwrap();
        assert_eq!(fix.paste, ["trimtab doctor 'a b; reboot' --fix"]);
        assert!(missing(&VmFacts::default()).fix.unwrap().text.contains("vhost-vsock-pci"));
    }

    #[test]
    fn the_agent() {
        let mut survey = Sample::raw().survey;
        let said = |survey: &GuestSurvey| {
            states(&VmFacts::default(), Some("vsock:3"), &Ok(survey.clone()))[1..].to_vec()
        };
        assert_eq!(said(&survey), [(Layer::Agent, State::Open)]);
        survey.fstrim_timer = Some(Timer { installed: true, active: true, next_unix_secs: Some(0) });
        survey.agent.policy.host_may_trim = false;
        assert_eq!(said(&survey)[1..], [(Layer::Agent, State::Cut), (Layer::Agent, State::Note)]);
        for (kind, expected) in
            [(Kind::NoAgent, State::Cut), (Kind::AgentSilent, State::Unknown), (Kind::VmOff, State::Unknown)]
        {
            let guest = Err(Trouble::new(kind, "why"));
            assert_eq!(states(&VmFacts::default(), None, &guest)[1], (Layer::Agent, expected), "{kind:?}");
        }
    }
}
