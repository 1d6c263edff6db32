//! What hosts publish, for whoever plans from elsewhere. Only the store of a fleet keeps it: a host that is alone asks
//! its hypervisor.

use std::future::Future;

use jiff::Timestamp;

use super::Claimant;
use crate::{
    campaign::seen::{SeenHost, SeenVm},
    model::trouble::Trouble,
};

/// What is different on a host since it published last.
#[derive(Clone, PartialEq, Debug)]
pub struct News {
    /// The revision that it is different from; `None`: this is all that there is.
    pub since: Option<i64>,
    /// What the host says of itself; `None`: as before.
    pub about: Option<SeenHost>,
    /// VMs that are new or different, each name once.
    pub changed: Vec<Sighting>,
    /// Names of VMs that it does not know any more.
    pub gone: Vec<String>,
}

/// A VM that a host has, or has off.
#[derive(Clone, PartialEq, Debug)]
pub struct Sighting {
    /// Unique on its host.
    pub name: String,
    /// libvirt's, where it is a domain.
    pub uuid: Option<String>,
    /// It runs, or is paused.
    pub is_on: bool,
    /// How it was seen; `None`: it was not looked at anew, and what is kept of it stays.
    pub seen: Option<SeenVm>,
}

impl From<SeenVm> for Sighting {
    fn from(seen: SeenVm) -> Self {
        Self { name: seen.name.clone(), uuid: seen.uuid.clone(), is_on: seen.is_on, seen: Some(seen) }
    }
}

/// A host, as it published itself.
#[derive(Clone, PartialEq, Debug)]
pub struct PublishedHost {
    /// Its machine id.
    pub host: String,
    /// What it says of itself.
    pub about: SeenHost,
    /// When it said last that all of this is so, by the store's clock.
    pub at: Timestamp,
    /// It was not heard for longer than a lease.
    pub is_silent: bool,
    /// Its VMs, by name.
    pub vms: Vec<PublishedVm>,
}

/// One VM of it.
#[derive(Clone, PartialEq, Debug)]
pub struct PublishedVm {
    /// As the host saw it.
    pub seen: SeenVm,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// Since when the host tells of it as it is now, on or off, by the store's clock.
    pub since: Timestamp,
    /// Whose it is.
    pub has: Has,
}

/// Whether a host has a VM that it publishes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Has {
    /// It does.
    Yes,
    /// It is off there.
    Off,
    /// It runs there, and another host, of this machine id, has not released it; `None`: nobody has it, and this one
    /// gets it when it publishes again.
    Claims(Option<String>),
}

/// Where a fleet's hosts publish what they have.
pub trait Fleet: Send + Sync {
    /// Keeps what is different; gives the revision that it is then. `None`: what the store has is not what `since` says,
    /// and nothing was kept: all is to be published anew.
    fn publish(
        &self,
        by: &Claimant,
        news: &News,
    ) -> impl Future<Output = Result<Option<i64>, Trouble>> + Send;

    /// All hosts, with all that they published, by their machine ids.
    fn published(&self) -> impl Future<Output = Result<Vec<PublishedHost>, Trouble>> + Send;
}
