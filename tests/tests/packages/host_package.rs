//! The host's deb from its first installation to its purge: nothing runs that nobody has started, what runs is not
//! disturbed by an upgrade, and nothing is left.

use anyhow::{Result, ensure};

use crate::debian::{journal, show};
use crate::host::{self, DEB, WORKER, owners};

#[test]
fn installed_upgraded_removed_and_purged() -> Result<()> {
    let guest = host::bare("purged")?;
    guest.sh(&format!("dpkg -i {DEB} 2>&1"))?;
    ensure!(guest.sh(&format!("systemctl is-enabled {WORKER} || true"))?.trim() == "disabled");
    ensure!(show(&guest, WORKER, "ActiveState")? == "inactive");
    let user = guest.sh("id -Gn trimtab")?;
    ensure!(user.split_whitespace().eq(["trimtab", "libvirt"]), "{user}");

    guest.sh(&format!("systemctl enable -q --now {WORKER}"))?;
    ensure!(show(&guest, WORKER, "ActiveState")? == "active", "{}", journal(&guest, WORKER)?);
    let files = owners(&guest)?;
    ensure!(files.starts_with(". trimtab:trimtab 750\ntrimtab.db trimtab:trimtab 640\n"), "{files}");
    ensure!(files.lines().skip(1).all(|line| line.ends_with(" trimtab:trimtab 640")), "{files}");

    let pid = show(&guest, WORKER, "MainPID")?;
    let said = guest.sh(&format!("echo '# mine' >>/etc/trimtab/trimtab.toml; dpkg -i {DEB} 2>&1"))?;
    ensure!(said.contains("goes on as it is") && show(&guest, WORKER, "MainPID")? == pid, "{said}");
    ensure!(guest.sh("tail -n 1 /etc/trimtab/trimtab.toml")?.trim() == "# mine");

    let said = guest.sh("dpkg -r trimtab 2>&1")?;
    ensure!(guest.sh(&format!("ls -d /proc/{pid} 2>/dev/null || true"))?.is_empty(), "it still runs: {said}");
    ensure!(guest.sh("ls /var/lib/trimtab")?.contains("trimtab.db"), "a removal keeps the accounts");
    // The agent's package stays, and what it has in /etc/trimtab.
    guest.sh("dpkg -P trimtab 2>&1")?;
    let left = guest.sh(
        "ls -d /etc/trimtab/trimtab.toml* /var/lib/trimtab /run/trimtab-worker /usr/share/trimtab \
             /etc/systemd/system/*/*worker* /var/lib/systemd/deb-systemd-helper-enabled/*worker* 2>/dev/null || true",
    )?;
    ensure!(left.is_empty(), "a purge leaves {left}");
    ensure!(guest.sh("systemctl --failed --no-legend")?.is_empty());
    ensure!(show(&guest, "trimtab-agent.socket", "ActiveState")? == "active");
    Ok(())
}
