//! `docs/usage/doctor-table.md`: what the doctor printed of each case. Compared with what it prints now; with
//! `UPDATE_DOCTOR_TABLE=1` the file is written anew instead.
//!
//! Each guest has a section of its own between two marks, so that guests can run side by side.

use std::fs;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_tests::guest::Disk;
use trimtab_tests::programs;

/// Letters that a temporary directory's name ends with.
const RANDOM: usize = 6;

static FILE: Mutex<()> = Mutex::new(());

/// A case as the page shows it.
pub(super) struct Row {
    name: &'static str,
    printed: String,
    fix: String,
    mended_by: &'static str,
    before: String,
    after: String,
}

impl Row {
    /// Of what is there and what the doctor said of a disk: what comes back before and after it was mended, in MiB.
    /// Names of this run's become the same each time.
    pub(super) fn new(
        name: &'static str,
        (finding, disk): (&Value, &Disk),
        before_mib: Option<u64>,
        mended_by: &'static str,
        after_mib: Option<u64>,
    ) -> Self {
        let device = disk.device.trim_start_matches("/dev/");
        let image = disk.image.display().to_string();
        let same_each_time = |text: &str| {
            let text = text.replace(&image, &format!("/guests/{}", file_name(disk))).replace(device, "sdX");
            without_measures(&without_directories(&text))
        };
        let word = |key: &str| finding[key].as_str().unwrap_or_default();
        let lines = finding["paste"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let paste: String = lines.map(|line| format!(" `{line}`")).collect();
        let size = |mib: Option<u64>| match mib {
            None => "—".to_owned(),
            Some(0) => "0".to_owned(),
            Some(mib) => format!("{mib} MiB"),
        };
        Self {
            name,
            printed: same_each_time(&format!("`{}` {}: {}", word("layer"), word("state"), word("text"))),
            fix: same_each_time(&format!("{}{paste}", word("fix"))),
            mended_by,
            before: size(before_mib),
            after: size(after_mib),
        }
    }

    fn markdown(&self) -> String {
        let cells = [self.name, &self.printed, &self.fix, &self.before, self.mended_by, &self.after];
        format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|").replace('\n', " ")).join(" | "))
    }
}

/// Without the temporary directories of this run: "/var/tmp/trimtab-a1B2c3/vsock" becomes "/guests/vsock".
fn without_directories(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once("/trimtab-") {
        Some((before, after)) if after.len() >= RANDOM => {
            let is_of_path = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
            let start = before.rfind(|letter| !is_of_path(letter)).map_or(0, |at| at + 1);
            format!("{}/guests{}", &before[..start], &after[RANDOM..])
        }
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Without sizes that other versions of the guest's tools make others: "63.5 MiB" becomes "N MiB".
fn without_measures(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let is_measured = |position: usize| {
        let [word, unit, what] = [0, 1, 2].map(|next| words.get(position + next).copied().unwrap_or(""));
        let in_bytes = ["KiB", "MiB", "GiB"].iter().any(|known| unit.starts_with(known));
        in_bytes && ((word.contains('.') && !word.ends_with(".0")) || what == "left")
    };
    let masked = words.iter().enumerate().map(|(at, &word)| if is_measured(at) { "N" } else { word });
    masked.collect::<Vec<_>>().join(" ")
}

fn file_name(disk: &Disk) -> String {
    disk.image.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Holds a section of the page against `rows`, or writes it.
pub(super) fn check(section: &str, rows: &[Row]) -> Result<()> {
    let _one_at_a_time = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = programs::rig_file("../docs/usage/doctor-table.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (begin, end) = (format!("<!-- {section} -->\n"), format!("<!-- end of {section} -->\n"));
    let table: String = rows.iter().map(Row::markdown).collect();
    let head = "| what is there | the doctor prints | its fix | comes back before | done in the test | after |\n\
                |---|---|---|---|---|---|\n";
    let (before, rest) = text.split_once(&begin).with_context(|| format!("no section {section}"))?;
    let (written, after) = rest.split_once(&end).with_context(|| format!("no end of section {section}"))?;
    let table = format!("{head}{table}");
    if std::env::var_os("UPDATE_DOCTOR_TABLE").is_some() {
        return Ok(fs::write(&path, format!("{before}{begin}{table}{end}{after}"))?);
    }
    ensure!(
        written == table,
        "{} says other things of {section}; UPDATE_DOCTOR_TABLE=1 writes what follows:\n{table}",
        path.display()
    );
    Ok(())
}
