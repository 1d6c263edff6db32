//! Where an agent listens.

use std::path::PathBuf;

/// A vsock context id: one VM on this host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cid(pub u32);

/// A vsock port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Port(pub u32);

/// How a guest's agent is reached.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// `unix:PATH[:PORT]`: hybrid vsock, as Firecracker, Cloud Hypervisor and vhost-device-vsock offer it.
    Hybrid {
        /// The unix socket of the VM.
        path: PathBuf,
        /// The guest's port behind it.
        port: Port,
    },
    /// `vsock:CID[:PORT]`: the kernel's AF_VSOCK.
    Vsock {
        /// The VM.
        cid: Cid,
        /// Its port.
        port: Port,
    },
}
