//! Part of `make bench`: what a trim is in a real guest, beside fstrim and qemu-ga. `bench-guest [--rounds N] [--pairs N]
//! [--fs FILESYSTEM]… [--tool NAME]… [--gib N] [--piece KIB] [--processors N] [FILE]`: keeps the figures in FILE, as JSON,
//! and adds to what is there.

use anyhow::{Context as _, Result, bail};
use trimtab_tests::{
    bench::guest::{self, Options},
    loop_disk::Filesystem,
};

fn main() -> Result<()> {
    guest::run(&read(std::env::args().skip(1))?)
}

fn read(mut words: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options::default();
    let mut only = Vec::new();
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            options.file = Some(word.into());
            continue;
        }
        let value = words.next().with_context(|| format!("{word} of what?"))?;
        let number = || value.parse::<u32>().with_context(|| format!("{word}: {value} is no number"));
        match word.as_str() {
            "--rounds" => options.rounds = number()?,
            "--pairs" => options.pairs = number()?,
            "--gib" => options.gib = number()?.into(),
            "--piece" => options.piece_kib = number()?.into(),
            "--processors" => options.processors = number()?.try_into()?,
            "--tool" => options.tools.push(value),
            "--fs" => {
                let found = Filesystem::ALL.into_iter().find(|filesystem| filesystem.as_str() == value);
                only.push(found.with_context(|| format!("{value} is not ext4, xfs or btrfs"))?);
            }
            _ => bail!("{word} is not known"),
        }
    }
    if !only.is_empty() {
        options.filesystems = only;
    }
    Ok(options)
}
