//! The controller's inventory file for guests of the rig.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Guest;

/// Writes an inventory with `guests`. Their disks are left to QMP, as on a real host.
pub(super) fn write(path: &Path, guests: &[&Guest]) -> Result<()> {
    let mut text = String::new();
    for guest in guests {
        text.push_str(&format!(
            "[[vm]]\nname = {:?}\nagent = {:?}\nqmp = {:?}\n\n",
            guest.name(),
            guest.agent_endpoint(),
            guest.qmp_socket().display().to_string()
        ));
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
