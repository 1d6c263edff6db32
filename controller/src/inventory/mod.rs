//! Who exists and how each is reached. Opens no disk and speaks to no guest.
//!
//! VMs come from a file today ([`file`]); another source gives the same [`Vm`]s and joins here.

pub mod file;
pub mod select;

use std::path::PathBuf;

use crate::model::{trouble::Trouble, vm::Vm};

/// The file that is read when no other is named and it exists.
pub const DEFAULT_FILE: &str = "/etc/trimtab/fleet.toml";

/// Every VM that is known here, each name once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    /// In the order of their source.
    pub vms: Vec<Vm>,
}

impl Inventory {
    /// Reads the file that was named, or else the default one where it exists. Without either nothing is known.
    pub async fn load(named: Option<PathBuf>) -> Result<Self, Trouble> {
        let path = match named {
            Some(path) => path,
            None => match tokio::fs::try_exists(DEFAULT_FILE).await {
                Ok(false) => return Ok(Self::default()),
                Ok(true) | Err(_) => PathBuf::from(DEFAULT_FILE),
            },
        };
        Ok(Self { vms: file::load(&path).await? })
    }
}
