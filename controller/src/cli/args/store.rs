//! The words of `trimtab store`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::campaign::StoreArgs;

/// What stands below `trimtab store --help`.
const STORE: &str = "From one host to a fleet:
  trimtab store init --store 'postgres://op@db/trimtab'            once, by an operator
  cat /etc/machine-id                                              on each host
  trimtab store grant MACHINE-ID --store 'postgres://op@db/trimtab'
  TRIMTAB_STORE='postgres://ROLE@db/trimtab?passfile=FILE'         for trimtab-worker on that host

A host that was broken into, or is gone for good:
  trimtab store revoke HOST --store 'postgres://op@db/trimtab'

docs/usage/fleets.md has the whole of it";

/// `trimtab store`.
#[derive(Args, Debug)]
#[command(after_help = STORE)]
pub struct StoreCommandArgs {
    /// Which database.
    #[command(flatten)]
    pub store: StoreArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// The verbs of `trimtab store`.
#[derive(Subcommand, Debug)]
pub enum StoreCommand {
    /// Set a store up in a PostgreSQL database, or bring an older one up to date; its campaigns stay
    Init(InitArgs),
    /// Let one host's worker in: a role that works for that host and for no other
    Grant(GrantArgs),
    /// Shut one host's worker out: its role may call nothing any more, and its sessions end
    Revoke(RevokeArgs),
}

impl StoreCommand {
    /// As in "schema": "trimtab.<verb>/1".
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Init(_) => "store_init",
            Self::Grant(_) => "store_grant",
            Self::Revoke(_) => "store_revoke",
        }
    }
}

/// `trimtab store init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// A worker that is silent for so long has lost its runs: 1s to 1h [default: what the store has, else 60s]
    #[arg(long, value_name = "TIME", value_parser = lease)]
    pub lease: Option<Duration>,
}

/// `trimtab store grant`.
#[derive(Args, Debug)]
pub struct GrantArgs {
    /// The host's machine id: cat /etc/machine-id on that host
    #[arg(value_name = "HOST")]
    pub host: String,
    /// The role that its worker logs in as; made where there is none [default: trimtab-HOST]
    #[arg(long, value_name = "NAME")]
    pub role: Option<String>,
}

/// `trimtab store revoke`.
#[derive(Args, Debug)]
pub struct RevokeArgs {
    /// The host's machine id, or its name where no other host has it
    #[arg(value_name = "HOST")]
    pub host: String,
    /// The host is gone for good: forget its VMs, too, which count as users of their images until then. It must have been
    /// silent for a lease
    #[arg(long)]
    pub forget: bool,
}

fn lease(text: &str) -> Result<Duration, String> {
    let said: jiff::SignedDuration = text.parse().map_err(|_| "write a time like 60s or 2m".to_owned())?;
    match Duration::try_from(said) {
        Ok(lease) if (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&lease) => Ok(lease),
        _ => Err("from 1s to 1h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases() {
        assert_eq!(lease("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(lease("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["0s", "500ms", "-1s", "61m", "x"] {
            assert!(lease(bad).is_err(), "{bad}");
        }
    }
}
