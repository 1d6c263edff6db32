//! What an operator of a fleet reads: of hosts that are silent, were never heard, or have one name; on a machine whose clock
//! is wrong; and in a worker's journal while the database is away.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::Instant;
use trimtab_controller::campaign::{account::Status, store::postgres::grant};
use trimtab_tests::{
    faketime::{Clock, set},
    programs,
};

use crate::pair::{LEASE, PATIENCE, Pair};

/// What a command prints.
fn read(mut command: Command) -> Result<String> {
    let ended = command.output()?;
    let text = [ended.stderr, ended.stdout].concat();
    let text = String::from_utf8(text)?;
    println!("{text}");
    Ok(text)
}

/// `trimtab` on a machine with this clock. Nothing comes between: what the library shares goes with the program that it began
/// with.
fn elsewhere(pair: &Pair, clock: &str) -> Result<Command> {
    let mut command = Command::new(programs::trimtab()?);
    command.args(["--connect", "none"]).env("TRIMTAB_STORE", pair.postgres.url("trimtab"));
    set(&mut command, Clock::Off(clock))?;
    Ok(command)
}

/// On one line.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_fleet() -> Result<()> {
    let mut pair = Pair::of(&[("files", 0), ("web", 0), ("mail", 1)]).await?;
    let operator = |words: &[&str]| pair.operator(words);
    grant(&pair.postgres.url("trimtab"), "cccc", "host-c").await?;
    let campaign = pair.apply().await?;
    let running = pair.until(campaign, "both hosts trim", |status| status.running.len() == 2).await?;
    let [a, b] = pair.hosts.each_ref().map(|host| host.id().to_owned());
    let own = trimtab_controller::host::name();

    // Both call themselves as this machine does.
    let status = read(operator(&["campaign", "status"])?)?;
    ensure!(status.contains("VM     ON                SINCE"), "{status}");
    ensure!(status.lines().any(|line| line.starts_with(&format!("files  {own} (aaaa"))), "{status}");
    ensure!(!status.contains("no worker"), "{status}");
    for clock in ["+3600", "-3600"] {
        let command = || elsewhere(&pair, clock);
        let mut status = command()?;
        status.args(["campaign", "status"]);
        let mut command = command()?;
        command.args(["campaign", "status", "--json"]);
        let document: Value = serde_json::from_slice(&command.output()?.stdout)?;
        let now: jiff::Timestamp = document["now"].as_str().context("no time")?.parse()?;
        ensure!(now.duration_since(running.now).abs().as_secs() < 60, "{clock}: {now} of {}", running.now);
        let hosts = document["hosts"].as_array().context("no hosts")?;
        ensure!(hosts.len() == 2 && hosts[0]["id"] == *a && hosts[0]["name"] == *own, "{document:#}");
        let status = read(status)?;
        ensure!(!status.contains("no worker") && !status.contains("1h"), "{clock}: {status}");
    }

    // One host is lost.
    drop(pair.workers.pop());
    let over = |status: &Status| status.summary.done.values().sum::<u32>() == 2;
    pair.until(campaign, "the other one ends", over).await?;
    tokio::time::sleep(LEASE).await;
    let plan = read(pair.operator(&["campaign", "plan", "-o", "-"])?)?;
    let told = words(&plan);
    ensure!(told.contains("no worker was ever heard on host cccc: systemctl enable --now"), "{told}");
    let silent =
        format!("left out, host silent (1): mail on {own} ({b}); host {own} ({b}) was not heard for");
    ensure!(told.contains(&silent), "{told}");
    let report = read(pair.operator(&["campaign", "report"])?)?;
    ensure!(report.lines().any(|line| line.starts_with("VM     ON")), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_database_that_is_away() -> Result<()> {
    let mut pair = Pair::of(&[("web", 0)]).await?;
    let began = Instant::now();
    while pair.postgres.query("SELECT count(*) FROM trimtab.published_vm WHERE seen IS NOT NULL")? != "1" {
        ensure!(began.elapsed() < PATIENCE, "it is not published\n{}", pair.said());
        tokio::time::sleep(LEASE / 10).await;
    }
    pair.postgres.stop()?;
    tokio::time::sleep(LEASE * 3).await;
    pair.postgres.start_again()?;
    let back = |said: &str| said.matches("the store answers again").count();
    while back(&pair.said()) < 2 {
        ensure!(began.elapsed() < PATIENCE, "they are not back\n{}", pair.said());
        tokio::time::sleep(LEASE / 10).await;
    }
    tokio::time::sleep(LEASE * 2).await;
    let said = pair.said();
    println!("{said}");
    ensure!(said.matches("; it is tried again").count() == 2, "once by each worker:\n{said}");
    ensure!(back(&said) == 2 && !said.contains("published"), "{said}");
    Ok(())
}
