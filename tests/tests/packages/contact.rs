//! From the boot to the first call and back to nothing: what the agent costs between two calls, and what it remembers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trimtab_controller::guest::{AgentClient, Limits};
use trimtab_controller::model::run::{Target, TrimOrder};
use trimtab_controller::model::trouble::Kind;
use trimtab_controller::trim::ports::Guest as _;
use trimtab_tests::MIB;
use trimtab_tests::guest::Guest;
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::ruling;

use crate::common::checked;
use crate::debian::{self, allocated, fill_and_delete, processes, show, wait_for};

const SOCKET: &str = "trimtab-agent.socket";
const SERVICE: &str = "trimtab-agent.service";

/// Nothing but a socket of systemd's.
fn costs_nothing(guest: &Guest) -> Result<()> {
    ensure!(processes(guest)? == 0, "there is a process");
    ensure!(show(guest, SERVICE, "ActiveState")? == "inactive");
    ensure!(show(guest, SERVICE, "MainPID")? == "0");
    ensure!(show(guest, SERVICE, "MemoryCurrent")? == "[not set]");
    let left = guest.sh("ls -d /sys/fs/cgroup/system.slice/trimtab-agent.service 2>/dev/null || true")?;
    ensure!(left.is_empty(), "a cgroup is left: {left}");
    ensure!(show(guest, SOCKET, "SubState")? == "listening");
    Ok(())
}

#[test]
fn a_call_starts_the_agent_and_a_while_after_it_is_gone_and_has_forgotten_nothing() -> Result<()> {
    let guest = Guest::boot(debian::spec("contact")?)?;
    costs_nothing(&guest)?;
    fill_and_delete(&guest, &["/home"], 64)?;
    let full = allocated(&guest, &["home"])?;

    let ended = Trimtab::of(&guest)?.trim(&[guest.name()])?;

    let document = checked(&ended)?;
    ensure!(ended.exit == 0, "exit {}: {document}", ended.exit);
    ensure!(ruling(document.disk(&guest.disk("home")?)?) == "reclaimed by rule 5", "{document}");
    let freed = full[0].saturating_sub(allocated(&guest, &["home"])?[0]);
    ensure!(freed >= 60 * MIB, "the image lost only {freed} bytes: {document}");
    ensure!(show(&guest, SERVICE, "ActiveState")? == "active" && processes(&guest)? == 1);

    // The default is 30 s.
    let took = wait_for(&guest, SERVICE, "inactive", Duration::from_secs(60))?;
    ensure!(took > Duration::from_secs(15), "it was gone after {took:?}");
    costs_nothing(&guest)?;
    ensure!(show(&guest, SERVICE, "Result")? == "success");

    let run_id = document.only_vm()?["run_id"].as_str().context("no run id")?.to_owned();
    remembered(&guest, &run_id)
}

/// The run is known by its id, and an older caller of it is refused.
#[tokio::main(flavor = "current_thread")]
async fn remembered(guest: &Guest, run_id: &str) -> Result<()> {
    let agent = AgentClient::new(guest.agent_endpoint().parse()?, Limits::default());
    let report = agent.get_run(run_id).await?;
    ensure!(report.run_id == run_id && !report.filesystems.is_empty(), "{report:?}");
    let order = TrimOrder {
        run_id: run_id.to_owned(),
        fence: report.fence.saturating_sub(1),
        boot_id: report.boot_id.clone(),
        targets: vec![Target { filesystem_id: "0:0".to_owned(), min_extent_bytes: 0 }],
        pace: None,
        deadline: Duration::from_secs(60),
        linger: Duration::ZERO,
        again: false,
        also_types: Vec::new(),
    };
    let Err(refused) = agent.trim(&order).await else { anyhow::bail!("an older caller was let in") };
    ensure!(refused.kind == Kind::AgentRefused, "{refused}");
    ensure!(refused.to_string().contains("newer"), "{refused}");
    Ok(())
}
