//! What a package has beside the programs, from the programs' own words: man pages and completions from clap, the
//! pages of the configuration files from the files themselves, and the notices that linked crates ask for.
//!
//! It is run while a package is built and is in none. It writes below the directory it is given, and nothing that
//! depends on the time, the machine or the directory, so that packages are the same wherever they are built.

mod completions;
mod keys;
mod notices;
mod pages;

use std::path::PathBuf;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

/// What a package has beside the programs.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Man pages and completions of both programs: DIR/trimtab-agent/… and DIR/trimtab/…
    Pages {
        /// Where to.
        dir: PathBuf,
        /// The date in the pages' foot, seconds since 1970
        #[arg(long)]
        date: i64,
    },
    /// Licences of the crates that are linked into a program
    Notices {
        /// The file to write
        file: PathBuf,
        /// Texts that go below, of what is linked beside crates
        #[arg(long = "also")]
        also: Vec<PathBuf>,
        /// What `cargo tree` is to be asked: --package, --features and the like
        #[arg(last = true)]
        cargo: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Pages { dir, date } => {
            let programs = [
                (trimtab_agent::cli::Cli::command(), pages::AGENT, keys::AGENT),
                (trimtab_controller::cli::args::Cli::command(), pages::TRIMTAB, keys::TRIMTAB),
            ];
            for (command, about, file) in programs {
                let dir = dir.join(command.get_name());
                std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
                pages::write(&dir, &command, &about, date)?;
                keys::write(&dir, &file, date)?;
                completions::write(&dir, command)?;
            }
            Ok(())
        }
        Command::Notices { file, also, cargo } => notices::write(&file, &also, &cargo),
    }
}
