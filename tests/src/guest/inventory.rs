//! The controller's inventory file for a guest of the rig.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::spec::Place;

/// Writes an inventory with one guest. Its disks are left to QMP, as on a real host.
pub(super) fn write(path: &Path, name: &str, place: &Place) -> Result<()> {
    let agent = format!("unix:{}", place.vsock().display());
    let qmp = place.qmp().display().to_string();
    let text = format!("[[vm]]\nname = {name:?}\nagent = {agent:?}\nqmp = {qmp:?}\n");
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
