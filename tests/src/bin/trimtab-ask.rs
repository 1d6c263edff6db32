//! Asks one agent one thing, as the controller's library does, and says what came of it and how much memory it took.
//!
//! `trimtab-ask ADDRESS hello|survey|trim [FILESYSTEM]`: one line, the kind and text of the trouble or "ok"; then
//! "VmHWM KiB". A trim that names no filesystem asks for one that no guest has, so that an honest agent trims
//! nothing.

use std::time::Duration;

use anyhow::{Context, bail};
use trimtab_controller::{
    guest::{AgentClient, Limits},
    model::{
        run::{RunEvent, Target, TrimOrder},
        trouble::Trouble,
    },
    trim::ports::{Guest, RunStream},
};
use trimtab_tests::bench::own;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().context("usage: trimtab-ask ADDRESS hello|survey|trim [FILESYSTEM]")?;
    let agent = AgentClient::new(address.parse()?, Limits::default());
    let outcome = match args.next().as_deref() {
        Some("hello") => agent.hello().await.map(drop),
        Some("survey") => agent.survey().await.map(drop),
        Some("trim") => trim(&agent, args.next().unwrap_or_else(|| "0:0".to_owned())).await,
        _ => bail!("usage: trimtab-ask ADDRESS hello|survey|trim [FILESYSTEM]"),
    };
    match outcome {
        Ok(()) => print(format_args!("ok")),
        Err(trouble) => print(format_args!("{:?}: {trouble}", trouble.kind)),
    }
    print(format_args!("VmHWM {}", own::peak_kib()?));
    Ok(())
}

async fn trim(agent: &AgentClient, filesystem_id: String) -> Result<(), Trouble> {
    let order = TrimOrder {
        run_id: "00000000-0000-4000-8000-000000000000".to_owned(),
        fence: 1,
        boot_id: String::new(),
        targets: vec![Target { filesystem_id, min_extent_bytes: 0 }],
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
