//! agent.toml under systemd: a mistake is shown where an administrator looks, and what comes from where.

use anyhow::{Result, ensure};
use trimtab_tests::trimtab::Trimtab;

use crate::debian::{self, journal, show};

#[test]
fn a_mistake_is_in_status_with_file_line_and_key_and_the_host_is_told() -> Result<()> {
    let guest = debian::lease()?;
    guest.sh("printf '\\n[trim]\\npace = \"warp\"\\n' >/etc/trimtab/agent.toml")?;

    let ended = Trimtab::of(&guest)?.trim(&[guest.name()])?;

    ensure!(ended.exit == 32, "exit {}: {}{}", ended.exit, ended.stdout, ended.stderr);
    let error = ended.document()?.only_vm()?["error"].clone();
    // systemd took the call, and nobody answered it: the host is told where the guest says why.
    ensure!(error["hint"].to_string().contains("journalctl -u trimtab-agent"), "{error:#}");
    // What status shows the end of: status itself may find systemd at the next try, since the call still waits.
    // The host may hear of it before the journal does.
    guest.sh(
        "timeout 60 sh -c 'until journalctl -u trimtab-agent.service | grep -q status=2; do sleep 1; done'",
    )?;
    let said = journal(&guest, "trimtab-agent.service")?;
    for word in
        ["/etc/trimtab/agent.toml:3", "pace", "warp", "gentle", "steady", "full", "status=2/INVALIDARGUMENT"]
    {
        ensure!(said.contains(word), "no {word} in {said}");
    }

    // Mended, it works without another word to systemd.
    guest.sh("cp /root/agent.toml /etc/trimtab/agent.toml")?;
    ensure!(show(&guest, "trimtab-agent.socket", "ActiveState")? == "active", "the socket gave up");
    let ended = Trimtab::of(&guest)?.run(&["survey", guest.name()])?;
    ensure!(ended.exit == 0, "{}{}", ended.stdout, ended.stderr);
    Ok(())
}

#[test]
fn what_is_in_force_and_from_which_file_follows_systemds_order() -> Result<()> {
    let guest = debian::lease()?;
    guest.sh(
        "for place in /usr/lib /run /etc; do mkdir -p $place/trimtab/agent.toml.d; done
         printf '[trim]\\npace = \"gentle\"\\nmin_interval_secs = 7\\n' >/usr/lib/trimtab/agent.toml.d/10-vendor.conf
         cd /usr/lib/trimtab/agent.toml.d && mv 10-vendor.conf 10-vendor.toml
         printf '[trim]\\nhost_may_probe = false\\n' >/usr/lib/trimtab/agent.toml.d/20-masked.toml
         printf '[trim]\\nmin_interval_secs = 9\\n' >/run/trimtab/agent.toml.d/50-boot.toml
         ln -s /dev/null /etc/trimtab/agent.toml.d/20-masked.toml",
    )?;

    let said = guest.sh("trimtab-agent config")?;

    let line = |key: &str| said.lines().find(|line| line.contains(key)).unwrap_or_default().to_owned();
    ensure!(line("pace").contains("gentle") && line("pace").contains("10-vendor.toml"), "{said}");
    ensure!(
        line("min_interval_secs").contains('9') && line("min_interval_secs").contains("50-boot.toml"),
        "{said}"
    );
    ensure!(line("host_may_probe").contains("true"), "{said}");
    // The service reads the same.
    let ended = Trimtab::of(&guest)?.run(&["survey", guest.name()])?;
    ensure!(ended.exit == 0, "{}{}{}", ended.stdout, ended.stderr, journal(&guest, "trimtab-agent.service")?);
    Ok(())
}
