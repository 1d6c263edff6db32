//! libvirt's domains as VMs, and what the file adds to them.

use super::{Connect, Sources};
use crate::{
    guest::text::safe,
    libvirt::Libvirt,
    model::{
        trouble::Trouble,
        uri::Uri,
        vm::{Domain, Vm},
    },
};

/// The domains of the libvirt that is to be asked; none where none is.
pub(super) async fn read(sources: &Sources) -> Result<Vec<Domain>, (Uri, Trouble)> {
    let uri = match &sources.connect {
        Connect::Never => return Ok(Vec::new()),
        Connect::To(uri) => uri.clone(),
        // A host without libvirt is as good as any; one whose libvirt hangs is told of.
        Connect::IfThere if sources.file.is_some() || !Libvirt::is_there().await => return Ok(Vec::new()),
        Connect::IfThere => Uri::default(),
    };
    Libvirt::new(uri.clone()).domains().await.map_err(|trouble| (uri, trouble))
}

/// Adds domains to the file's VMs. One that the file names is the same VM: the file's word about its agent, monitor,
/// labels and disks stands beside libvirt's.
pub(super) fn join(vms: &mut Vec<Vm>, domains: Vec<Domain>) {
    for domain in domains {
        if let Some(vm) = vms.iter_mut().find(|vm| vm.name == domain.id.name && vm.domain.is_none()) {
            for label in &domain.labels {
                if !vm.labels.contains(label) {
                    vm.labels.push(label.clone());
                }
            }
            vm.domain = Some(domain);
            continue;
        }
        // Names are shown and typed everywhere; libvirt takes nearly any text for one.
        let shown = safe(&domain.id.name);
        let name = match vms.iter().any(|vm| vm.name == shown) {
            true => domain.id.uuid.clone(),
            false => shown,
        };
        vms.push(Vm { labels: domain.labels.clone(), domain: Some(domain), ..Vm::named(name) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        disk::{Link, VmState},
        vm::DomainId,
    };

    fn domain(name: &str) -> Domain {
        let id = DomainId { uri: Uri::default(), name: name.into(), uuid: format!("uuid of {name}") };
        Domain {
            id,
            state: Some(VmState::Off),
            link: Link::Missing,
            disks: Vec::new(),
            labels: vec!["prod".into(), "x".into()],
        }
    }

    #[test]
    fn the_file_adds_to_a_domain() {
        let mut vms = vec![
            Vm { labels: vec!["prod".into()], ..Vm::named("web") },
            Vm { qmp: Some("/run/q".into()), ..Vm::named("plain") },
        ];
        join(&mut vms, ["db", "web", "x\u{1b}[2J"].map(domain).into());
        let said: Vec<_> =
            vms.iter().map(|vm| (vm.name.as_str(), vm.domain.is_some(), vm.labels.len())).collect();
        assert_eq!(
            said,
            [("web", true, 2), ("plain", false, 0), ("db", true, 2), ("x\\x1b[2J", true, 2)],
            "a name that a terminal would obey is escaped"
        );
    }

    #[test]
    fn each_name_once() {
        let mut vms = Vec::new();
        join(&mut vms, [domain("a\u{7}"), domain(&safe("a\u{7}"))].into());
        assert_eq!(vms[1].name, vms[1].domain.as_ref().unwrap().id.uuid);
        assert_ne!(vms[0].name, vms[1].name);
    }
}
