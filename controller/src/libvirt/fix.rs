//! What can be mended from the host without harm: `discard='unmap'` on one disk, and a vsock device. Always in the
//! persistent configuration alone, one element at a time and never by defining the domain anew, which would drop what the
//! XML did not show (a VNC password). Holds from the next start of QEMU on.
//!
//! ```text
//! plan ──> Planned::Change ──(somebody agrees)──> apply: the element is as it was shown? ──> change ──> read again
//!      └─> Planned::AlreadyThere: only a power cycle is missing
//! ```

use std::{
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Failed, Libvirt,
    ffi::Domain,
    said::{Access, Which},
    xml::edit,
};
use crate::model::{
    trouble::{Kind, Trouble},
    vm::DomainId,
};

/// Reading, changing, reading again.
const LIMIT: Duration = Duration::from_secs(20);

/// What QEMU opens for a `<vsock>`; a domain that has one does not start where this is missing.
pub const VHOST_VSOCK: &str = "/dev/vhost-vsock";

/// libvirt gives it a CID at each start.
const VSOCK: &str = "<vsock model='virtio'>\n  <cid auto='yes'/>\n</vsock>";

/// One thing to mend.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Mend {
    /// `discard='unmap'` on the disk with this target ("vda").
    Discard {
        /// libvirt's name for the disk.
        target: String,
    },
    /// A vsock device with a CID of libvirt's choice.
    Vsock {
        /// [`VHOST_VSOCK`], where QEMU will look for it.
        device: PathBuf,
    },
}

/// What mending would do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Planned {
    /// This, from the next start of QEMU on.
    Change(Change),
    /// Nothing: the configuration says so already, and the next start of QEMU takes it.
    AlreadyThere,
}

/// A change of one element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What for.
    pub mend: Mend,
    /// The element as it is; `None` where there is none yet.
    pub before: Option<String>,
    /// The element as it will be.
    pub after: String,
}

/// Why a domain is not mended, beside what libvirt refuses.
enum NotMended {
    /// libvirt's own reason.
    Failed(Failed),
    /// It has no configuration that would outlive it.
    Transient,
    /// Its configuration has no such disk.
    NoDisk,
    /// Somebody changed the element since it was shown.
    Changed,
    /// libvirt took the change, and it is not there.
    NotKept,
}

impl<T: Into<Failed>> From<T> for NotMended {
    fn from(failed: T) -> Self {
        Self::Failed(failed.into())
    }
}

impl Libvirt {
    /// What mending would change; changes nothing, and needs no more than a read-only connection.
    ///
    /// # Errors
    /// As [`Libvirt::look`]; `libvirt_refused` where the domain cannot be mended so.
    pub async fn plan(&self, domain: &DomainId, mend: &Mend) -> Result<Planned, Trouble> {
        if let Mend::Vsock { device } = mend {
            ready(device)?;
        }
        let asked = mend.clone();
        let question = move |domain: &Domain| Ok(planned(domain, &asked));
        let answer = self.about(domain, LIMIT, "plan a change", Access::ReadOnly, question).await?;
        answer.map_err(|why| self.not_mended(domain, mend, why))
    }

    /// Makes the change if the element is still the one that was shown, and sees that it is there.
    ///
    /// # Errors
    /// As [`Self::plan`], and `no_permission`.
    pub async fn apply(&self, domain: &DomainId, change: &Change) -> Result<(), Trouble> {
        let asked = change.clone();
        let question = move |domain: &Domain| Ok(applied(domain, &asked));
        let answer =
            self.about(domain, LIMIT, "change the configuration", Access::ReadWrite, question).await?;
        answer.map_err(|why| self.not_mended(domain, &change.mend, why))
    }

    fn not_mended(&self, domain: &DomainId, mend: &Mend, why: NotMended) -> Trouble {
        let name = &domain.name;
        let trouble = |text: String| Trouble::new(Kind::LibvirtRefused, format!("domain {name}: {text}"));
        match why {
            NotMended::Failed(failed) => self.trouble(name, failed),
            NotMended::Transient => {
                trouble("it is transient: there is no configuration that a next start would take".into())
                    .hint("change it where whoever starts it keeps its XML")
            }
            NotMended::NoDisk => match mend {
                Mend::Discard { target } => trouble(format!("its configuration has no disk {target}")).hint(
                    "was it attached to the running domain alone? attach it again with discard='unmap'",
                ),
                Mend::Vsock { .. } => trouble("its configuration has no devices".into()),
            },
            NotMended::Changed => trouble("its configuration was changed meanwhile; nothing was done".into())
                .hint("look at the change again, then agree to it"),
            NotMended::NotKept => trouble("libvirt took the change, and did not keep it".into())
                .hint("this libvirt may be too old for it; `virsh edit` shows what it keeps"),
        }
    }
}

/// Whether QEMU will find what a vsock device needs of this host.
fn ready(device: &Path) -> Result<(), Trouble> {
    if fs::metadata(device).is_ok_and(|found| found.file_type().is_char_device()) {
        return Ok(());
    }
    let text =
        format!("{} is missing: with a vsock device the domain would not start any more", device.display());
    Err(Trouble::new(Kind::LibvirtRefused, text).hint(
        "as root: modprobe vhost_vsock && echo vhost_vsock > /etc/modules-load.d/vhost_vsock.conf; then try again",
    ))
}

fn planned(domain: &Domain, mend: &Mend) -> Result<Planned, NotMended> {
    if !domain.is_persistent()? {
        return Err(NotMended::Transient);
    }
    let text = domain.xml(Which::Inactive)?;
    let change = |before, after| Planned::Change(Change { mend: mend.clone(), before, after });
    match mend {
        Mend::Discard { target } => {
            let disk = edit::unmapped(&text, target)?.ok_or(NotMended::NoDisk)?;
            Ok(if disk.before == disk.after {
                Planned::AlreadyThere
            } else {
                change(Some(disk.before), disk.after)
            })
        }
        Mend::Vsock { .. } => {
            Ok(if edit::has_vsock(&text)? { Planned::AlreadyThere } else { change(None, VSOCK.to_owned()) })
        }
    }
}

fn applied(domain: &Domain, change: &Change) -> Result<(), NotMended> {
    match planned(domain, &change.mend)? {
        Planned::Change(now) if now == *change => {}
        Planned::Change(_) | Planned::AlreadyThere => return Err(NotMended::Changed),
    }
    match &change.mend {
        Mend::Discard { target } => {
            // What is handed back must hold all that libvirt holds of this disk, secrets too.
            let text = domain.xml(Which::InactiveWithSecrets)?;
            let disk = edit::unmapped(&text, target)?.ok_or(NotMended::NoDisk)?;
            domain.update_device(&disk.after)?;
        }
        Mend::Vsock { .. } => domain.attach_device(&change.after)?,
    }
    match planned(domain, &change.mend)? {
        Planned::AlreadyThere => Ok(()),
        Planned::Change(_) => Err(NotMended::NotKept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_vsock_gets_no_vsock_device() {
        assert_eq!(ready(Path::new("/dev/null")), Ok(()));
        for missing in ["/nonexistent/vhost-vsock", "/etc/passwd"] {
            let trouble = ready(Path::new(missing)).unwrap_err();
            assert!(trouble.text.contains("would not start any more"), "{trouble}");
            assert!(trouble.hint.unwrap().contains("modprobe vhost_vsock"));
        }
    }
}
