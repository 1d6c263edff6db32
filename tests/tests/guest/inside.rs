//! Who may command the agent, over real vsock: any process in the guest can connect to CID 1 or to the guest's own CID.
//! And the controller's AF_VSOCK client, which needs a kernel that has vsock on both ends: both in one guest.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_tests::MIB;
use trimtab_tests::guest::{DiskSpec, Guest, GuestSpec};
use trimtab_tests::programs;
use trimtab_tests::trimtab::{Document, Trimtab};

use crate::common::checked;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk};

const DELETED: u64 = DELETED_MIB * MIB;

/// The guest's own CID, as the rig gives it.
const OWN_CID: u32 = 3;

/// Puts `trimtab` and what it links into /run/host of the guest: a tar archive as a disk.
fn copy_trimtab_in(guest: &Guest) -> Result<()> {
    let program = programs::trimtab()?;
    let (folder, archive) = (guest.directory().join("host"), guest.directory().join("host.tar"));
    // Its line tables are larger than the guest's memory likes.
    let script = "mkdir -p \"$1/lib\"; strip -o \"$1/trimtab\" \"$2\"
        ldd \"$2\" | grep -o '/[^ ]*' | while read -r library; do cp -L \"$library\" \"$1/lib/\"; done
        tar -C \"$1\" -cf \"$3\" .";
    let made =
        Command::new("sh").args(["-euc", script, "sh"]).arg(&folder).arg(program).arg(&archive).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let disk = guest.add_disk(DiskSpec::new("cargo", std::fs::metadata(&archive)?.len()).image(&archive))?;
    guest.sh(&format!("mkdir -p /run/host && tar -xf {} -C /run/host", disk.device))?;
    guest.remove_disk(&disk)
}

/// What takes the right to call from a port below 1024 away.
const WITHOUT_PRIVILEGED_PORTS: &str =
    "setpriv --bounding-set=-net_bind_service --inh-caps=-net_bind_service";

/// Runs `trimtab trim --json` in the guest, behind `wrapper`, against the agent at this CID of its own: exit code and
/// document.
fn trim_from_inside(guest: &Guest, cid: u32, wrapper: &str) -> Result<(i32, Document)> {
    let printed = guest.sh(&format!(
        "printf '[[vm]]\\nname = \"self\"\\nagent = \"vsock:{cid}\"\\n' >/run/host/fleet.toml
         {wrapper} /run/host/lib/ld-linux-* --library-path /run/host/lib /run/host/trimtab \
             --inventory /run/host/fleet.toml trim self --json -q && code=0 || code=$?
         echo $code"
    ))?;
    let (document, exit) = printed.trim_end().rsplit_once('\n').context("no document")?;
    let document: Value = serde_json::from_str(document).with_context(|| printed.clone())?;
    Ok((exit.parse()?, Document(document)))
}

#[test]
fn the_agent_takes_orders_from_the_host_alone_unless_its_owner_says_otherwise() -> Result<()> {
    // Of its own: what is put into it is no other test's.
    let guest = Guest::boot(GuestSpec::new("inside"))?;
    let walk = Walk::add(&guest, Kind::Ext4, DiskSpec::new("disk", 1 << 30))?;
    walk.keep_files()?;
    walk.write_and_delete(DELETED_MIB)?;
    let full = walk.disk.allocated_bytes()?;
    copy_trimtab_in(&guest)?;

    for cid in [1, OWN_CID] {
        guest.start_agent("")?;
        let sent = guest.discarded_bytes(&walk.disk)?;
        let (exit, document) = trim_from_inside(&guest, cid, "")?;
        let error = &document.only_vm()?["error"];
        ensure!(exit == 32 && error["kind"] == "agent_lost", "CID {cid}, exit {exit}: {document}");
        ensure!(error["hint"].as_str().is_some_and(|hint| hint.contains("allow_cids")), "{document}");
        ensure!(guest.discarded_bytes(&walk.disk)? == sent, "a process of the guest had it trimmed");
        let log = guest.agent_log()?;
        ensure!(log.contains("refused vsock CID"), "CID {cid}: {log}");
        ensure!(log.contains("not one that may call"), "CID {cid}: {log}");
        ensure!(!log.contains("refused vsock CID 2"), "the host was refused: {log}");
        guest.stop_agent()?;
        guest.sh("rm /run/agent.log")?;
    }

    guest.sh("mkdir -p /etc/trimtab && echo 'allow_cids = [1, 2]' >/etc/trimtab/agent.toml")?;
    guest.start_agent("")?;
    let (exit, document) = trim_from_inside(&guest, 1, "")?;
    let vm = document.only_vm()?;
    ensure!(vm["error"].is_null() && vm["stop"] == "done", "{document}");
    ensure!(document.filesystem(&walk.mount)?["state"] == "done", "{document}");
    // The image lies on the host, out of sight from in here, and nothing is claimed of it.
    let name = walk.disk.device.trim_start_matches("/dev/");
    ensure!(vm["unpaired_guest_disks"] == serde_json::json!([name]) && exit == 32, "exit {exit}: {document}");
    let freed = full.saturating_sub(walk.disk.allocated_bytes()?);
    ensure!(freed >= DELETED / 100 * 95, "only {freed} bytes left the image");
    // The host may call as before.
    let ended = Trimtab::of(&guest)?.trim(&["inside"])?;
    ensure!(ended.exit == 0, "exit {}: {}", ended.exit, checked(&ended)?);

    // The kernel's vsock tells the agent a port, and gives those below 1024 to the privileged alone.
    guest.stop_agent()?;
    guest.sh("rm /run/agent.log; echo 'peer_port = \"privileged\"' >>/etc/trimtab/agent.toml")?;
    guest.start_agent("")?;
    let (exit, document) = trim_from_inside(&guest, 1, WITHOUT_PRIVILEGED_PORTS)?;
    let error = &document.only_vm()?["error"];
    ensure!(exit == 32 && error["kind"] == "agent_lost", "exit {exit}: {document}");
    ensure!(error["hint"].as_str().is_some_and(|hint| hint.contains("peer_port")), "{document}");
    ensure!(guest.agent_log()?.contains("wants a port below 1024"), "{}", guest.agent_log()?);
    let (_, document) = trim_from_inside(&guest, 1, "")?;
    let vm = document.only_vm()?;
    ensure!(vm["error"].is_null() && vm["stop"] == "done", "root is let in: {document}");
    Ok(())
}
