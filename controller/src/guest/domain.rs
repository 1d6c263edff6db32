//! The agent in a domain of libvirt: behind its vsock device, whose CID the live XML tells. A CID belongs to a domain
//! from one start to the next, and may be another's by the time that somebody answers: the disks tell.

use super::{AgentClient, Limits};
use crate::{
    libvirt::Libvirt,
    model::{
        disk::{HostDisk, Link},
        endpoint::{Endpoint, Port},
        guest::GuestSurvey,
        token::TokenFile,
        trouble::{Kind, Trouble},
        vm::DomainId,
    },
};

/// Who is to be called now.
///
/// # Errors
/// libvirt's; `vm_off`; `no_link` where there is no vsock device, or none whose CID libvirt knows.
pub(super) async fn agent(domain: &DomainId, token: Option<&TokenFile>) -> Result<AgentClient, Trouble> {
    let link = Libvirt::new(domain.uri.clone()).link(domain).await?;
    let DomainId { uri, name, .. } = domain;
    match link {
        Some(Link::Vsock(Some(cid))) => {
            let endpoint = Endpoint::Vsock { cid, port: Port::AGENT };
            Ok(AgentClient::new(endpoint, Limits::default()).with_token(token.cloned()))
        }
        Some(Link::Vsock(None)) => Err(Trouble::new(
            Kind::NoLink,
            format!("libvirt ({uri}) does not know the CID of domain {name}'s vsock device"),
        )
        .hint("a device of <qemu:commandline>? add agent = \"unix:/PATH\" to a [[vm]] of this name in the inventory")),
        Some(Link::Missing | Link::Unknown) => {
            Err(Trouble::new(Kind::NoLink, format!("domain {name} has no vsock device: no agent can be reached"))
                .hint("`trimtab doctor VM --fix` attaches one, which is there after the next power cycle"))
        }
        None => Err(Trouble::new(Kind::VmOff, format!("domain {name} is off"))),
    }
}

/// Asks libvirt once more and compares: whoever answered must have one of the domain's disks.
pub(super) async fn confirm(domain: &DomainId, survey: &GuestSurvey) -> Result<(), Trouble> {
    let view = Libvirt::new(domain.uri.clone()).look(domain).await?;
    match is_stranger(&view.disks, survey) {
        false => Ok(()),
        true => Err(Trouble::new(
            Kind::AgentNonsense,
            format!(
                "the guest that answers has none of the disks of domain {}: another VM has its CID now",
                domain.name
            ),
        )
        .hint("was the domain started anew just now? try again")),
    }
}

/// None of the disks that can be told by serial or size is among the guest's.
fn is_stranger(disks: &[HostDisk], survey: &GuestSurvey) -> bool {
    let mut telling =
        disks.iter().filter(|disk| disk.serial.is_some() || disk.virtual_bytes.is_some()).peekable();
    telling.peek().is_some()
        && !telling.any(|disk| {
            survey.devices.iter().any(|device| {
                let seen = &device.identity.serial;
                let serial = disk
                    .serial
                    .as_ref()
                    .is_some_and(|said| !seen.is_empty() && said.starts_with(seen.as_str()));
                serial || disk.virtual_bytes == Some(device.size_bytes)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::samples::{Sample, host_disk};

    #[test]
    fn strangers() {
        let mut survey = Sample::raw().survey;
        survey.devices[0].identity.serial = "DISK0".into();
        let disk = |serial: Option<&str>, virtual_bytes| HostDisk {
            serial: serial.map(str::to_owned),
            virtual_bytes,
            ..host_disk("d", "/a")
        };
        for (name, disks, expected) in [
            ("the serial", vec![disk(Some("DISK0"), Some(1))], false),
            ("the size", vec![disk(None, Some(40 << 30))], false),
            ("one of two", vec![disk(Some("X"), Some(1)), disk(None, Some(40 << 30))], false),
            ("neither", vec![disk(Some("X"), Some(1))], true),
            ("another size", vec![disk(None, Some(41 << 30))], true),
            ("nothing to tell by", vec![disk(None, None)], false),
            ("no disks", vec![], false),
        ] {
            assert_eq!(is_stranger(&disks, &survey), expected, "{name}");
        }
    }
}
