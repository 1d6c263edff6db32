//! The licences of what is linked into a program, as those licences demand: each text once, below the crates it is of.
//!
//! What is linked is what `cargo tree` says for this program, its features and this target. Crates of this workspace
//! are left out: their licence is the package's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use serde::Deserialize;

/// Words that a licence's file begins with, in capitals.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    /// Absent: of this workspace.
    source: Option<String>,
    license: Option<String>,
    manifest_path: PathBuf,
    #[serde(default)]
    authors: Vec<String>,
}

/// Writes to `file` the notices of what `cargo tree` with these options says, and below them the texts `also`.
///
/// # Errors
/// cargo failed, a file could not be read or written, or a crate says nothing of its licence.
pub(crate) fn write(file: &Path, also: &[PathBuf], options: &[String]) -> anyhow::Result<()> {
    let linked = linked(options)?;
    let metadata = cargo(&["metadata", "--locked", "--format-version=1"], &[])?;
    let mut crates: Vec<Package> = serde_json::from_str::<Metadata>(&metadata)?
        .packages
        .into_iter()
        .filter(|package| package.source.is_some())
        .filter(|package| linked.contains(&format!("{} v{}", package.name, package.version)))
        .collect();
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    let mut text = document(&crates)?;
    for path in also {
        let more =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        write!(text, "\n{RULE}\n\n{more}")?;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

const RULE: &str = "--------------------------------------------------------------------------------";

/// The crates in the program, as "name v1.2.3".
fn linked(options: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let fixed = ["tree", "--locked", "--edges=normal,no-proc-macro", "--prefix=none", "--format={p}"];
    let tree = cargo(&fixed, options)?;
    Ok(tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect())
}

fn cargo(fixed: &[&str], options: &[String]) -> anyhow::Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(fixed).args(options).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo {}: {}", fixed[0], String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("cargo's answer")
}

fn document(crates: &[Package]) -> anyhow::Result<String> {
    let mut out = String::from("Crates that are linked into this program, and their licences:\n\n");
    // The same text differs in its line ends and margins from crate to crate.
    let mut texts: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for package in crates {
        let Some(license) = &package.license else {
            bail!("{} {} names no licence: look at it", package.name, package.version)
        };
        let name = format!("{} {}", package.name, package.version);
        writeln!(out, "  {name}: {license}")?;
        let files = license_files(&package.manifest_path)?;
        if files.is_empty() && !package.authors.is_empty() {
            writeln!(out, "    by {}", package.authors.join(", "))?;
        }
        for text in files {
            let same = text.split_whitespace().collect::<Vec<_>>().join(" ");
            texts.entry(same).or_insert_with(|| (text, Vec::new())).1.push(name.clone());
        }
    }
    let mut texts: Vec<_> = texts.into_values().collect();
    texts.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    for (text, of) in texts {
        write!(out, "\n{RULE}\n{}:\n\n{}\n", of.join(", "), text.trim_end())?;
    }
    Ok(out)
}

/// The texts of the licence files beside a manifest, in the order of their names.
fn license_files(manifest: &Path) -> anyhow::Result<Vec<String>> {
    let Some(dir) = manifest.parent() else { return Ok(Vec::new()) };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot look into {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_ascii_uppercase();
        if entry.path().is_file() && NAMES.iter().any(|word| name.starts_with(word)) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let read = |path: &PathBuf| {
        std::fs::read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .with_context(|| format!("cannot read {}", path.display()))
    };
    paths.iter().map(read).collect()
}
