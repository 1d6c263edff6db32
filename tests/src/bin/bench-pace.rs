//! Part of `make bench`: what a trim does to a writer, on loop devices. `bench-pace [--rounds N] [--gib N] [--only
//! FILESYSTEM] [--tool NAME] [--agent PROGRAM] [FILE]`: also writes the figures there, as JSON. Needs root, and room for
//! one image of N GiB.

use anyhow::{Context as _, Result, bail};
use trimtab_tests::{
    bench::pace::{self, Options},
    loop_disk::Filesystem,
};

fn main() -> Result<()> {
    let (options, file) = read(std::env::args().skip(1))?;
    let figures = pace::run(&options)?;
    if let Some(path) = file {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

fn read(mut words: impl Iterator<Item = String>) -> Result<(Options, Option<String>)> {
    let mut options = Options::default();
    let mut file = None;
    let mut only = Vec::new();
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            file = Some(word);
            continue;
        }
        let value = words.next().with_context(|| format!("{word} of what?"))?;
        match word.as_str() {
            "--rounds" => options.rounds = value.parse().context("--rounds is no number")?,
            "--gib" => options.gib = value.parse().context("--gib is no number")?,
            "--agent" => options.agent = Some(value.into()),
            "--tool" => options.tools.push(value),
            "--only" => {
                let found = Filesystem::ALL.into_iter().find(|filesystem| filesystem.as_str() == value);
                only.push(found.with_context(|| format!("{value} is not ext4, xfs or btrfs"))?);
            }
            _ => bail!("{word} is not known"),
        }
    }
    if !only.is_empty() {
        options.filesystems = only;
    }
    Ok((options, file))
}
