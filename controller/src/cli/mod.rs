//! A file a verb: arguments → calls → render. Prints only here and in `main`.

pub mod args;
mod campaign;
mod doctor;
pub mod exit;
mod interrupt;
mod journal;
mod list;
mod output;
mod store;
mod survey;
mod trim;
mod vms;
mod worker;

use self::{
    args::{Cli, Command},
    output::Output,
};

/// Carries a command out and gives the exit code.
pub async fn run(cli: Cli) -> u8 {
    let Some(command) = cli.command else { return exit::OK };
    let output = Output::new(&cli.global);
    let verb = command.verb();
    let result = match command {
        Command::List(selection) => list::run(&cli.global, &selection, &output).await,
        Command::Survey { selection, parallel } => {
            survey::run(&cli.global, &selection, parallel, &output).await
        }
        Command::Doctor(args) => doctor::run(&cli.global, &args, &output).await,
        Command::Trim(args) => trim::run(&cli.global, &args, &output).await,
        Command::Campaign(args) => campaign::run(&cli.global, &args, &output).await,
        Command::Store(args) => store::run(&cli.global, &args, &output).await,
        Command::Worker(args) => worker::run(&cli.global, &args, &output).await,
    };
    result.unwrap_or_else(|trouble| output.failed(verb, &trouble))
}
