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

use super::Case;

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
    /// Of a case and what the doctor said. Names of this run's become the same each time.
    pub(super) fn new(case: &Case, finding: &Value, disk: &Disk) -> Self {
        let name = disk.device.trim_start_matches("/dev/");
        let image = disk.image.display().to_string();
        let same_each_time = |text: &str| {
            let text = text.replace(&image, &format!("/guests/{}", file_name(disk))).replace(name, "sdX");
            without_measures(&text)
        };
        let word = |key: &str| finding[key].as_str().unwrap_or_default();
        let lines = finding["paste"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let paste: String = lines.map(|line| format!(" `{line}`")).collect();
        let size = |mib: u64| if mib == 0 { "0".to_owned() } else { format!("{mib} MiB") };
        Self {
            name: case.name,
            printed: same_each_time(&format!("`{}` {}: {}", word("layer"), word("state"), word("text"))),
            fix: same_each_time(&format!("{}{paste}", word("fix"))),
            mended_by: case.mended_by,
            before: case.before_mib.map_or_else(|| "—".to_owned(), size),
            after: size(case.after_mib),
        }
    }

    fn markdown(&self) -> String {
        let cells = [self.name, &self.printed, &self.fix, &self.before, self.mended_by, &self.after];
        format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|").replace('\n', " ")).join(" | "))
    }
}

/// Without sizes that other versions of the guest's tools make others: "63.5 MiB" becomes "N MiB".
fn without_measures(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let units = words.iter().skip(1).chain([&""]);
    let is_measured = |word: &str, unit: &str| {
        let in_bytes = ["KiB", "MiB", "GiB"].iter().any(|known| unit.starts_with(known));
        in_bytes && word.contains('.') && !word.ends_with(".0")
    };
    let masked = words.iter().zip(units).map(|(word, unit)| if is_measured(word, unit) { "N" } else { word });
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
