//! Asks one agent one thing, as the controller's library does, and says what came of it and how much memory it took.
//!
//! `trimtab-ask ADDRESS hello|survey|trim`: one line, the kind and text of the trouble or "ok"; then "VmHWM KiB".

use std::time::Duration;

use anyhow::{Context, bail};
use trimtab_controller::{
    guest::{AgentClient, Limits},
    model::run::{RunEvent, TrimOrder},
    trim::ports::{Guest, RunStream},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().context("usage: trimtab-ask ADDRESS hello|survey|trim")?;
    let agent = AgentClient::new(address.parse()?, Limits::default());
    let outcome = match args.next().as_deref() {
        Some("hello") => agent.hello().await.map(drop),
        Some("survey") => agent.survey().await.map(drop),
        Some("trim") => trim(&agent).await,
        _ => bail!("usage: trimtab-ask ADDRESS hello|survey|trim"),
    };
    match outcome {
        Ok(()) => print(format_args!("ok")),
        Err(trouble) => print(format_args!("{:?}: {trouble}", trouble.kind)),
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    print(format_args!("VmHWM {}", peak.trim().trim_end_matches(" kB")));
    Ok(())
}

async fn trim(agent: &AgentClient) -> Result<(), trimtab_controller::model::trouble::Trouble> {
    let order = TrimOrder {
        run_id: "00000000-0000-4000-8000-000000000000".to_owned(),
        fence: 1,
        boot_id: String::new(),
        targets: Vec::new(),
        pace: None,
        deadline: Duration::from_secs(60),
        linger: Duration::ZERO,
        again: false,
        also_types: Vec::new(),
    };
    let mut run = agent.trim(&order).await?;
    while let Some(event) = run.next().await {
        if let RunEvent::End(_) = event? {
            break;
        }
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "its whole output, for a test to read")]
fn print(line: std::fmt::Arguments<'_>) {
    println!("{line}");
}
