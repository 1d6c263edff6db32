//! The words of `trimtab campaign` and `trimtab worker`.

use std::{ffi::OsString, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{PaceArg, Selection, deadline};
use crate::campaign::limits::Share;

/// `trimtab campaign`.
#[derive(Args, Debug)]
pub struct CampaignArgs {
    /// Where campaigns are kept.
    #[command(flatten)]
    pub store: StoreArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: CampaignCommand,
}

/// Which store.
#[derive(Args, Debug, Clone)]
pub struct StoreArgs {
    /// Where campaigns are kept: a file, or postgres://ROLE@HOST/DATABASE [default: /var/lib/trimtab/trimtab.db]
    #[arg(long, global = true, value_name = "STORE")]
    pub store: Option<OsString>,
}

/// The verbs of `trimtab campaign`.
#[derive(Subcommand, Debug)]
pub enum CampaignCommand {
    /// Survey, and write who is to be trimmed where, in which order, and why not, as a file to read and edit
    Plan(PlanArgs),
    /// Take a plan on, unless the host has changed since; prints the campaign's number
    Apply(ApplyArgs),
    /// Show all campaigns, newest first
    List,
    /// Show what a campaign does now, and what waits for what
    Status(CampaignId),
    /// Start no more trims; what runs goes on
    Pause(CampaignId),
    /// Start trims again; budgets count anew
    Resume(CampaignId),
    /// End a campaign: cancel what runs, and wait until nothing runs any more
    Abort(AbortArgs),
    /// Show what came back, per VM, datastore and reason
    Report(ReportArgs),
}

impl CampaignCommand {
    /// As in "schema": "trimtab.<verb>/1".
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Plan(_) => "campaign_plan",
            Self::Apply(_) => "campaign_apply",
            Self::List => "campaign_list",
            Self::Status(_) => "campaign_status",
            Self::Pause(_) => "campaign_pause",
            Self::Resume(_) => "campaign_resume",
            Self::Abort(_) => "campaign_abort",
            Self::Report(_) => "campaign_report",
        }
    }
}

/// Which campaign.
#[derive(Args, Debug, Clone, Copy)]
pub struct CampaignId {
    /// The campaign's number [default: the only one that is not over]
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub id: Option<i64>,
}

/// `trimtab campaign plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// Which VMs; all where none is named.
    #[command(flatten)]
    pub selection: Selection,
    /// Leave out VMs that fit all of these terms; may be given again
    #[arg(long, value_name = "TERMS")]
    pub exclude: Vec<String>,
    /// Where the plan is written; - for stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
    /// What the campaign is called [default: the day]
    #[arg(long)]
    pub name: Option<String>,
    /// Also VMs that have failed in two campaigns running
    #[arg(long)]
    pub include_set_aside: bool,
    /// How many VMs to read side by side
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: Option<u16>,
    /// What the plan says of them.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Limits, as `plan` writes them down.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Limits, which stand in the plan and can be edited there")]
pub struct LimitArgs {
    /// Trims at once, in all [default: 4]
    #[arg(long, value_name = "N")]
    pub at_once: Option<NonZeroU32>,
    /// Trims at once on each datastore [default: 2]
    #[arg(long, value_name = "N")]
    pub per_datastore: Option<NonZeroU32>,
    /// Trims at once on each host [default: as many as in all]
    #[arg(long, value_name = "N")]
    pub per_host: Option<NonZeroU32>,
    /// Start trims only then: 'Mon-Fri 22:00-05:00 Europe/Berlin', UTC without a zone; may be given again
    #[arg(long = "window", value_name = "WHEN")]
    pub windows: Vec<String>,
    /// Start no more when so many VMs have failed: 5, or '10 %' [default: 10 %]
    #[arg(long, value_name = "SHARE")]
    pub failure_budget: Option<Share>,
    /// Never overshoot that budget: what runs counts as failed until it has ended
    #[arg(long)]
    pub strict: bool,
    /// Start no trim while this gate of trimtab.toml is closed; may be given again
    #[arg(long = "gate", value_name = "NAME")]
    pub gates: Vec<String>,
    /// How much of the guests' I/O the trims may take [default: the guests' own]
    #[arg(long, value_enum)]
    pub pace: Option<PaceArg>,
    /// A single trim is ended after this: 90s, 30m, 4h [default: 4h]
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    pub deadline: Option<Duration>,
}

/// `trimtab campaign apply`.
#[derive(Args, Debug)]
pub struct ApplyArgs {
    /// What `trimtab campaign plan` wrote
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// Show how it goes on; where no worker runs on this host, carry it out too
    #[arg(long)]
    pub follow: bool,
    /// Check the plan against the host, and take nothing on
    #[arg(long)]
    pub dry_run: bool,
}

/// `trimtab campaign abort`.
#[derive(Args, Debug)]
pub struct AbortArgs {
    /// Which.
    #[command(flatten)]
    pub campaign: CampaignId,
    /// Do not wait until nothing runs any more
    #[arg(long)]
    pub no_wait: bool,
}

/// `trimtab campaign report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Which.
    #[command(flatten)]
    pub campaign: CampaignId,
    /// Every VM, not only the forty that gave back most
    #[arg(long)]
    pub all: bool,
    /// Who did what when, oldest first, instead of the account
    #[arg(long)]
    pub history: bool,
}

/// What stands below `trimtab worker --help`.
const WORKER: &str = "Started by systemd:
  systemctl enable --now trimtab-worker     as the user trimtab; the unit says what that user may
  journalctl -u trimtab-worker              each trim's begin and end, and what holds up the next one

How it ends:
  SIGTERM or Ctrl-C cancels what runs, waits for the accounts, and puts the VMs back into the queue;
  a second one ends it at once, and the next worker takes up what was left

Exit codes:
  0 told to end; 75 another worker is at it; 2 usage, or a mistake in trimtab.toml; 1 anything else";

/// `trimtab worker`.
#[derive(Args, Debug)]
#[command(after_help = WORKER)]
pub struct WorkerArgs {
    /// Where campaigns are kept.
    #[command(flatten)]
    pub store: StoreArgs,
}
