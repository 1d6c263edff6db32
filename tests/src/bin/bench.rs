//! `make bench`: how large the agent is, on disk and in a guest's memory, beside qemu-ga. Exits with 1 when it is over
//! its budget. `bench [FILE]`: also writes the figures there, as JSON.

use std::{path::PathBuf, process::ExitCode};

fn main() -> anyhow::Result<ExitCode> {
    trimtab_tests::bench::run(std::env::args_os().nth(1).map(PathBuf::from).as_deref())
}
