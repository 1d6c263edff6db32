//! What the package does when it is installed, before any reboot.

use anyhow::{Result, ensure};

use crate::debian;

#[test]
fn the_socket_listens_at_once_and_nothing_runs() -> Result<()> {
    let said = &debian::installed()?.said;
    let last: Vec<&str> = said.lines().rev().take(4).collect();
    // From the last one: the timer and the socket enabled, the service and the socket active.
    ensure!(last == ["disabled", "enabled", "inactive", "active"], "{said}");
    Ok(())
}
