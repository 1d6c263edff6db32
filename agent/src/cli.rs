//! The command line: one file a verb below it. Here: what the verbs share, and which exit code an error has.

mod config;
mod serve;
mod survey;
mod table;
mod trim;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use crate::{
    config::{ConfigError, load},
    sys::Roots,
    worker,
};

/// A guest's agent: trims its filesystems, for its virtualization host or by hand, and says what it did.
#[derive(Parser, Debug)]
#[command(name = "trimtab-agent", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  trimtab-agent survey          what is mounted, what is free, what would be trimmed and what not
  trimtab-agent survey --json   the same, for programs
  trimtab-agent trim            trim all of it, like fstrim -av
  trimtab-agent trim --dry-run / what a trim of / would do
  trimtab-agent config          what is in force, and where it came from";

#[derive(clap::Args, Debug)]
struct Global {
    /// Read this file alone, instead of /etc/trimtab/agent.toml and what lies beside it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the lock and the reports of runs below this folder instead of /run
    #[arg(long, global = true, hide = true, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Say more; twice: also what the libraries say
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say less; twice: errors only
    #[arg(short, long, global = true, action = ArgAction::Count)]
    quiet: u8,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// What is mounted, how full it is, and what a trim would do
    ///
    /// Reads and writes nothing. What a trim would leave out is listed with the reason.
    Survey(survey::Args),
    /// Trim: all that can be, or these mount points
    ///
    /// One filesystem at a time on a disk, disks side by side. Ctrl-Z pauses it and `fg` goes on; Ctrl-C ends it at any time:
    /// what was done until then is reported, and a later trim does the rest. A trim of the host's that is under way comes
    /// first (exit code 75).
    ///
    /// Exit codes are fstrim's where it has one: 0 all good, 32 all failed, 64 some failed; 75 another trim is under way; 130
    /// interrupted; 2 wrong arguments or configuration; 1 anything else.
    Trim(trim::Args),
    /// Answer the host's calls; what systemd starts
    ///
    /// With a socket of systemd's it ends when nobody calls, and the next call starts it again; trimtab-agent.socket is that
    /// socket. Started by hand it listens on vsock port 874 until it is stopped. SIGTERM ends what runs, and its report is
    /// kept in /run/trimtab-agent until the next boot.
    Serve(serve::Args),
    /// What is in force, and where each setting came from
    ///
    /// The first that exists of /etc/trimtab/agent.toml, /run/trimtab/agent.toml and /usr/lib/trimtab/agent.toml is read,
    /// then agent.toml.d/*.toml beside each of them, in the order of their names. A mistake in one is an error with file,
    /// line and key (exit code 2).
    Config(config::Args),
    /// One filesystem's worker; the agent starts it by itself
    #[command(hide = true)]
    Worker {
        /// The process that started it
        parent: i32,
    },
}

impl Cli {
    /// Steps above the usual level of logging.
    pub fn louder(&self) -> i16 {
        i16::from(self.global.verbose).saturating_sub(i16::from(self.global.quiet))
    }

    /// Does what was asked for.
    ///
    /// # Errors
    /// Whatever went wrong; [`exit_code`] says how the process ends then.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut roots = Roots::system();
        if let Some(run) = self.global.run_dir.clone() {
            roots.run = run;
        }
        let config = || load(&roots, self.global.config.as_deref());
        match self.command {
            None => {
                put(&command().render_help().to_string())?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Survey(args)) => survey::run(&args, &roots, &config()?),
            Some(Command::Trim(args)) => trim::run(&args, &roots, &config()?, self.global.quiet > 0),
            Some(Command::Serve(args)) => {
                let config = config();
                serve::run(args, roots, config)
            }
            Some(Command::Config(args)) => config::run(&args, &config()?),
            Some(Command::Worker { parent }) => Ok(worker::run(parent)),
        }
    }
}

/// The command line with all of its help, for man pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// How the process ends after an error: 2 where the configuration is at fault, as with a wrong argument; 1 otherwise.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<ConfigError>() || error.is::<trim::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// Writes a result to stdout. Whoever has closed it wants no more, which is no error.
fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
