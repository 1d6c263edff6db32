//! Every layer of the doctor's table, built for real: it must be named, and once mended the space must come back.
//!
//! ```text
//! build (a filesystem, 64 MiB written and deleted) ─→ doctor names the layer ─→ mend ─→ trim ─→ the image is smaller
//! ```
//!
//! Cases share guests: all of a guest's are built before its one doctor. What it says is written down in
//! `docs/usage/doctor-table.md`; see [`table`].

mod drive;
mod fix;
mod format;
mod guest;
mod host;
mod store;
mod table;
mod vm;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_tests::MIB;
use trimtab_tests::guest::{Guest, GuestSpec};
use trimtab_tests::trimtab::{Document, Trimtab};
use trimtab_tests::walk::{DELETED_MIB, Walk, freed, ruling};

use table::Row;

/// One layer that cuts or holds, or is worth a note.
pub(crate) struct Case {
    /// What is there, in the table's words.
    pub(crate) name: &'static str,
    /// The layer that the doctor must name, and the state that it must be in.
    pub(crate) finding: (&'static str, &'static str),
    /// Builds it on a disk of the guest, with data deleted on it.
    pub(crate) build: for<'a> fn(&'a Guest) -> Result<Walk<'a>>,
    /// Names of more disks that the filesystem stands on.
    pub(crate) others: &'static [&'static str],
    /// What a trim gives back of [`DELETED_MIB`] as long as nothing is done, at most; `None` where that would change
    /// what the mending does.
    pub(crate) before_mib: Option<u64>,
    /// What is done about it, in the table's words.
    pub(crate) mended_by: &'static str,
    /// Does it. The disk may be another one then.
    pub(crate) mend: for<'a> fn(Walk<'a>) -> Result<Walk<'a>>,
    /// More words for the trim afterwards.
    pub(crate) trim: &'static [&'static str],
    /// What then comes back of it, at least.
    pub(crate) after_mib: u64,
}

/// Runs all cases in one guest.
fn run(guest: &Guest, section: &str, cases: &[Case]) -> Result<()> {
    let mut walks = Vec::new();
    for case in cases {
        walks.push((case.build)(guest).with_context(|| case.name)?);
    }
    guest.start_agent("")?;
    let trimtab = Trimtab::of(guest)?;
    let document = trimtab.doctor(&[guest.name()])?.document()?;
    let (mut rows, mut failed) = (Vec::new(), String::new());
    for (case, walk) in cases.iter().zip(walks) {
        match one(case, walk, &trimtab, &document) {
            Ok(row) => rows.push(row),
            Err(error) => failed.push_str(&format!("{}: {error:#}\n", case.name)),
        }
    }
    // All of them, since a guest took its time to build them.
    ensure!(failed.is_empty(), "{failed}");
    table::check(section, &rows)
}

fn one(case: &Case, walk: Walk<'_>, trimtab: &Trimtab, document: &Document) -> Result<Row> {
    let found = finding(document.disk(&walk.disk)?, case.finding)?.clone();
    if let Some(most) = case.before_mib {
        let before = chain_bytes(&walk)?;
        let said = trim(&walk, case.others, trimtab, &["--anyway", case.finding.0])?;
        let fell = before.saturating_sub(chain_bytes(&walk)?);
        ensure!(fell <= (most + 1) * MIB, "{fell} bytes came back before it was mended: {said:#}");
    }
    let before = chain_bytes(&walk)?;
    let walk = (case.mend)(walk)?;
    let mended = walk.disk.allocated_bytes()?;
    let said = trim(&walk, case.others, trimtab, case.trim)?;
    let after = chain_bytes(&walk)?;
    let fell = before.saturating_sub(after);
    ensure!(fell >= case.after_mib * MIB / 100 * 95, "{fell} bytes came back: {said:#}");
    // Some of it may have come back by the mending itself; the rest is what the trim accounts for.
    let by_trim = mended.saturating_sub(walk.disk.allocated_bytes()?);
    ensure!(freed(&said)?.abs_diff(by_trim) < MIB, "du says {by_trim}: {said:#}");
    if by_trim > MIB * 16 {
        ensure!(ruling(&said) == "reclaimed by rule 5", "{said:#}");
    }
    Ok(Row::new(case.name, (&found, &walk.disk), case.before_mib, case.mended_by, Some(case.after_mib)))
}

/// Trims the disk alone, and those that its filesystem stands on beside it: what trimtab says of it.
fn trim(walk: &Walk<'_>, others: &[&str], trimtab: &Trimtab, words: &[&str]) -> Result<Value> {
    // Whatever its name is there: each guest of these has a trimtab of its own.
    let mut all = vec!["*".to_owned()];
    for name in [&[walk.disk.name.as_str()], others].concat() {
        let device = walk.guest.disk(name)?.device;
        all.extend(["--disk".to_owned(), device.trim_start_matches("/dev/").to_owned()]);
    }
    all.extend(words.iter().map(|&word| word.to_owned()));
    let document = trimtab.trim(&all.iter().map(String::as_str).collect::<Vec<_>>())?.document()?;
    let mut said = document.disk(&walk.disk)?.clone();
    // For whoever reads of a failure.
    said["filesystem"] = document.filesystem(&walk.mount)?.clone();
    Ok(said)
}

/// What the image and those below it occupy.
fn chain_bytes(walk: &Walk<'_>) -> Result<u64> {
    walk.disk.allocated_bytes()?;
    let image = walk.disk.image.display().to_string();
    let words =
        ["info", "-U", "--output", "json", "--backing-chain", "-f", walk.disk.format.as_str(), &image];
    let done = Command::new("qemu-img").args(words).output().context("cannot run qemu-img")?;
    ensure!(done.status.success(), "qemu-img {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    let images: Vec<Value> = serde_json::from_slice(&done.stdout)?;
    images.iter().map(|image| image["actual-size"].as_u64().context("no actual-size")).sum()
}

/// The finding of a layer in a state, among those of a disk or a VM.
fn finding<'a>(of: &'a Value, (layer, state): (&str, &str)) -> Result<&'a Value> {
    let findings = of["findings"].as_array().context("no findings")?;
    let found = findings.iter().find(|finding| finding["layer"] == layer && finding["state"] == state);
    found.with_context(|| format!("no {layer} that is {state} in {of:#}"))
}

/// Writes and deletes what a trim is to free.
fn deleted(walk: Walk<'_>) -> Result<Walk<'_>> {
    walk.write_and_delete(DELETED_MIB)?;
    Ok(walk)
}

#[test]
fn what_a_qcow2_image_holds() -> Result<()> {
    let guest = Guest::boot(GuestSpec::new("format"))?;
    run(&guest, "format", &format::CASES)
}

#[test]
fn what_stands_above_a_disk_in_the_guest() -> Result<()> {
    let guest = Guest::boot(GuestSpec::new("guest"))?;
    run(&guest, "guest", &guest::CASES)
}

#[test]
fn what_the_host_does_to_an_image() -> Result<()> {
    let guest = Guest::boot(GuestSpec::new("host"))?;
    run(&guest, "host", &host::CASES)
}
