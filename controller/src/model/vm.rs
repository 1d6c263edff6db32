//! A VM as the inventory knows it, before anything of it is touched.

use std::path::PathBuf;

use super::{
    disk::{HostDisk, Link, VmState},
    endpoint::Endpoint,
    image::Image,
    token::TokenFile,
    trouble::Trouble,
    uri::Uri,
};

/// One VM of this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vm {
    /// Unique on this host.
    pub name: String,
    /// The file's word of what it is known by wherever it runs; see [`Self::uuid`].
    pub named_uuid: Option<String>,
    /// How its agent is reached; `None` where the file names no way: a domain's vsock device is asked for then.
    pub agent: Option<Endpoint>,
    /// Who trims in its guest; `None`: our agent, unless the caller says otherwise.
    pub via: Option<Via>,
    /// libvirt's word about it, where it is a domain.
    pub domain: Option<Domain>,
    /// The token that its agent wants; `None`: none, as far as this host knows.
    pub token: Option<TokenFile>,
    /// QEMU's monitor socket.
    pub qmp: Option<PathBuf>,
    /// What `--select label=…` looks at: the file's, the domain's, and trimtab.toml's.
    pub labels: Vec<String>,
    /// What the inventory says of its disks.
    pub disks: Vec<DeclaredDisk>,
    /// It stands for all VMs of a source that could not be read, and for this reason.
    pub not_read: Option<Trouble>,
}

impl Vm {
    /// A VM of which only its name is known.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            named_uuid: None,
            agent: None,
            via: None,
            domain: None,
            token: None,
            qmp: None,
            labels: Vec::new(),
            disks: Vec::new(),
            not_read: None,
        }
    }

    /// What it is known by, whatever it is called and wherever it runs: libvirt's where it is a domain, else the file's.
    pub fn uuid(&self) -> Option<&str> {
        let domain = self.domain.as_ref().map(|domain| domain.id.uuid.as_str());
        domain.or(self.named_uuid.as_deref())
    }
}

/// Who trims in a guest.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, Default, serde::Serialize, serde::Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// trimtab-agent, over vsock.
    #[default]
    Agent,
    /// qemu-ga, through libvirt.
    Qga,
}

impl Via {
    /// The word of JSON, the inventory and `--via`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Qga => "qga",
        }
    }
}

/// A `[[vm.disk]]` of the inventory: all there is without QMP, or beside it what QMP cannot tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeclaredDisk {
    /// The image and its format; the format is never probed.
    pub image: Image,
    /// The serial that the guest sees.
    pub serial: Option<String>,
    /// The guest's name for it: "vda".
    pub guest: Option<String>,
}

/// A domain of libvirt, by what it is found again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DomainId {
    /// Of the connection.
    pub uri: Uri,
    /// As its owner calls it; any text without a slash.
    pub name: String,
    /// It stays, whatever the domain is called then.
    pub uuid: String,
}

/// A domain as libvirt listed it; what a trim goes by is asked anew.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain {
    /// Which.
    pub id: DomainId,
    /// `None` where libvirt has no word for it.
    pub state: Option<VmState>,
    /// Its vsock device.
    pub link: Link,
    /// Its disks; none where its XML could not be understood.
    pub disks: Vec<HostDisk>,
    /// Those of its metadata.
    pub labels: Vec<String>,
}
