//! A guest whose owner does not obey every process of the host, called over a real vsock: with no token, another one, and
//! its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Result, ensure};
use trimtab_tests::MIB;
use trimtab_tests::guest::{DiskSpec, Guest, GuestSpec};
use trimtab_tests::trimtab::{Document, Trimtab};
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk};

use crate::common::checked;

const TOKEN: &str = "correct-horse-battery-staple";

/// Trims with an inventory that names this file, if any, as the guest's token: exit code and document.
fn trim(guest: &Guest, token: Option<(&Path, &str)>) -> Result<(i32, Document)> {
    let inventory = guest.write_inventory()?;
    if let Some((file, text)) = token {
        fs::write(file, text)?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        let line = format!("[[vm]]\ntoken = \"file:{}\"\n", file.display());
        fs::write(&inventory, fs::read_to_string(&inventory)?.replacen("[[vm]]\n", &line, 1))?;
    }
    let ended = Trimtab::with(&inventory)?.trim(&[guest.name()])?;
    Ok((ended.exit, checked(&ended)?))
}

#[test]
fn a_guest_that_wants_a_token_obeys_whoever_brings_it() -> Result<()> {
    // Of its own: its agent's configuration is no other test's.
    let guest = Guest::boot(GuestSpec::new("token"))?;
    let walk = Walk::add(&guest, Kind::Ext4, DiskSpec::new("disk", 1 << 30))?;
    walk.write_and_delete(DELETED_MIB)?;
    guest.sh("mkdir -p /etc/trimtab; echo 'token = \"credential\"' >/etc/trimtab/agent.toml")?;
    let refused = guest.sh("trimtab-agent serve 2>&1 || echo exit $?")?;
    ensure!(refused.contains("agent.toml:1: token: there is no credential trimtab.token"), "{refused}");
    ensure!(refused.ends_with("exit 2\n"), "{refused}");

    // Where systemd puts what the host gives a VM.
    let folder = "/run/credentials/@system";
    guest.sh(&format!("umask 077; mkdir -p {folder}; echo {TOKEN} >{folder}/trimtab.token"))?;
    guest.start_agent("")?;
    let (full, sent) = (walk.disk.allocated_bytes()?, guest.discarded_bytes(&walk.disk)?);
    let file = guest.directory().join("token");
    for (token, said) in [
        (None, "wants a token with every call"),
        (Some((file.as_path(), "correct-horse-battery-stable\n")), "another token than the guest"),
    ] {
        let (exit, document) = trim(&guest, token)?;
        let error = &document.only_vm()?["error"];
        ensure!(exit == 32 && error["kind"] == "no_permission", "exit {exit}: {document}");
        ensure!(error["text"].as_str().is_some_and(|text| text.contains(said)), "{document}");
        ensure!(error["hint"].as_str().is_some_and(|hint| hint.contains("trimtab.toml")), "{document}");
        ensure!(!document.to_string().contains("horse"), "a secret is shown: {document}");
    }
    ensure!(guest.discarded_bytes(&walk.disk)? == sent, "it was trimmed for somebody without the token");

    let (exit, document) = trim(&guest, Some((&file, TOKEN)))?;
    ensure!(exit == 0, "exit {exit}: {document}");
    let freed = full.saturating_sub(walk.disk.allocated_bytes()?);
    ensure!(freed >= DELETED_MIB / 2 * MIB, "only {freed} bytes left the image: {document}");
    let log = guest.agent_log()?;
    ensure!(log.contains("TOKEN_MISSING") && !log.contains("horse"), "{log}");
    Ok(())
}
