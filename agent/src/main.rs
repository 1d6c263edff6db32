//! `trimtab-agent`: parse, log, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use trimtab_agent::{
    cli::{Cli, exit_code},
    log,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::start(cli.louder());
    cli.run().unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        exit_code(&error)
    })
}
