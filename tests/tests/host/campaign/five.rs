//! Two nights over five guests: what each comes to, what it costs the others, and that every byte of the account is one that
//! its image lost.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::json;
use trimtab_tests::{
    GIB, MIB,
    campaigns::{Campaigns, WorkerProcess},
    guest::Guest,
    libvirt::Libvirt,
    loop_disk::{Filesystem, LoopDisk},
};

use super::{
    check_bytes, check_history, check_metrics, class,
    fleet::{DB, DELETED_MIB, Fleet, Walks},
    occupied, run, screen,
};

/// A night of five. A guest that hangs costs it a minute.
const NIGHT: Duration = Duration::from_secs(500);

/// Plans, takes the plan on without retries, and returns the plan's text.
fn take_on(host: &Campaigns, name: &str) -> Result<String> {
    let plan = host.path(&format!("{name}.toml"));
    let file = plan.display().to_string();
    screen(host, &["plan", "-o", &file, "--name", name, "--failure-budget", "3"], 0)?;
    let text = fs::read_to_string(&plan)?;
    fs::write(&plan, text.replace("retries = 2 ", "retries = 0 "))?;
    screen(host, &["apply", &file], 0)?;
    Ok(text)
}

/// Stops the agent of `hung` in the middle of its trim.
fn hang(fleet: &Fleet, walks: &Walks<'_>, worker: &WorkerProcess) -> Result<()> {
    let disk = &walks.hung.disk;
    let began = Instant::now();
    let before = fleet.hung.arrived(disk)?.0;
    while fleet.hung.arrived(disk)?.0 == before {
        ensure!(began.elapsed() < NIGHT, "{}", worker.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    fleet.hung.sh("kill -STOP $(cat /run/agent.pid)")?;
    fleet.hung.limit_writes(disk, 0)
}

fn is_left_out(plan: &str, vm: &str, reason: &str) -> bool {
    plan.contains(&format!("[[left_out]]\nname = \"{vm}\"\nreason = \"{reason}\""))
}

#[test]
fn two_nights_over_five_guests_of_which_two_are_well() -> Result<()> {
    // libvirtd sees no mounts that come after it.
    let datastore = LoopDisk::mount(Filesystem::Ext4, GIB)?;
    let libvirt = Libvirt::start()?;
    let fleet = Fleet::boot(&libvirt, &datastore)?;
    let walks = fleet.prepare()?;
    let files = [walks.web.checksums()?, walks.db.checksums()?];
    let host = Campaigns::of(fleet.trimtab(&libvirt)?)?;

    first_night(&host, &fleet, &walks)?;

    fleet.hung.sh("kill -CONT $(cat /run/agent.pid)")?;
    fleet.lie("lies")?;
    second_night(&host, &walks)?;

    ensure!(files == [walks.web.checksums()?, walks.db.checksums()?], "a file is another one now");
    let guests: [&Guest; 5] = [&fleet.web, &fleet.db, &fleet.old, &fleet.hung, &fleet.lying];
    for guest in guests {
        ensure!(guest.qmp("query-status", json!({}))?["status"] == "running", "{}", guest.name());
    }
    for (vm, walk) in walks.all() {
        walk.unmount_and_check().map_err(|error| error.context(vm))?;
    }
    Ok(())
}

fn first_night(host: &Campaigns, fleet: &Fleet, walks: &Walks<'_>) -> Result<()> {
    let plan = take_on(host, "first")?;
    ensure!(is_left_out(&plan, "away", "no agent"), "{plan}");
    ensure!(plan.matches("[[vm]]").count() == 5 && plan.matches("[[datastore]]").count() == 2, "{plan}");
    let nobody = screen(host, &["status"], 0)?;
    ensure!(nobody.contains("waiting: 5 for a worker\nno worker has been on host "), "{nobody}");
    let disks = walks.disks();
    let before = occupied(disks.iter().map(|(_, disk)| *disk))?;

    // That many discards take it long enough.
    fleet.hung.limit_writes(&walks.hung.disk, 2)?;
    let worker = host.worker()?;
    hang(fleet, walks, &worker)?;
    let status = screen(host, &["status", "1"], 0)?;
    ensure!(status.contains("waiting: 4 for the verdicts of those before"), "{status}");
    let status = host.asked("status", "1")?;
    ensure!(status["running"][0]["vm"] == "hung" && status["waiting_for"]["ramp"] == 4, "{status:#}");
    host.until("1", "done", NIGHT)?;
    ensure!(worker.leave()? == 0, "a worker that has nothing to do does not leave well");

    let report = host.asked("report", "1")?;
    check_bytes(&report, &disks, &before)?;
    check_history(&report, &disks.iter().map(|(vm, _)| *vm).collect::<Vec<_>>())?;
    check_metrics(host, &report)?;
    let deleted = i64::try_from(DELETED_MIB * MIB)?;
    for vm in ["web", DB] {
        let freed = run(&report, vm)?["freed_bytes"].as_i64();
        ensure!(class(&report, vm)? == "reclaimed" && freed >= Some(deleted), "{vm}: {report:#}");
    }
    ensure!(class(&report, "hung")? == "failed", "{report:#}");
    ensure!(
        run(&report, "hung")?["freed_bytes"].as_i64() > Some(0),
        "it was stopped in its middle: {report:#}"
    );
    for (vm, end, reason) in [("old", "cut", "layer"), ("lying", "failed", "kind")] {
        let of_it = run(&report, vm)?;
        let reason = of_it["result"][reason].as_str();
        ensure!(class(&report, vm)? == end && of_it["freed_bytes"] == 0, "{vm}: {report:#}");
        ensure!(matches!(reason, Some("drive" | "agent_nonsense")), "{vm}: {reason:?}");
    }
    let text = screen(host, &["report", "1"], 0)?;
    for line in [
        "  5 VMs: reclaimed 2 · cut 1 · failed 2\n",
        "cut at drive: 1 VM; old: sda: drive: the guest sent discards and QEMU passed none on to the image\n",
        "failed (agent lost): 1 VM; hung: ",
        "failed (agent nonsense): 1 VM; lying: the answer of ",
    ] {
        ensure!(text.contains(line), "{line}");
    }
    screen(host, &["report", "1", "--history"], 0)?;
    Ok(())
}

/// Who was trimmed has nothing to free now; the agent that hung goes on; and the one that lies claims all of its disk.
fn second_night(host: &Campaigns, walks: &Walks<'_>) -> Result<()> {
    let plan = take_on(host, "second")?;
    for vm in ["web", DB] {
        ensure!(is_left_out(&plan, vm, "nothing to free"), "{plan}");
    }
    let disks = walks.disks();
    let before = occupied(disks.iter().map(|(_, disk)| *disk))?;
    let worker = host.worker()?;
    host.until("2", "done", NIGHT)?;
    ensure!(worker.leave()? == 0, "a worker that has nothing to do does not leave well");

    let report = host.asked("report", "2")?;
    let planned: Vec<_> = disks.into_iter().filter(|(vm, _)| run(&report, vm).is_ok()).collect();
    check_bytes(&report, &planned, &before)?;
    check_history(&report, &planned.iter().map(|(vm, _)| *vm).collect::<Vec<_>>())?;
    check_metrics(host, &report)?;
    let lie = run(&report, "lying")?;
    ensure!(
        lie["result"]["class"] == "cut" && lie["freed_bytes"] == 0,
        "what it claims is no account: {lie:#}"
    );
    ensure!(class(&report, "old")? == "cut", "{report:#}");
    screen(host, &["report", "2"], 0)?;
    screen(host, &["list"], 0)?;
    Ok(())
}
