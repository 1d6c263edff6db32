//! A guest without a vsock device, as most machines are: nothing of ours runs, nothing has failed, and whoever asks is
//! told why.

use anyhow::{Result, ensure};
use trimtab_tests::guest::Guest;

use crate::debian;

#[test]
fn the_socket_is_passed_over_without_a_word() -> Result<()> {
    let guest = Guest::boot(debian::spec("no-vsock")?.without_vsock())?;

    ensure!(guest.sh("systemctl --failed --no-legend")?.is_empty());
    ensure!(guest.sh("systemctl is-system-running")?.trim() == "running");
    ensure!(debian::show(&guest, "trimtab-agent.socket", "ActiveState")? == "inactive");
    ensure!(debian::show(&guest, "trimtab-agent.socket", "ConditionResult")? == "no");
    ensure!(debian::processes(&guest)? == 0);
    let warnings = guest.sh("journalctl -b -q -o cat -p warning | grep -i trimtab || true")?;
    ensure!(warnings.is_empty(), "{warnings}");

    guest.sh("systemctl start trimtab-agent.socket")?;
    ensure!(debian::show(&guest, "trimtab-agent.socket", "ActiveState")? == "inactive");

    // By hand it says what is missing; a device may be plugged in later, so it listens all the same. It also loads the
    // protocol, whose node starts the socket, which takes the port: not before this has it.
    guest.sh("systemctl mask -q --runtime trimtab-agent.socket")?;
    let said = guest.sh("timeout 5 trimtab-agent serve 2>&1 || true")?;
    ensure!(said.contains("no vsock device"), "{said}");

    // What needs no host works.
    let trimmed = guest.sh("trimtab-agent trim /home")?;
    ensure!(trimmed.contains("/home"), "{trimmed}");
    Ok(())
}
