//! The shared token as a credential of systemd's: from the host by SMBIOS, or from the guest's own credential store; and
//! what is said to whoever has none or another.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use trimtab_tests::guest::Guest;
use trimtab_tests::trimtab::{Ended, Trimtab};

use crate::debian::{self, journal};

const TOKEN: &str = "a-secret-of-this-test-0123456789";
const WANTS_IT: &str = "token = \"credential\"\n";

/// `trimtab survey` with this token on the host; `None`: without any.
fn survey(guest: &Guest, token: Option<&str>) -> Result<Ended> {
    let inventory = guest.write_inventory()?;
    if let Some(token) = token {
        let file = guest.directory().join("token");
        std::fs::write(&file, format!("{token}\n"))?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        let text = std::fs::read_to_string(&inventory)?;
        std::fs::write(&inventory, format!("{text}token = \"file:{}\"\n", file.display()))?;
    }
    Trimtab::with(&inventory)?.run(&["survey", "--json", guest.name()])
}

/// Only the right token gets an answer; the others are told what to do, and nobody the secret.
fn only_with_the_token(guest: &Guest) -> Result<()> {
    for (case, token) in [("none", None), ("another", Some("not-the-secret-of-this-test"))] {
        let refused = survey(guest, token)?;
        let error = refused.document()?.only_vm()?["error"].clone();
        ensure!(refused.exit == 32, "{case}: exit {}: {error:#}", refused.exit);
        let (text, hint) = (error["text"].to_string(), error["hint"].to_string());
        ensure!(text.contains("token") && hint.contains("token"), "{case}: {error:#}");
        ensure!(
            !refused.stdout.contains(TOKEN) && !refused.stderr.contains(TOKEN),
            "{case}: the secret is out"
        );
    }
    let let_in = survey(guest, Some(TOKEN))?;
    ensure!(let_in.exit == 0, "{}{}", let_in.stdout, let_in.stderr);
    let journal = journal(guest, "trimtab-agent.service")?;
    ensure!(!journal.contains(TOKEN), "the secret is in the journal");
    Ok(())
}

#[test]
fn one_that_the_host_gives_by_smbios() -> Result<()> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let drop_in = directory.path().join("token.toml");
    std::fs::write(&drop_in, WANTS_IT)?;
    let spec = debian::spec("smbios")?
        .credential("trimtab.token", TOKEN)
        .file(&drop_in, "/etc/trimtab/agent.toml.d/token.toml");
    let guest = Guest::boot(spec)?;
    only_with_the_token(&guest)
}

#[test]
fn one_from_the_guests_own_store_and_none_at_all() -> Result<()> {
    let guest = debian::lease()?;
    guest.sh(&format!(
        "mkdir -p /etc/trimtab/agent.toml.d /etc/credstore && chmod 700 /etc/credstore
         printf '{}' >/etc/trimtab/agent.toml.d/token.toml",
        WANTS_IT.trim()
    ))?;
    // Nobody has put one there: the agent must not answer without, and says why.
    let refused = survey(&guest, Some(TOKEN))?;
    ensure!(refused.exit == 32, "{}{}", refused.stdout, refused.stderr);
    let status = guest.sh("systemctl status trimtab-agent.service || true")?;
    ensure!(status.contains("trimtab.token"), "{status}");

    guest.sh(&format!("(umask 077; printf '{TOKEN}\\n' >/etc/credstore/trimtab.token)"))?;
    let outcome = only_with_the_token(&guest);
    guest.sh("rm /etc/credstore/trimtab.token")?;
    outcome
}
