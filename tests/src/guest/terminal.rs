//! A guest for a person: its console on this terminal.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::spec::Console;
use super::{GuestSpec, Prepared, inventory};

/// Boots a guest with a shell on this terminal and returns when it is switched off.
pub fn run_on_this_terminal(spec: &GuestSpec) -> Result<()> {
    // Bound by name, so that all of it stays until QEMU has ended.
    let prepared = Prepared::new(spec)?;
    let place = &prepared.place;
    let file = place.0.join("inventory.toml");
    inventory::write(&file, &spec.name, place)?;
    writeln!(
        std::io::stderr(),
        "guest {}: images in {}\n  from another terminal: trimtab --inventory {} survey\n  Ctrl-A X ends it\n",
        spec.name,
        place.images().display(),
        file.display()
    )?;
    // Not under a keeper: it needs the terminal. It ends with this thread, the main one.
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .args(spec.command_line(&prepared, Console::Terminal))
        .status()
        .context("cannot run setpriv")?;
    if !status.success() {
        bail!("QEMU ended with {status}");
    }
    Ok(())
}
