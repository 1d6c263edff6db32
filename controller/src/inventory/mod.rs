//! Who exists and how each is reached. Opens no disk and speaks to no guest.
//!
//! VMs come from libvirt ([`domains`]) and from a file ([`file`]); where both know a name, the file adds to the domain.

mod domains;
pub mod file;
pub mod select;

use std::path::PathBuf;

use crate::model::{token::TokenFile, trouble::Trouble, uri::Uri, vm::Vm};

/// The file that is read when no other is named and it exists.
pub const DEFAULT_FILE: &str = "/etc/trimtab/fleet.toml";

/// Where VMs may come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    /// The file that was named; `None`: the default one where it exists.
    pub file: Option<PathBuf>,
    /// libvirt.
    pub connect: Connect,
    /// The token of every agent for which the file names no other.
    pub token: Option<TokenFile>,
}

/// Which libvirt is asked for domains.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Connect {
    /// This one, and it must answer.
    To(Uri),
    /// The system's, if there is one and no file was named.
    #[default]
    IfThere,
    /// None.
    Never,
}

/// Every VM that is known here, each name once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    /// The file's in its order, then libvirt's by name.
    pub vms: Vec<Vm>,
}

impl Inventory {
    /// Reads the sources. Where one is away and another is not, a VM stands for all that are missing and says why.
    ///
    /// # Errors
    /// `config` where the file is wrong; libvirt's, where nothing else is known.
    pub async fn load(sources: &Sources) -> Result<Self, Trouble> {
        let mut vms = file(sources.file.as_ref()).await?;
        match domains::read(sources).await {
            Ok(domains) => domains::join(&mut vms, domains),
            Err((_, trouble)) if vms.is_empty() => return Err(trouble),
            Err((uri, trouble)) => {
                vms.push(Vm { not_read: Some(trouble), ..Vm::named(uri.to_string()) });
            }
        }
        for vm in &mut vms {
            vm.token = vm.token.take().or_else(|| sources.token.clone());
        }
        Ok(Self { vms })
    }
}

async fn file(named: Option<&PathBuf>) -> Result<Vec<Vm>, Trouble> {
    match named {
        Some(path) => file::load(path).await,
        None => match tokio::fs::try_exists(DEFAULT_FILE).await {
            Ok(false) => Ok(Vec::new()),
            Ok(true) | Err(_) => file::load(&PathBuf::from(DEFAULT_FILE)).await,
        },
    }
}
