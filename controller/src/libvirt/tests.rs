//! Against libvirt's own test driver, which lives in the library and needs no daemon; the real one is in tests/libvirt.

use super::*;
#[cfg(feature = "libvirt")]
use crate::model::disk::{DriveDiscard, HostDisk, VmState};
use crate::model::trouble::Kind;

fn at(uri: &str) -> Libvirt {
    Libvirt::new(uri.parse().unwrap())
}

#[cfg(feature = "libvirt")]
#[tokio::test]
async fn a_list() {
    let domains = at("test:///default").domains().await.unwrap();
    let [listed] = domains.as_slice() else { panic!("{domains:?}") };
    assert_eq!((listed.id.name.as_str(), &listed.state), ("test", &Some(VmState::Running)));
    let view = at("test:///default").look(&listed.id).await.unwrap();
    assert_eq!((&view.vm.state, view.vm.link), (&Some(VmState::Running), Link::Missing));
    let [disk] = view.disks.as_slice() else { panic!("{view:?}") };
    assert_eq!((disk.target.as_deref(), disk.discard), (Some("vda"), DriveDiscard::Ignore));
    assert_eq!(listed.disks, [HostDisk { virtual_bytes: None, ..disk.clone() }]);
    let gone = DomainId { uuid: "00000000-0000-0000-0000-000000000001".into(), ..listed.id.clone() };
    let trouble = at("test:///default").look(&gone).await.unwrap_err();
    assert_eq!(trouble.kind, Kind::VmOff, "{trouble}");
}

/// At a socket of its own: libvirt asks the system's daemon for a driver that it lacks, and there may be one.
#[cfg(feature = "libvirt")]
#[tokio::test]
async fn no_daemon() {
    let uri = "qemu+unix:///system?socket=/nonexistent/libvirt-sock";
    let trouble = at(uri).domains().await.unwrap_err();
    assert_eq!(trouble.kind, Kind::NoLibvirt, "{trouble}");
    assert!(trouble.hint.as_ref().unwrap().contains("start libvirtd"), "{trouble:?}");
}

#[cfg(not(feature = "libvirt"))]
#[tokio::test]
async fn built_without() {
    let trouble = at("qemu:///system").domains().await.unwrap_err();
    assert_eq!(trouble.kind, Kind::NoLibvirt);
    assert!(trouble.text.contains("built without libvirt"), "{trouble}");
    assert!(!Libvirt::is_there().await, "unasked, it is not missed");
}
