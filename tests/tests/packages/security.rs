//! How far the units are closed, in systemd's own figure: 0 is closed, 10 is open. A unit that is opened further says so
//! here.

use anyhow::{Context, Result, ensure};

use crate::host;

/// Units and the figure of Debian 12's systemd, in tenths. What is left open is said in the units.
const FIGURES: [(&str, u32); 3] =
    [("trimtab-agent.service", 40), ("trimtab-trim.service", 40), (host::WORKER, 34)];

#[test]
fn they_are_as_closed_as_was_found_possible() -> Result<()> {
    let guest = host::lease()?;
    for (unit, most) in FIGURES {
        let table = guest.sh(&format!("systemd-analyze security --no-pager {unit}"))?;
        let exposure = exposure(&table)?;
        ensure!(exposure <= most, "{unit}: {exposure} tenths, and {most} was the most\n{table}");
    }
    Ok(())
}

/// "→ Overall exposure level for UNIT: 2.3 OK", in tenths.
fn exposure(table: &str) -> Result<u32> {
    let line = table.lines().find(|line| line.contains("Overall exposure level"));
    let figure = line.and_then(|line| line.rsplit(": ").next()?.split_whitespace().next());
    let (whole, tenth) = figure.and_then(|figure| figure.split_once('.')).context(table.to_owned())?;
    Ok(whole.parse::<u32>()? * 10 + tenth.parse::<u32>()?)
}

#[test]
fn systemd_finds_nothing_wrong_with_any_unit() -> Result<()> {
    let guest = host::lease()?;
    let said = guest.sh("systemd-analyze verify --man=no /lib/systemd/system/trimtab-* 2>&1")?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}
