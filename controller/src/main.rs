//! `trimtab`: parse → run → exit code.

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, Parser};
use trimtab_controller::{
    cli::{self, args::Cli, exit},
    model::trouble::{Kind, Trouble},
    render::{error::ErrorDocument, json},
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_words(&error),
    };
    if cli.command.is_none() {
        let _ = Cli::command().print_help();
        return ExitCode::SUCCESS;
    }
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => ExitCode::from(runtime.block_on(cli::run(cli))),
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "trimtab: cannot start: {error}");
            ExitCode::from(exit::INTERNAL)
        }
    }
}

/// Help and version are no errors; anything else is, in JSON where the line asks for JSON.
fn wrong_words(error: &clap::Error) -> ExitCode {
    let asks_for_json = std::env::args_os().any(|word| word == "--json" || word == "--events");
    if !error.use_stderr() || !asks_for_json {
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let trouble = Trouble::new(Kind::Usage, first).hint("see trimtab --help");
    let document = ErrorDocument { schema: "trimtab.error/1".to_owned(), exit: exit::USAGE, error: &trouble };
    let _ = writeln!(anstream::stdout(), "{}", json::text(&document, true));
    ExitCode::from(exit::USAGE)
}
