//! The bottom room: libvirt. Asks its daemon about domains, over a read-only connection wherever that suffices; [`fix`] is
//! all in here that changes anything.
//!
//! Connect, ask, disconnect: each question is a connection of its own, on a thread of its own, with a deadline. A
//! daemon that hangs costs that deadline and one thread, which ends with the program.

pub mod agent;
#[cfg(not(feature = "libvirt"))]
#[path = "absent.rs"]
mod ffi;
#[cfg(feature = "libvirt")]
mod ffi;
pub mod fix;
mod look;
mod said;
mod trouble;
pub mod xml;

use std::time::Duration;

use self::{
    ffi::Connection,
    said::{Access, Refused, Which},
    xml::{Described, NotADomain},
};
use crate::{
    blocking,
    model::{
        disk::{DiskCounters, Link, Manager, VmmView},
        trouble::{Kind, Trouble},
        uri::Uri,
        vm::{Domain, DomainId},
    },
};

/// All domains of a host: a millisecond each.
const LIST_LIMIT: Duration = Duration::from_secs(10);

/// All questions about one domain.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// A few commands of QMP.
const MONITOR_LIMIT: Duration = Duration::from_secs(5);

/// libvirt, by one of its URIs on this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Libvirt {
    uri: Uri,
}

/// How one question went: the outer error is the connection's, the inner one the domain's.
type Asked<T> = Result<Result<T, Failed>, Trouble>;

/// Why a question about a domain has no answer.
enum Failed {
    Refused(Refused),
    Xml(NotADomain),
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<NotADomain> for Failed {
    fn from(error: NotADomain) -> Self {
        Self::Xml(error)
    }
}

impl Libvirt {
    /// Connects to nothing yet.
    pub fn new(uri: Uri) -> Self {
        Self { uri }
    }

    /// Whether there is a daemon to ask at the usual place: libvirtd's or virtqemud's socket for readers, which systemd
    /// keeps open for either. A trimtab without libvirt asks nobody unless it is told to.
    pub async fn is_there() -> bool {
        let sockets = ["/run/libvirt/libvirt-sock-ro", "/run/libvirt/virtqemud-sock-ro"];
        let look = move || sockets.iter().any(|socket| std::path::Path::new(socket).exists());
        ffi::BUILT_IN && blocking::within(LOOK_LIMIT, look).await.unwrap_or(false)
    }

    /// Every domain, running or not, by name. One that goes away meanwhile is left out.
    ///
    /// # Errors
    /// `no_libvirt` where it does not run or answer, `no_permission`.
    pub async fn domains(&self) -> Result<Vec<Domain>, Trouble> {
        let uri = self.uri.clone();
        let asked = self.ask(LIST_LIMIT, "list domains", Access::ReadOnly, move |connection| {
            let mut all = Vec::new();
            for domain in connection.domains()? {
                let id = DomainId { uri: uri.clone(), name: domain.name()?, uuid: domain.uuid()? };
                let Ok((state, reason)) = domain.state() else { continue };
                let described = domain.xml(Which::Current).ok().and_then(|text| xml::domain(&text).ok());
                let Described { link, disks, labels } = described.unwrap_or_default();
                all.push(Domain { id, state: said::state(state, reason), link, disks, labels });
            }
            all.sort_by(|one, other| one.id.name.cmp(&other.id.name));
            Ok(all)
        });
        asked.await?.map_err(|failed| self.trouble("(all)", failed))
    }

    /// What there is to say of one domain: its live XML, its state, what runs on it.
    ///
    /// # Errors
    /// Those of a connection; `vm_off` where the domain is gone; `libvirt_refused`.
    pub async fn look(&self, domain: &DomainId) -> Result<VmmView, Trouble> {
        let mut view = self.about(domain, LOOK_LIMIT, "look", Access::ReadOnly, look::view).await?;
        view.vm.manager = Manager::Libvirt { uri: self.uri.to_string(), domain: domain.name.clone() };
        Ok(view)
    }

    /// Its vsock device, as it is now; `None` where the domain is off.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn link(&self, domain: &DomainId) -> Result<Option<Link>, Trouble> {
        self.about(domain, LOOK_LIMIT, "read the vsock device", Access::ReadOnly, look::link).await
    }

    /// What each disk's device wrote; of discards libvirt keeps no count.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn written(&self, domain: &DomainId) -> Result<Vec<(String, DiskCounters)>, Trouble> {
        self.about(domain, LOOK_LIMIT, "read counters", Access::ReadOnly, look::written).await
    }

    /// Runs commands of QMP and gives an answer's line for each. Needs a read-write connection, and taints the domain
    /// until it is started anew: only for who has asked for it.
    ///
    /// # Errors
    /// As [`Self::look`], and `no_permission`.
    pub async fn monitor(&self, domain: &DomainId, commands: Vec<String>) -> Result<Vec<String>, Trouble> {
        let ask = move |domain: &ffi::Domain| {
            commands.iter().map(|command| Ok(domain.monitor(command)?)).collect::<Result<Vec<_>, Failed>>()
        };
        self.about(domain, MONITOR_LIMIT, "ask the monitor", Access::ReadWrite, ask).await
    }

    /// A question about one domain.
    async fn about<T: Send + 'static>(
        &self,
        domain: &DomainId,
        limit: Duration,
        what: &'static str,
        access: Access,
        question: impl FnOnce(&ffi::Domain) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, Trouble> {
        let uuid = domain.uuid.clone();
        let asked = self.ask(limit, what, access, move |connection| question(&connection.domain(&uuid)?));
        asked.await?.map_err(|failed| self.trouble(&domain.name, failed))
    }

    fn trouble(&self, domain: &str, failed: Failed) -> Trouble {
        match failed {
            Failed::Refused(refused) => trouble::failed(&self.uri, domain, &refused),
            Failed::Xml(error) => Trouble::new(
                Kind::LibvirtRefused,
                format!("libvirt ({}), domain {domain}: {error}", self.uri),
            ),
        }
    }

    /// Opens a connection on a thread of its own and asks there.
    async fn ask<T: Send + 'static>(
        &self,
        limit: Duration,
        what: &'static str,
        access: Access,
        question: impl FnOnce(&Connection) -> Result<T, Failed> + Send + 'static,
    ) -> Asked<T> {
        let uri = self.uri.clone();
        let asked = blocking::within(limit, move || {
            let connection = Connection::open(uri.as_str(), access)?;
            Ok(question(&connection))
        });
        match asked.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refused)) => Err(trouble::no_connection(&self.uri, access, &refused)),
            Err(error) => Err(trouble::not_done(&self.uri, what, &error)),
        }
    }
}

#[cfg(test)]
mod tests;
