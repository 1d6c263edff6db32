//! The command line, word by word.

pub mod campaign;
pub mod store;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use trimtab_proto::words::Pace;

use self::{
    campaign::{CampaignArgs, WorkerArgs},
    store::StoreCommandArgs,
};
use crate::{layers::Layer, model::vm::Via, trim::options::TrimOptions};

/// What stands below `trimtab` alone and in `--help`.
const EXAMPLES: &str = "Examples:
  trimtab list                      which VMs are known here, and how each is reached
  trimtab survey                    what each disk could give back, and what is in the way
  trimtab doctor web-12             why an image does not shrink, layer by layer, and the fix
  trimtab trim web-12 'db-*'        trim, and account for every byte on its way to the image
  trimtab trim --all --json         the same for every VM, for a program

Exit codes:
  0 all good; 64 some disks ended otherwise, 32 all of them; 75 nothing could start now;
  2 usage; 130 interrupted; 1 anything else";

/// Gives a virtualization host back the space that its guests no longer use, and proves it.
#[derive(Parser, Debug)]
#[command(name = "trimtab", version, after_help = EXAMPLES, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Of every command.
    #[command(flatten)]
    pub global: Global,
}

/// Options that may stand anywhere.
#[derive(Args, Debug, Clone)]
pub struct Global {
    /// The file that names the VMs [default: /etc/trimtab/fleet.toml, where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// The libvirt whose domains are known here, or "none" [default: qemu:///system, where it runs and no file is named]
    #[arg(long, global = true, value_name = "URI")]
    pub connect: Option<String>,
    /// Let QEMU's monitor be asked through libvirt for what arrived: libvirt marks such a domain as tainted
    #[arg(long, global = true)]
    pub qmp: bool,
    /// Who trims in the guests: trimtab-agent, or qemu-ga through libvirt, which neither counts nor can be stopped
    #[arg(long, global = true, value_enum, hide_possible_values = true, value_name = "agent|qga")]
    pub via: Option<Via>,
    /// Print one JSON document instead of text, errors included
    #[arg(long, global = true)]
    pub json: bool,
    /// Print one JSON object per event, then the document of --json, each on a line
    #[arg(long, global = true)]
    pub events: bool,
    /// Show no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show the VMs known here and how each is reached; speaks to no guest
    List(Selection),
    /// Show per disk what it could give back, and what is in the way; changes nothing
    Survey {
        /// Which VMs.
        #[command(flatten)]
        selection: Selection,
        /// How many VMs to read side by side
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
        parallel: Option<u16>,
    },
    /// Show layer by layer what stands between a guest's free space and its images, and how it is mended
    Doctor(DoctorArgs),
    /// Trim VMs, and say what came back and where the rest was lost
    Trim(TrimArgs),
    /// Trim every VM under limits, in windows of time, and account for every byte
    Campaign(CampaignArgs),
    /// Set up where a fleet of hosts keeps its campaigns
    Store(StoreCommandArgs),
    /// Carry campaigns out on this host
    Worker(WorkerArgs),
}

impl Command {
    /// As in "schema": "trimtab.<verb>/1".
    pub fn verb(&self) -> &'static str {
        match self {
            Self::List(_) => "list",
            Self::Survey { .. } => "survey",
            Self::Doctor(_) => "doctor",
            Self::Trim(_) => "trim",
            Self::Campaign(args) => args.command.verb(),
            Self::Store(args) => args.command.verb(),
            Self::Worker(_) => "worker",
        }
    }
}

/// Which VMs: the same words everywhere.
#[derive(Args, Debug, Clone)]
pub struct Selection {
    /// Names of VMs, or patterns like 'web-*'
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,
    /// Only VMs that fit all of these terms: 'label=prod name~web-* datastore=/guests', != and !~ for not
    #[arg(long, value_name = "TERMS")]
    pub select: Option<String>,
}

/// `trimtab doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Which VMs.
    #[command(flatten)]
    pub selection: Selection,
    /// Prove the whole way of each disk: the guest writes a file of 16 MiB and trims where it lay, the host looks
    #[arg(long)]
    pub probe: bool,
    /// Mend what can be mended from the host: discard='unmap' on a drive, a vsock device; shows each change and asks
    #[arg(long)]
    pub fix: bool,
    /// With --fix: make the changes without asking
    #[arg(long, requires = "fix")]
    pub yes: bool,
}

/// `trimtab trim`.
#[derive(Args, Debug)]
pub struct TrimArgs {
    /// Which VMs.
    #[command(flatten)]
    pub selection: Selection,
    /// Every VM of the inventory
    #[arg(long)]
    pub all: bool,
    /// Only this disk: the guest's name (sda), or the image's path; may be given again
    #[arg(long = "disk", value_name = "DISK")]
    pub disks: Vec<String>,
    /// Only the filesystem mounted here in the guest; may be given again
    #[arg(long = "mount", value_name = "MOUNT")]
    pub mounts: Vec<String>,
    /// How much of the guest's I/O the trim may take [default: the guest's own]
    #[arg(long, value_enum)]
    pub pace: Option<PaceArg>,
    /// Make ext4 look again at what it remembers as trimmed
    #[arg(long)]
    pub again: bool,
    /// Leave free extents below this size alone: 64KiB, 1MiB [default: what the image can free]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub min_extent: Option<u64>,
    /// Also trim filesystems of this type, where the guest's owner allows it; may be given again
    #[arg(long = "also-type", value_name = "TYPE")]
    pub also_types: Vec<String>,
    /// The guest ends the trim after this: 90s, 30m, 4h
    #[arg(long, value_name = "TIME", default_value = "4h", value_parser = deadline)]
    pub deadline: Duration,
    /// Trim although these layers say no: job, datastore, drive, …
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LAYER", hide_possible_values = true)]
    pub anyway: Vec<Layer>,
    /// How many VMs to trim side by side
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: Option<u16>,
    /// Show what would be trimmed and what is in the way, and trim nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `--pace`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PaceArg {
    /// Small ranges with pauses: writers come first
    Gentle,
    /// Middling ranges
    Steady,
    /// One pass as fast as the kernel goes
    Full,
}

impl From<PaceArg> for Pace {
    fn from(pace: PaceArg) -> Self {
        match pace {
            PaceArg::Gentle => Self::Gentle,
            PaceArg::Steady => Self::Steady,
            PaceArg::Full => Self::Full,
        }
    }
}

impl TrimArgs {
    /// As a turn takes them.
    pub fn options(&self) -> TrimOptions {
        TrimOptions {
            disks: self.disks.clone(),
            mounts: self.mounts.clone(),
            pace: self.pace.map(Pace::from),
            deadline: self.deadline,
            again: self.again,
            also_types: self.also_types.clone(),
            min_extent_bytes: self.min_extent.unwrap_or(0),
            anyway: self.anyway.clone(),
            ..TrimOptions::default()
        }
    }
}

fn size(text: &str) -> Result<u64, String> {
    text.parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "write a size like 64KiB".to_owned())
}

/// Seconds as the wire has them: 1 to a week.
fn deadline(text: &str) -> Result<Duration, String> {
    let said: jiff::SignedDuration =
        text.parse().map_err(|_| "write a time like 90s, 30m or 4h".to_owned())?;
    let time = Duration::try_from(said).map_err(|_| "a deadline lies ahead".to_owned())?;
    match time.as_secs() {
        1..=604_800 => Ok(time),
        _ => Err("from 1s to 168h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn layers_are_called_the_same_everywhere() {
        for layer in Layer::value_variants() {
            let value = layer.to_possible_value().map(|value| value.get_name().to_owned());
            assert_eq!(value.as_deref(), Some(layer.as_str()));
            assert_eq!(serde_json::to_value(layer).unwrap(), layer.as_str());
        }
    }

    #[test]
    fn global_options_stand_anywhere() {
        for line in ["trimtab --json trim a", "trimtab trim --json a", "trimtab trim a --json"] {
            assert!(Cli::try_parse_from(line.split(' ')).unwrap().global.json, "{line}");
        }
    }

    #[test]
    fn sizes_and_times() {
        assert_eq!(size("64KiB"), Ok(65536));
        assert!(size("many").is_err());
        assert_eq!(deadline("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(deadline("4h"), Ok(Duration::from_secs(4 * 3600)));
        for bad in ["0s", "-1s", "169h", "x", ""] {
            assert!(deadline(bad).is_err(), "{bad}");
        }
    }
}
